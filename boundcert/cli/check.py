"""``boundcert check``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from boundcert.cli import options as opt
from boundcert.cli.guard import guarded

if TYPE_CHECKING:
    from boundcert.replay import Verdict


@guarded
def check(
    folder: opt.Folder,
    model: opt.MaybeModel = None,
    data: opt.Data = None,
    data_dir: opt.DataDir = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    range_: opt.Range = None,
    input_: opt.Input = None,
    output: opt.Output = None,
    input_shape: opt.InputShape = None,
    decision: opt.Decision = None,
    threshold: opt.Threshold = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Prove certificates again, by a program that shares no code with what found them.

    Takes the folder that certify --certificates wrote, and the same model, data and choices about
    the model. Ends with exit code 1 if any certificate is refused.
    """
    from boundcert.cli.progress import ProgressBar
    from boundcert.errors import RefusedInput, UsageError
    from boundcert.replay import certificate_files, replay

    if quiet and json:
        raise UsageError("--quiet and --json contradict each other; give one of them")
    if (model is None) != (data is None):
        missing = "a model" if model is None else "--data"
        raise UsageError(f"{missing} is missing; give a model and --data, or neither for the demo")
    options = opt.model_options(
        model, mean, std, range_, input_, output, input_shape, decision, threshold
    )
    files, verdicts = certificate_files(folder), []
    with ProgressBar(wanted=not quiet and not (json and sys.stdout.isatty())) as bar:
        bar.begin(len(files))
        for verdict in replay(files, options, data, data_dir):
            verdicts.append(verdict)
            if json:
                print(_line(verdict), flush=True)
            bar.advance()
    if not quiet and not json:
        from boundcert.cli.console import table_console
        from boundcert.report import print_verdicts

        print_verdicts(table_console(), verdicts)
    refused = [v for v in verdicts if v.why is not None]
    if refused:
        first = f"{refused[0].path.name}: {refused[0].why}"
        raise RefusedInput(f"{len(refused)} of {len(files)} certificates are refused ({first})")


def _line(verdict: Verdict) -> str:
    """A verdict as a line of JSON."""
    from json import dumps

    claim = verdict.claim
    return dumps(
        {
            "type": "check",
            "file": verdict.path.name,
            "holds": verdict.why is None,
            "why": verdict.why,
            "index": claim and claim.index,
            "class": claim and claim.label,
            "norm": claim and claim.norm,
            "radius": claim and claim.radius,
            "clip": claim and claim.clip,
            "semantics": claim and claim.semantics,
            "seconds": round(verdict.seconds, 6),
        }
    )
