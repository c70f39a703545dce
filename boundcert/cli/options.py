"""The options that commands share, and reading their values. Nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boundcert.certificates.request import ModelOptions
from boundcert.errors import UsageError

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX file of a classifier.")]
MaybeModel = Annotated[
    Path | None,
    typer.Argument(metavar="MODEL", help="ONNX file of a classifier; without it, the demo."),
]
Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder that certify --certificates wrote.")
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="A data set's name, an .npz or .csv file, a folder of images, or random:N:LO:HI.",
    ),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Folder of named data sets.")
]
Samples = Annotated[
    str | None,
    typer.Option("--samples", metavar="N", help="The first N samples; all or 0 for every one."),
]
Indices = Annotated[
    str | None,
    typer.Option("--indices", metavar="I,J,...", help="These samples, counted from 0."),
]
NormName = Annotated[
    str, typer.Option("--norm", metavar="l2|linf|l1", help="Norm of the perturbation.")
]
Method = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="auto|walk|relax|optimize|peck2017",
        help="Method of the lower bounds; auto climbs from walk to optimize within --budget. "
        "peck2017 is not a certificate.",
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget",
        metavar="SECONDS",
        help="Time a sample that --method auto may take.  [default: 10; 2 on the demo]",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Memory for boxes and rows, such as 500M or 4G; by default half of what is free.",
    ),
]
Attack = Annotated[
    str,
    typer.Option(
        "--attack", metavar="NAME,...", help="Attacks (deepfool, fgs, fgv), the best one counts."
    ),
]
AttackOrNone = Annotated[
    str,
    typer.Option(
        "--attack",
        metavar="NAME,...|none",
        help="Attacks (deepfool, fgs, fgv), the best one counts; none for lower bounds only.",
    ),
]
Mean = Annotated[
    str | None,
    typer.Option("--mean", metavar="M,...", help="Mean that the model expects taken off."),
]
Std = Annotated[
    str | None,
    typer.Option("--std", metavar="S,...", help="Deviation to divide by, one or one a channel."),
]
Range = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LO,HI",
        help="The model takes inputs in LO to HI where the data is in 0 to 1; before --mean.",
    ),
]
Clip = Annotated[
    str | None,
    typer.Option(
        "--clip",
        metavar="LO,HI",
        help="The data's own range: only inputs in LO to HI count, in the units of the data, such "
        "as 0,1 for images.",
    ),
]
Semantics = Annotated[
    str,
    typer.Option(
        "--semantics",
        metavar="deployed|exact",
        help="What is certified: the network as a runtime evaluates it in the model's own "
        "precision, or the function of real numbers.",
    ),
]
Layers = Annotated[bool, typer.Option("--layers", help="Show what each stage costs.")]
Device = Annotated[
    str, typer.Option("--device", metavar="cpu|cuda", help="Where matrix products run.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE.jsonl", help="Write JSON lines as samples finish."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue --out where the same command was broken off.")
]
Certificates = Annotated[
    Path | None,
    typer.Option(
        "--certificates",
        metavar="DIR",
        help="Write a certificate a sample, which boundcert check proves again by itself.",
    ),
]
Input = Annotated[
    str | None, typer.Option("--input", metavar="NAME", help="Input, of a model with several.")
]
Output = Annotated[
    str | None, typer.Option("--output", metavar="NAME", help="Logits, of a model with several.")
]
InputShape = Annotated[
    str | None,
    typer.Option(
        "--input-shape",
        metavar="1,3,32,32",
        help="Shape of one input, if the model leaves it open.",
    ),
]
Decision = Annotated[
    str | None,
    typer.Option("--decision", metavar="max|min", help="Whether the greatest or least logit wins."),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="T",
        help="A model's single output is of class 1 above T.  [default: 0.5 behind a sigmoid, "
        "else 0]",
    ),
]
CorrectOnly = Annotated[
    bool, typer.Option("--correct-only", help="Take means over correctly classified samples.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines instead of a table.")]


def model_options(
    model: Path | None,
    mean: str | None,
    std: str | None,
    range_: str | None,
    input_: str | None,
    output: str | None,
    input_shape: str | None,
    decision: str | None,
    threshold: float | None,
) -> ModelOptions:
    """The options about a model, read."""
    return ModelOptions(
        model,
        floats("--mean", mean),
        floats("--std", std),
        floats("--range", range_, 2),
        input_,
        output,
        integers("--input-shape", input_shape),
        decision,
        threshold,
    )


def floats(option: str, text: str | None, count: int | None = None) -> tuple[float, ...] | None:
    """Comma separated numbers, ``count`` of them.

    Raises
    ------
    UsageError
    """
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a list of numbers such as 0.5,0.25") from None
    if any(v != v or abs(v) == float("inf") for v in values):
        raise UsageError(f"{option} {text!r} must be finite")
    if count is not None and len(values) != count:
        raise UsageError(f"{option} {text!r} has {len(values)} number(s); it takes {count}")
    return values


def integers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Comma separated whole numbers.

    Raises
    ------
    UsageError
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is not a list of whole numbers such as 0,5,7"
        ) from None


def sample_count(text: str | None) -> int | None:
    """``--samples``: a number, or 0 for ``all``.

    Raises
    ------
    UsageError
    """
    if text is None:
        return None
    if text.strip().lower() == "all":
        return 0
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise UsageError(f"--samples {text!r} is neither a number of samples nor all")
    return count


def size(text: str | None) -> int | None:
    """``--memory``: bytes, with K, M or G for powers of 1024.

    Raises
    ------
    UsageError
    """
    if text is None:
        return None
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    number = text.strip().upper().removesuffix("B")
    unit = units.get(number[-1:], 1)
    try:
        value = float(number[:-1] if unit > 1 else number) * unit
    except ValueError:
        value = 0.0
    if not 1 <= value < 2**62:
        raise UsageError(f"--memory {text!r} is not a size such as 500M or 4G")
    return int(value)


def attack_names(text: str) -> tuple[str, ...]:
    """``--attack``: names without repetition, none for ``none``.

    Raises
    ------
    UsageError
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if names == ("none",):
        return ()
    if "" in names or "none" in names:
        raise UsageError(f"--attack {text!r} is not a list such as deepfool,fgs, nor none")
    return names
