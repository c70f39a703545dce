"""What the command line tests share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from boundcert.bracketer import Bracket


class Files(NamedTuple):
    """Paths of the small model, its data, and data of another shape."""

    model: Path
    data: Path
    wide: Path


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Call = Callable[..., Result]


def walk(files: Files, data: object = None) -> tuple[object, ...]:
    """``certify`` by the fast method on the small model, and its data unless other is named."""
    return ("certify", "--method", "walk", files.model, "--data", data or files.data)


def refused(result: Result, code: int, *words: str) -> None:
    """One message on stderr, nothing on stdout, no traceback, and the exit code."""
    assert result.code == code, result
    assert result.out == ""
    assert result.err.startswith("boundcert: ") and result.err.count("boundcert: ") == 1
    assert "Traceback" not in result.err and "internal error" not in result.err
    for word in words:
        assert word in result.err, (word, result.err)


def parsed(text: str) -> list[dict[str, Any]]:
    """JSON lines, strictly: no NaN or infinity."""

    def never(name: str) -> Any:
        raise AssertionError(f"{name} in a results file")

    return [json.loads(line, parse_constant=never) for line in text.splitlines()]


class MadeUp:
    """Stands in for ``Bracketer``: sample k has the bound k/7, after a while."""

    stages = ()

    def __init__(self, *given: object, **named: object) -> None:
        pass

    def __call__(self, rows: object, places: Sequence[int]) -> list[Bracket]:
        from boundcert.bracketer import Bracket

        time.sleep(0.03)
        return [Bracket(k, 0, k / 7, None, None, "walk", ()) for k in places]
