"""The layers' cases as models of one node, and what runtimes make of them in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from layer_cases import Case
from onnx import TensorProto, helper, numpy_helper

from boundcert.layers.base import Layer
from boundcert.layers.relaxation import Box

#: onnxruntime refuses these: padding as wide as the kernel, windows of even size, no image, and
#: what is no operator.
REFUSED = frozenset({"max_dilated_pads", "lrn_even", "lrn_steep", "blend"})

#: A float32 evaluation: (B, *shape) operands to the output.
Runtime = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Deployed:
    """A layer of float32 constants, its operands' shapes, and runtimes of the same function."""

    layer: Layer
    shapes: list[tuple[int, ...]]
    runtimes: dict[str, Runtime]


def session(model: onnx.ModelProto, optimised: bool):  # type: ignore[no-untyped-def]
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    )
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def in_onnxruntime(model: onnx.ModelProto, optimised: bool) -> Runtime:
    """Sample by sample: the model is one call's."""
    run = session(model, optimised)
    names = [value.name for value in run.get_inputs()]

    def evaluate(*points: torch.Tensor) -> torch.Tensor:
        samples = zip(*(p.float().numpy() for p in points))
        outputs = [run.run(["y"], dict(zip(names, sample)))[0] for sample in samples]
        return torch.from_numpy(np.stack(outputs)).double()

    return evaluate


def in_torch(layer: Layer) -> Runtime:
    """The same formula, with another library's sums and functions."""
    single = layer.to("cpu", torch.float32)
    return lambda *points: single.forward(*(p.float() for p in points)).double()


def deployed(case: Case, seed: int) -> Deployed:
    """The case with constants and attributes rounded to float32 first: no part of the error."""
    operands, attributes = case.make(np.random.default_rng(seed))
    operands = [_rounded(value) for value in operands]
    attributes = {
        name: float(np.float32(value)) if isinstance(value, float) else value
        for name, value in attributes.items()
    }
    layer, shapes = replace(case, make=lambda rng: (operands, attributes)).build(
        np.random.default_rng(seed)
    )
    runtimes = {"torch": in_torch(layer)}
    if case.name not in REFUSED:
        model = _model(case, operands, dict(attributes))
        runtimes["onnxruntime"] = in_onnxruntime(model, False)
        runtimes["optimised"] = in_onnxruntime(model, True)
    return Deployed(layer, shapes, runtimes)


def _rounded(value: object) -> object:
    floating = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(np.float32) if floating else value  # type: ignore[union-attr]


def _model(case: Case, operands: list, attributes: dict) -> onnx.ModelProto:
    out = case.shape or next(o for o in operands if isinstance(o, tuple))
    if case.op == "Reshape":
        operands = [*operands, np.array(out)]
    outputs = ["y"]
    if case.op == "Split":
        count = attributes["num_outputs"] = attributes.pop("outputs")
        outputs = [f"o{k}" for k in range(count)]
        outputs[attributes.pop("output")] = "y"
    names = ["" if value is None else f"x{k}" for k, value in enumerate(operands)]
    node = helper.make_node(case.op, names, outputs, **attributes)
    inputs, constants = [], []
    for name, value in zip(names, operands):
        if isinstance(value, tuple):
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value))
        elif value is not None:
            constants.append(numpy_helper.from_array(value, name))
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(out))
    graph = helper.make_graph([node], "case", inputs, [result], constants)
    opset = max(20, case.opset) if case.op == "Gelu" else case.opset
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 9
    return model


def float32_boxes(
    case: Case,
    shapes: list,
    rng: np.random.Generator,
    scale: float,
    width: float,
    samples: int,
    odd: float = 0.2,
) -> tuple[Box, ...]:
    """Boxes with ends in float32, so that points inside stay there when they are rounded.

    A share ``odd`` of the entries is a thousand times as large or small.
    """
    boxes = []
    for shape in shapes:
        spread = rng.choice([1.0, 1e-3, 1e3], p=[1 - odd, odd / 2, odd / 2], size=(samples, *shape))
        point = rng.standard_normal((samples, *shape)) * scale * spread
        point = np.clip(point, case.low, case.high)
        reach = rng.random((2, samples, *shape)) * width * scale
        ends = [np.clip(point + s * r, case.low, case.high) for s, r in zip((-1, 1), reach)]
        values = (np.clip(v, -3e38, 3e38).astype(np.float32) for v in (*ends, point))
        boxes.append(Box(*(torch.from_numpy(v.astype(np.float64)) for v in values)))
    return tuple(boxes)


def float32_inside(
    rng: np.random.Generator, boxes: tuple[Box, ...], kind: int
) -> list[torch.Tensor]:
    """Points of the boxes in float32: uniform, corners, faces, the samples themselves."""
    points = []
    for box in boxes:
        t = torch.from_numpy(rng.random(box.low.shape))
        t = (t, t.round(), torch.clamp(3 * t - 1, 0, 1), 0 * t)[kind]
        z = box.point if kind == 3 else box.low + t * (box.high - box.low)
        points.append(torch.minimum(torch.maximum(z, box.low), box.high).float().double())
    return points


def ratio(computed: torch.Tensor, exact: torch.Tensor, bound: torch.Tensor | None) -> float:
    """Largest error/bound where there is a bound; inf where there is none to allow an error."""
    error = (computed - exact).abs()
    if bound is None:
        return 0.0 if torch.equal(computed, exact) else float("inf")
    assert bound.shape == exact.shape
    share = torch.where(bound.isfinite(), error / bound, 0.0)
    share = torch.where((error == 0) & (bound == 0), 0.0, share)
    return float(share.nan_to_num(torch.inf).max()) if share.numel() else 0.0
