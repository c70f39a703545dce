"""Compare an imported network with onnxruntime, node by node."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import torch

from boundcert.errors import RefusedInput
from boundcert.layers.base import UNIT, Site
from boundcert.layers.lrn import LRN
from boundcert.network.answers import as_read, check_answers
from boundcert.network.graph import Network, Node, Source
from boundcert.network.passes.shapes import pin_fixed_batch
from boundcert.network.precision import arithmetic_of
from boundcert.network.read import first_line
from boundcert.network.runtime import Runtime, session, with_outputs
from boundcert.norms import Norm

#: Library functions of a runtime may be approximations: relative and absolute allowance.
RELATIVE, ABSOLUTE = 2e-5, 2e-6
#: Scales of the random inputs: the usual, tiny, and hostile.
SCALES = (1.0, 1e-4, 300.0)


def probes(network: Network, seed: int = 0) -> np.ndarray:
    """Random samples (N, *input_shape) at several scales."""
    rng = np.random.default_rng(seed)
    shape = network.input_shape
    rows = [rng.random(shape)]
    rows += [rng.standard_normal(shape) * scale for scale in SCALES]
    return np.stack(rows).astype(np.float32)


def check_against_runtime(network: Network, x: np.ndarray | None = None) -> None:
    """Feed onnxruntime's own operands to each layer and compare the results.

    Comparing node by node keeps rounding from piling up, so the tolerance can be the float
    error bound of that one layer. What is compared is everything from the model's input on. A
    model of fixed batch size N is compared as imported, for one sample; then its logits for N
    different samples must be those of the samples alone.

    Parameters
    ----------
    network : as imported.
    x : (N, *input_shape) samples; random ones at several scales by default.

    Raises
    ------
    RefusedInput
        Names the first node that differs, with its operator, shape and the size of the gap, or
        the first node that is finite on none of the samples.
    """
    rows = probes(network) if x is None else np.asarray(x, dtype=np.float32)
    source = as_read(network.source)
    if source.batch is not None and source.batch > 1:
        fixed, source = source, _one_sample(source)
        _check_batch(fixed, source, network.input_shape, rows)
    names = [n.tensor for n in network.nodes if n.tensor]
    runtime = Runtime(source, network.input_shape)
    runtime.session = session(with_outputs(source.model, names), source.path)
    present = [v.name for v in runtime.session.get_outputs() if v.name in set(names)]
    comparison = _Comparison(network, arithmetic_of(source).unit)
    for row in rows:
        with np.errstate(over="ignore", invalid="ignore"):
            values = runtime.prepare(row[None])
        comparison.take(values, dict(zip(present, runtime.outputs(values, present))))
    comparison.conclude(present)
    check_answers(network, source, rows)


class _Comparison:
    """Which nodes have been compared so far."""

    def __init__(self, network: Network, unit: float) -> None:
        self.network, self.unit = network, unit
        self.compared: set[int] = set()

    def take(self, values: np.ndarray, made: dict[str, np.ndarray]) -> None:
        """Compare the nodes on one sample: the model's input and the runtime's tensors."""
        known: list[torch.Tensor] = []
        for k, node in enumerate(self.network.nodes):
            if node.layer is None or node.tensor == self.network.source.input:
                known.append(torch.from_numpy(values.astype(np.float64)).reshape(1, *node.shape))
                continue
            operands = tuple(known[i] for i in node.inputs)
            ours = self.evaluate(node, operands)
            theirs = made.get(node.tensor)
            if theirs is None:
                known.append(ours)
                continue
            if theirs.size != ours.numel():
                raise RefusedInput(
                    f"{self.place(node)}: onnxruntime gives {theirs.size} entries there; "
                    "the model is refused"
                )
            known.append(torch.from_numpy(theirs).reshape(ours.shape))
            if all(bool(torch.isfinite(v).all()) for v in (*operands, ours, known[k])):
                self.compared.add(k)
                self.compare(node, Site(Norm.LINF, operands, ours), known[k])

    def evaluate(self, node: Node, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The layer on given operands."""
        assert node.layer is not None
        try:
            with torch.no_grad():
                return node.layer.forward(*operands)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise RefusedInput(
                f"{self.place(node)}: it cannot be evaluated ({first_line(error)})"
            ) from error

    def compare(self, node: Node, site: Site, theirs: torch.Tensor) -> None:
        """One node on one sample, up to what rounding explains."""
        assert node.layer is not None
        unit = self.unit
        gap = float((site.output - theirs).abs().max())
        allowed = float(node.layer.rounding(site).max()) * (4 * unit / UNIT)
        size = float(site.output.abs().max())
        allowed += max(RELATIVE, 8 * unit) * size + ABSOLUTE * max(1.0, unit / 2.0**-24)
        if isinstance(node.layer, LRN):
            allowed += size * _sliding_sum(node.layer, site.inputs[0], unit)
        if not gap <= allowed:
            raise RefusedInput(
                f"{self.place(node)}: largest difference {gap:.3g} where rounding explains "
                f"{allowed:.3g}; the model is refused. Please report it with the model."
            )

    def conclude(self, present: list[str]) -> None:
        """Every node that the runtime shows must have been compared on some sample."""
        for k, node in enumerate(self.network.nodes):
            if node.tensor in present and node.layer is not None and k not in self.compared:
                raise RefusedInput(
                    f"{self.network.source.path}: node {node.name!r} ({node.op}, output shape "
                    f"{list(node.shape)}) gives NaN or infinity on every random input, so the "
                    "imported network cannot be compared with onnxruntime"
                )

    def place(self, node: Node) -> str:
        """Begin of a message on a node that differs."""
        return (
            f"{self.network.source.path}: the imported network differs from onnxruntime at node "
            f"{node.name!r} ({node.op}, output shape {list(node.shape)})"
        )


def _sliding_sum(layer: LRN, x: torch.Tensor, unit: float) -> float:
    """Relative error of onnxruntime's LRN, which slides one sum of squares across the channels.

    What it subtracts again leaves the rounding of the largest channel behind in small ones.
    """
    left = 4 * x.shape[2] * unit * float((x * x).max())
    return layer.beta * layer.alpha / layer.size * left / layer.bias


def _one_sample(source: Source) -> Source:
    """A model of fixed batch size as it was imported, for one sample."""
    assert source.batch is not None
    model = onnx.ModelProto.FromString(source.model)
    single = pin_fixed_batch(model, source.input, source.batch)
    return replace(source, model=single.SerializeToString(), batch=1)


def _check_batch(fixed: Source, single: Source, shape: tuple[int, ...], rows: np.ndarray) -> None:
    """The rows of a whole batch must not see each other.

    Raises RefusedInput where the logits of N samples at once are not those of each alone.
    """
    assert fixed.batch is not None
    order = np.arange(max(fixed.batch, len(rows))) % len(rows)
    with np.errstate(over="ignore", invalid="ignore"):
        together = Runtime(fixed, shape).answers(rows[order])
        alone = Runtime(single, shape).answers(rows)[order]
    unit = arithmetic_of(fixed).unit
    allowed = max(1e-3, 64 * unit) * np.abs(alone).max(axis=1, keepdims=True) + 1e-5
    both = np.isfinite(together) & np.isfinite(alone)
    if together.shape != alone.shape or (np.abs(together - alone) > allowed)[both].any():
        raise RefusedInput(
            f"{fixed.path}: a sample's logits depend on the other samples of its batch of "
            f"{fixed.batch}; export the model with batch size 1 or a free batch axis"
        )
