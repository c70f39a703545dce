"""Tables for people: brackets, what each stage costs, a model's nodes, the data sets.

A lower bound is shown rounded down and an upper bound rounded up, so that what is read off the
screen is still true. Text is ASCII, so that any terminal and any log file takes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from boundcert.bounds.memory import peak_bytes
from boundcert.certificates.records import LayerCost, Run, Sample, Summary

if TYPE_CHECKING:
    from boundcert.replay import Verdict

#: Rows of a table on the terminal; a file has them all.
MAX_ROWS = 40
#: Up to so many samples show their stages one by one, more show the means.
MAX_LAYERS = 3
DIGITS = 4


def rounded(value: float | None, up: bool | None) -> str:
    """``value`` to four significant digits; ``-`` for None.

    ``up`` says which way, decided on the exact binary value; None is to the nearest.
    """
    if value is None:
        return "-"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    way = {True: ROUND_CEILING, False: ROUND_FLOOR, None: ROUND_HALF_EVEN}[up]
    context = Context(prec=DIGITS, rounding=way)
    short = context.create_decimal(Decimal(value))
    short = short.quantize(Decimal((0, (1,), short.adjusted() - DIGITS + 1)))  # 0.5 as 0.5000
    return f"{short:f}" if 1e-4 <= abs(value) < 1e6 else f"{short:e}"


def print_brackets(console: Console, run: Run, samples: Sequence[Sample], summary: Summary) -> None:
    """The table of a run's samples with its summary, and the costs of layers if it has any."""
    say(console, title_of(run))
    console.print(bracket_table(run, samples))
    left = len(samples) - MAX_ROWS
    if left > 0:
        say(console, f"... and {left} more; --out FILE.jsonl keeps all of them")
    say(console, summary_line(run, len(samples), summary))
    if run.certificates:
        say(console, files_line(samples))
    peak = peak_bytes()
    used = "" if peak is None else f"; the process took up to {peak / 2**20:.0f} MiB of memory"
    only = f", of inputs{_clipped(run)} only" if run.clip else ""
    say(console, f"radii in the units of the data, {run.norm}{only}{used}")
    say(console, class_line(run))
    if run.layers:
        for title, table in layer_tables(samples):
            say(console, f"\n{title}")
            console.print(table)


def class_line(run: Run) -> str:
    """Which class the radii are about."""
    behind = f" behind {run.head}" if run.head else ""
    size = "least" if run.decision == "min" else "greatest"
    which = f"the class of the model's {size} output{behind}, the first of equal ones"
    if run.decision == "sign":
        which = f"class 1 where the model's output{behind} is above {run.threshold:g}"
    alone = f"; ONE SAMPLE AT A TIME ONLY: {run.alone}" if run.alone else ""
    return f"about {which}, as it is computed{alone}"


def print_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """The table of checked certificates, refused ones first, and how many hold."""
    table = new_table()
    for name in ("file", "index", "class", "norm", "radius", "about", "verdict"):
        table.add_column(name, justify="left" if name in ("file", "verdict") else "right")
    ordered = sorted(verdicts, key=lambda v: v.why is None)
    for v in ordered[:MAX_ROWS]:
        claim, verdict = v.claim, "holds" if v.why is None else f"REFUSED: {v.why}"
        cells = ["-"] * 5
        if claim is not None:
            about = claim.semantics + _range(claim.clip)
            radius = rounded(claim.radius, up=False)
            cells = [str(claim.index), str(claim.label), claim.norm, radius, about]
        table.add_row(escape(v.path.name), *cells, escape(verdict))
    console.print(table)
    left, hold = len(verdicts) - MAX_ROWS, sum(v.why is None for v in verdicts)
    if left > 0:
        say(console, f"... and {left} more")
    seconds = math.fsum(v.seconds for v in verdicts)
    say(console, f"{hold} of {len(verdicts)} certificates hold, {seconds:.1f} s")


def say(console: Console, text: str) -> None:
    """A plain line: names may hold what rich would take for markup."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def title_of(run: Run) -> str:
    """What a table of this run is called; a method without proof says so."""
    region = f"{run.norm}{_clipped(run)}"
    if run.method is None:
        name = f"attacked upper bounds, {region}"
    elif run.certified:
        name = f"certified brackets, {region}, method {run.method}"
        if run.semantics != "deployed":
            name += f", {run.semantics} arithmetic"
    else:
        name = f"NOT A CERTIFICATE: method {run.method}, {region}"
    return f"{name}: {run.model}" + ("" if run.data == run.model else f" on {run.data}")


def _clipped(run: Run) -> str:
    """What inputs bounds are about, where not about all."""
    return _range(run.clip)


def _range(clip: Sequence[float] | None) -> str:
    return "" if clip is None else " in [{:g}, {:g}]".format(*clip)


def bracket_table(run: Run, samples: Sequence[Sample]) -> Table:
    """The first :data:`MAX_ROWS` samples: bounds, who proved and who attacked, and their ratio."""
    table = new_table()
    for name in ("index", "label", "predicted", "correct"):
        table.add_column(name, justify="right")
    if run.method is not None:
        name = "lower" if run.certified else "bound (not certified)"
        table.add_column(name, justify="right")
        if _climbs(run):
            table.add_column("by", justify="right")
    if run.certificates:
        table.add_column("file proves", justify="right")
    for name in ("upper", "attack") if run.attack else ():
        table.add_column(name, justify="right")
    ratios = run.method is not None and bool(run.attack)
    if ratios:
        table.add_column("ratio", justify="right")
    for sample in samples[:MAX_ROWS]:
        table.add_row(*_cells(run, sample), *([_ratio(sample)] if ratios else []))
    return table


def _climbs(run: Run) -> bool:
    """Whether samples may have been proved by different methods."""
    return run.certified and run.method not in (None, "walk")


def _cells(run: Run, sample: Sample) -> list[str]:
    mark = {None: "-", True: "yes", False: "NO"}[sample.correct]
    label = "-" if sample.label is None else str(sample.label)
    cells = [str(sample.index), label, str(sample.predicted), mark]
    if run.method is not None:
        cells += [rounded(sample.lower, up=False), *([sample.rung or "-"] if _climbs(run) else [])]
    if run.certificates:
        cells.append(rounded(sample.proved, up=False))
    if run.attack:
        cells += [rounded(sample.upper, up=True), sample.attack or "-"]
    return cells


def _ratio(sample: Sample) -> str:
    if sample.upper is None or not sample.lower:
        return "-"
    text = rounded(sample.upper / sample.lower, up=True)
    return f"{text} !" if sample.crossed else text


def summary_line(run: Run, written: int, summary: Summary) -> str:
    """The summary in one line."""
    parts = ["1 sample" if written == 1 else f"{written} samples"]
    if summary.accuracy is not None:
        parts.append(f"accuracy {summary.accuracy:.4f}")
    over = f" over the {summary.samples} correct ones" if run.correct_only else ""
    if run.method is not None:
        name = "mean lower bound" if run.certified else "mean bound (not certified)"
        parts.append(f"{name} {rounded(summary.mean_lower, up=False)}{over}")
    if run.attack:
        parts.append(f"mean upper bound {rounded(summary.mean_upper, up=True)}{over}")
    if run.method is not None and run.attack:
        marked = " (marked !)" if summary.violations else ""
        parts.append(f"violations {summary.violations}{marked}")
    return ", ".join([*parts, f"{summary.seconds:.1f} s"])


def files_line(samples: Sequence[Sample]) -> str:
    """How many samples have a certificate file, and what share of their radii files prove."""
    some = [s for s in samples if s.lower]
    proved = [s.proved for s in some if s.proved is not None]
    text = f"{len(proved)} of {len(some)} lower bounds have a certificate file"
    if not proved:
        return text
    share = math.fsum(proved) / math.fsum(s.lower for s in some if s.lower)
    percent = math.floor(1000 * share) / 10
    return f"{text}; the files prove {percent:.1f} % of these bounds on average"


def layer_tables(samples: Sequence[Sample]) -> list[tuple[str, Table]]:
    """What each stage costs, titled: a table a sample for a few, one of the means for many."""
    if len(samples) <= MAX_LAYERS:
        return [
            (f"cost by stage, sample {s.index}", _cost_table(s.layers, [c.kappa for c in s.layers]))
            for s in samples
        ]
    known = [s for s in samples if s.layers and all((c.kappa or 0) > 0 for c in s.layers)]
    if not known:
        return []
    columns = zip(*([c.kappa or math.nan for c in s.layers] for s in known))
    means = [math.exp(math.fsum(map(math.log, column)) / len(known)) for column in columns]
    title = f"cost by stage, geometric means over the {len(known)} samples with a bound"
    return [(title, _cost_table(known[0].layers, means))]


def _cost_table(layers: Sequence[LayerCost], kappa: Sequence[float | None]) -> Table:
    table = new_table()
    for name in ("stage", "op"):
        table.add_column(name, overflow="fold")
    for name in ("kappa in front", "kappa behind", "cost factor", "share of log cost"):
        table.add_column(name, justify="right")
    behind = [*kappa[1:], None]
    factors = [b / a if a and b else None for a, b in zip(kappa, behind)]
    total = math.fsum(math.log(f) for f in factors if f)
    for layer, front, back, factor in zip(layers, kappa, behind, factors):
        share = f"{math.log(factor) / total:.0%}" if factor and total else "-"
        numbers = (rounded(front, up=False), rounded(back, up=False), rounded(factor, up=None))
        table.add_row(escape(layer.name), escape(layer.op), *numbers, share)
    return table


def new_table() -> Table:
    """An empty table without a frame, narrow enough for 80 columns."""
    return Table(box=box.ASCII2, show_edge=False, pad_edge=False)
