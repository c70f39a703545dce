"""Compare an imported network with onnxruntime, node by node."""

from __future__ import annotations

import numpy as np
import torch

from boundcert.errors import RefusedInput
from boundcert.layers.base import UNIT, Site
from boundcert.network.graph import Network, Node
from boundcert.network.runtime import Runtime, session, with_outputs
from boundcert.norms import Norm

#: Unit roundoff of the types a model may compute in.
ROUNDOFF = {"float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
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
    error bound of that one layer. What is compared is everything from the model's input on.

    Parameters
    ----------
    network : as imported.
    x : (N, *input_shape) samples; random ones at several scales by default.

    Raises
    ------
    RefusedInput
        Names the first node that differs, with its operator, shape and the size of the gap.
    """
    source = network.source
    rows = probes(network) if x is None else np.asarray(x, dtype=np.float32)
    names = [n.tensor for n in network.nodes if n.tensor]
    exposed = with_outputs(source.model, names)
    runtime = Runtime(source, network.input_shape)
    runtime.session = session(exposed, source.path)
    runtime._size = source.batch or 1
    present = [v.name for v in runtime.session.get_outputs() if v.name in set(names)]
    first = next(k for k, n in enumerate(network.nodes) if n.tensor == source.input)
    unit = ROUNDOFF[source.dtype]
    for row in rows:
        values = runtime.prepare(row[None])
        made = dict(zip(present, runtime.outputs(values, present)))
        _compare(network, first, values, made, unit)


def _compare(
    network: Network, first: int, values: np.ndarray, made: dict[str, np.ndarray], unit: float
) -> None:
    known: dict[int, torch.Tensor] = {}
    for k, node in enumerate(network.nodes):
        if node.layer is None or node.tensor == network.source.input or k <= first:
            known[k] = torch.from_numpy(values.astype(np.float64)).reshape(1, *node.shape)
            continue
        operands = tuple(known[i] for i in node.inputs)
        ours = node.layer.forward(*operands)
        theirs = made.get(node.tensor)
        if theirs is None or theirs.size != ours.numel():
            known[k] = ours
            continue
        known[k] = torch.from_numpy(theirs).reshape(ours.shape)
        if all(bool(torch.isfinite(v).all()) for v in (*operands, ours, known[k])):
            _compare_node(network, node, Site(Norm.LINF, operands, ours), known[k], unit)


def _compare_node(
    network: Network, node: Node, site: Site, theirs: torch.Tensor, unit: float
) -> None:
    assert node.layer is not None
    gap = float((site.output - theirs).abs().max())
    allowed = float(node.layer.rounding(site).max()) * (4 * unit / UNIT)
    size = float(site.output.abs().max())
    allowed += max(RELATIVE, 8 * unit) * size + ABSOLUTE * max(1.0, unit / 2.0**-24)
    if not gap <= allowed:
        raise RefusedInput(
            f"{network.source.path}: the imported network differs from onnxruntime at node "
            f"{node.name!r} ({node.op}, output shape {list(node.shape)}): largest difference "
            f"{gap:.3g} where rounding explains {allowed:.3g}; the model is refused. "
            "Please report it with the model."
        )
