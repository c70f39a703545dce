"""Every error of a command as one message and its exit code."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from boundcert.errors import BoundcertError

INTERRUPTED = 130
Given = ParamSpec("Given")


def guarded(command: Callable[Given, None]) -> Callable[Given, None]:
    """``command`` without tracebacks: errors end in a line on stderr and an exit code.

    ``BOUNDCERT_DEBUG=1`` in the environment shows the traceback as well.
    """

    @functools.wraps(command)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:
            # whoever read our output has gone: nothing is left to say, also not at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            _stop("interrupted; --resume continues a run that has an --out", INTERRUPTED)
        except BoundcertError as error:
            _stop(str(error), error.exit_code)
        except MemoryError:
            _stop("out of memory; take fewer samples or a smaller model", 1)
        except Exception as error:
            told = str(error).strip() or "no message"
            _stop(
                f"internal error, please report it with the command and the model: "
                f"{type(error).__name__}: {told} (BOUNDCERT_DEBUG=1 shows where)",
                1,
            )

    return run


def _stop(message: str, code: int) -> None:
    if os.environ.get("BOUNDCERT_DEBUG") == "1":
        traceback.print_exc()
    print(f"boundcert: {message}", file=sys.stderr, flush=True)
    raise typer.Exit(code)
