"""A request to a stream of records: model, data, bounds and file, without any terminal."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from boundcert import __version__
from boundcert.attacks.registry import get_attack
from boundcert.bounds.deployed import check_semantics
from boundcert.bounds.methods import Limits, Stage, method
from boundcert.bracketer import Bracket, Bracketer
from boundcert.certificates import (
    LayerCost,
    ModelOptions,
    Record,
    Request,
    Run,
    Sample,
    Summary,
    check_target,
    open_store,
    save_reproducer,
    summarise,
)
from boundcert.certificates.records import SCHEMA
from boundcert.certificates.store import Store
from boundcert.clip import Clip
from boundcert.data import DataSet, fit_shape, load_data, parse_random, random_inputs
from boundcert.demo import model_path
from boundcert.errors import UsageError, ViolatedCertificate
from boundcert.layers.base import numel
from boundcert.network.graph import Network
from boundcert.network.load import load_onnx
from boundcert.norms import Norm
from boundcert.prepared import usable_device
from boundcert.proofs import Proofs, check_folder, open_proofs

#: Samples taken where the user does not say how many: of the demo, and of other data.
DEMO_SAMPLES, DATA_SAMPLES = 20, 10
#: Seconds a sample on the demo where the user does not say how many.
DEMO_BUDGET = 2.0
#: Samples are written a block at a time; a block is at most so many, and so many bytes of
#: values. Its size depends on the network alone, so the same command gives the same file.
BLOCK_SAMPLES, BLOCK_BYTES = 128, 4 * 2**20


@dataclass(frozen=True)
class Outcome:
    """A finished run; ``kept`` samples were already in the file, all of them if ``complete``.

    ``refused`` says why there are no certificate files where they were asked for.
    """

    run: Run
    samples: tuple[Sample, ...]
    summary: Summary
    kept: int = 0
    complete: bool = False
    refused: str | None = None


#: Called with each record in order, and whether it was already in the file.
OnRecord = Callable[[Record, bool], None]


def run_brackets(
    request: Request,
    on_record: OnRecord = lambda record, kept: None,
    *,
    out: Path | None = None,
    resume: bool = False,
) -> Outcome:
    """Bound every sample of a request, writing and reporting records as they come.

    Parameters
    ----------
    on_record : called with the run, each sample in order, and the summary.
    out : file for the records, flushed a block of samples at a time.
    resume : whether an existing ``out`` of the same request is continued.

    Raises
    ------
    RefusedInput, UnsupportedModel, UsageError
        The request cannot be met; finished samples are in ``out``.
    ViolatedCertificate
        A reproducer is saved beside ``out`` (or in the working folder) and named in the message.
    """
    start = time.monotonic()
    _check(request, out, resume)
    network = load_model(request.model)
    data, places = choose_samples(request, network)
    run = _describe(request, network, data, places)
    store = Store(None) if out is None else open_store(out, run, places, resume)
    with store.writer or nullcontext():
        on_record(run, bool(store.kept or store.summary))
        for sample in store.kept:
            on_record(sample, True)
        if store.summary:
            on_record(store.summary, True)
            return Outcome(run, store.kept, store.summary, len(store.kept), True)
        samples = list(store.kept)
        proofs = open_proofs(request, network, resume, _limits(request).budget)
        try:
            for found in _bound(request, network, data, places, len(samples), proofs):
                _write(store, found)
                samples += found
                for sample in found:
                    on_record(sample, False)
        except ViolatedCertificate as error:
            raise _saved(error, run, data, places, out) from error
        summary = summarise(run, samples, time.monotonic() - start)
        _write(store, [summary])
    on_record(summary, False)
    refused = None if proofs is None else proofs.refused
    return Outcome(run, tuple(samples), summary, len(store.kept), refused=refused)


def _write(store: Store, records: Sequence[Record]) -> None:
    if store.writer:
        store.writer.write(records)


def _check(request: Request, out: Path | None, resume: bool) -> None:
    """Refuse what can be refused before anything is loaded."""
    if resume and out is None:
        raise UsageError("--resume continues a file; name it with --out")
    if request.samples is not None and request.indices is not None:
        raise UsageError("--samples and --indices contradict each other; give one of them")
    if (request.model.path is None) != (request.data is None):
        missing = "a model" if request.model.path is None else "--data"
        raise UsageError(f"{missing} is missing; give a model and --data, or neither for the demo")
    Norm.of(request.norm)
    usable_device(request.device)
    for name in request.attacks:
        get_attack(name)
    _limits(request)
    Clip.of(request.clip)
    check_semantics(request.semantics)
    if request.method is not None:
        method(request.method)
    elif not request.attacks:
        raise UsageError("there is nothing to do without an attack; name one with --attack")
    if request.certificates is not None:
        if request.method is None or not method(request.method).certified:
            raise UsageError(f"method {request.method} proves nothing to write certificates of")
        check_folder(request.certificates, resume)
    if out is not None:
        check_target(out, resume)


def _limits(request: Request) -> Limits:
    """The limits that the user set; the demo is there to be seen soon."""
    usual = Limits().budget if request.model.path is not None else DEMO_BUDGET
    return Limits(usual if request.budget is None else request.budget, request.memory)


def load_model(options: ModelOptions, check: bool = True) -> Network:
    """The network of these options; ``check`` as for :func:`boundcert.load_onnx`."""
    mean, std = options.normalisation
    return load_onnx(
        options.path or model_path(),
        mean=mean,
        std=std,
        input=options.input,
        output=options.output,
        input_shape=options.input_shape,
        decision=options.decision,
        threshold=options.threshold,
        check=check,
    )


def choose_samples(request: Request, network: Network) -> tuple[DataSet, list[int]]:
    """The samples of a request in the network's shape, and their positions in the data."""
    shape = network.input_shape[1:] if network.input_shape[:1] == (1,) else network.input_shape
    spec = "digits" if request.data is None else request.data
    drawn = parse_random(spec)
    if drawn is not None:
        data, default = random_inputs(shape, *drawn), drawn[0]
    else:
        data = load_data(spec, request.data_dir)
        default = DEMO_SAMPLES if request.data is None else DATA_SAMPLES
    places = _places(request, len(data), default)
    if request.correct_only and data.y is None:
        raise UsageError(f"--correct-only needs labels; {data.name} has none")
    chosen = replace(data, x=data.x[places], y=None if data.y is None else data.y[places])
    fitted, clip = fit_shape(chosen, shape), Clip.of(request.clip)
    if clip is not None:
        clip.check(fitted.x, places)
    return fitted, places


def _places(request: Request, count: int, default: int) -> list[int]:
    if request.indices is None:
        wanted = default if request.samples is None else request.samples
        if wanted < 0:
            raise UsageError(f"samples {wanted} is negative; give a number, 0 for all")
        return list(range(min(wanted, count) if wanted else count))
    if not request.indices:
        raise UsageError("--indices names no sample")
    for index in request.indices:
        if not 0 <= index < count:
            raise UsageError(
                f"index {index} is out of range; the data has samples 0 to {count - 1}"
            )
    if len(set(request.indices)) < len(request.indices):
        raise UsageError("--indices names a sample twice")
    return list(request.indices)


def _describe(request: Request, network: Network, data: DataSet, places: list[int]) -> Run:
    options = request.model
    return Run(
        schema=SCHEMA,
        version=__version__,
        command="attack" if request.method is None else "certify",
        model="demo" if options.path is None else str(options.path),
        sha256=network.source.sha256,
        norm=Norm.of(request.norm).value,
        method=request.method,
        budget=_limits(request).budget,
        memory=request.memory,
        certified=request.method is not None and method(request.method).certified,
        attack=tuple(request.attacks),
        data="demo" if request.data is None else request.data,
        data_sha256=_digest(data),
        samples=len(places),
        indices=request.indices,
        mean=options.mean,
        std=options.std,
        range=options.range,
        clip=request.clip,
        semantics=request.semantics,
        input=options.input,
        output=options.output,
        input_shape=options.input_shape,
        decision=network.source.decision,
        threshold=network.source.threshold if network.source.decision == "sign" else None,
        head=network.source.head,
        alone=network.source.alone,
        device=request.device,
        layers=request.layers and request.method is not None,
        correct_only=request.correct_only,
        certificates=request.certificates is not None,
    )


def _digest(data: DataSet) -> str:
    """Hash of the samples in the network's shape, and of their labels."""
    total = hashlib.sha256(repr(data.x.shape).encode())
    total.update(np.ascontiguousarray(data.x).data)
    if data.y is not None:
        total.update(np.ascontiguousarray(data.y).data)
    return total.hexdigest()


def _bound(
    request: Request,
    network: Network,
    data: DataSet,
    places: list[int],
    done: int,
    proofs: Proofs | None,
) -> Iterator[list[Sample]]:
    """Records of the samples behind the first ``done``, some at a time."""
    bracketer = Bracketer(
        network,
        request.norm,
        request.method,
        request.attacks,
        request.device,
        _limits(request),
        Clip.of(request.clip),
        request.semantics,
    )
    stages = bracketer.stages if request.layers else ()
    labels = [None] * len(places) if data.y is None else data.y.tolist()
    for start, end in _blocks(network, done, len(places)):
        rows, here = data.x[start:end], places[start:end]
        label = dict(zip(here, labels[start:end]))
        prepared = network.prepare(rows)
        found = bracketer(prepared, here)
        samples = [_sample(request, b, label[b.index], stages) for b in found]
        yield samples if proofs is None else proofs.of(samples, prepared.numpy())


def _blocks(network: Network, start: int, end: int) -> Iterator[tuple[int, int]]:
    one = 8 * sum(numel(node.shape) for node in network.nodes)
    step = min(max(BLOCK_BYTES // max(one, 1), 1), BLOCK_SAMPLES)
    while start < end:
        # blocks keep their borders when a run is resumed, so that batches are the same
        stop = min((start // step + 1) * step, end)
        yield start, stop
        start = stop


def _sample(
    request: Request, bracket: Bracket, label: int | None, stages: tuple[Stage, ...]
) -> Sample:
    upper = bracket.upper
    if upper is not None and not math.isfinite(upper):
        upper = None
    lower = float(bracket.lower) if math.isfinite(bracket.lower) else 0.0
    return Sample(
        index=bracket.index,
        label=label,
        predicted=bracket.predicted,
        lower=None if request.method is None else lower,
        rung=bracket.rung if lower > 0 else None,
        upper=upper,
        attack=None if upper is None else bracket.attack,
        layers=tuple(
            LayerCost(stage.name, stage.op, float(kappa) if math.isfinite(kappa) else None)
            for stage, kappa in zip(stages, bracket.kappa)
        ),
    )


def _saved(
    error: ViolatedCertificate, run: Run, data: DataSet, places: list[int], out: Path | None
) -> ViolatedCertificate:
    """The error with its sample and adversarial point on disk."""
    bracket: Bracket = error.bracket  # type: ignore[attr-defined]
    assert bracket.upper is not None and bracket.point is not None
    folder = Path() if out is None else out.parent
    row = data.x[places.index(bracket.index)]
    try:
        report, arrays = save_reproducer(
            folder, run, bracket.index, bracket.lower, bracket.upper, bracket.attack,
            row, bracket.point,
        )  # fmt: skip
    except OSError as failure:
        saved = f"The reproducer cannot be saved in {folder}: {failure.strerror or failure}."
    else:
        saved = f"A reproducer is in {report} and {arrays}; please report it with the model."
    return ViolatedCertificate(f"CERTIFICATE VIOLATED: {error} {saved}")
