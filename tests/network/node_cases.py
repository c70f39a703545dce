"""ONNX's own operator tests as plain functions of one floating-point input.

A case is a model with fixed shapes, its inputs and its expected outputs. One input becomes the
data, all others become initialisers, and the first output is what is computed; classifiers'
conventions (batch axis, logits, heads) do not apply.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from boundcert.layers import registry
from boundcert.network.build import build_graph
from boundcert.network.graph import Node
from boundcert.network.passes.cut import cut
from boundcert.network.passes.fold import fold
from boundcert.network.passes.tidy import tidy

#: Types that data can have, with the roundoff that results may show.
ROUNDOFF = {"float16": 2.0**-10, "float32": 2.0**-22, "float64": 2.0**-50}


@dataclass(frozen=True)
class Case:
    """One test of the suite."""

    name: str
    model: onnx.ModelProto
    inputs: tuple[object, ...]
    outputs: tuple[object, ...]

    @property
    def operators(self) -> set[str]:
        return {node.op_type for node in self.model.graph.node} - {"Constant"}

    @property
    def data(self) -> int | None:
        """Position of the first input that is a non-empty floating-point array.

        Pad moves numbers whatever their type, and its modes are only tested with integers.
        """
        for k, value in enumerate(self.inputs):
            kinds = (*ROUNDOFF, "int32") if self.operators == {"Pad"} else ROUNDOFF
            if isinstance(value, np.ndarray) and value.dtype.name in kinds and value.size:
                return k
        return None


def all_cases() -> Iterator[Case]:
    """Every node test of the installed onnx, and its converted PyTorch tests."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        generated = collect_testcases(None)
    for case in generated:
        if case.model is not None and case.data_sets:
            inputs, outputs = (tuple(map(_array, part)) for part in case.data_sets[0])
            yield Case(case.name, case.model, inputs, outputs)
    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for folder in ("pytorch-converted", "pytorch-operator", "simple"):
        for path in sorted((data / folder).glob("*/model.onnx")):
            model = onnx.load(path)
            if int(max(e.version for e in model.opset_import)) >= 7:
                yield Case(
                    f"{folder}/{path.parent.name}",
                    model,
                    tuple(_stored(path.parent, "input")),
                    tuple(_stored(path.parent, "output")),
                )


def _stored(folder: Path, kind: str) -> Iterator[object]:
    count = len(list((folder / "test_data_set_0").glob(f"{kind}_*.pb")))
    for k in range(count):
        path = folder / "test_data_set_0" / f"{kind}_{k}.pb"
        yield _array(onnx.TensorProto.FromString(path.read_bytes()))


def _array(value: object) -> object:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


@functools.cache
def supported_cases() -> list[Case]:
    """The cases made of operators that some layer takes."""
    known = set(registry.supported())
    return [case for case in all_cases() if case.operators and case.operators <= known]


def as_function(case: Case) -> tuple[onnx.ModelProto, str, str]:
    """The case's model with one data input: (model, input name, output name)."""
    assert case.data is not None
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    named = [v for v in graph.input if v.name not in {t.name for t in graph.initializer}]
    source = named[case.data].name
    kept = []
    for k, (value, array) in enumerate(zip(named, case.inputs)):
        if k == case.data:
            assert isinstance(array, np.ndarray)
            tensor = value.type.tensor_type
            if array.dtype == np.int32:
                tensor.elem_type = onnx.TensorProto.FLOAT
                graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            tensor.ClearField("shape")
            tensor.shape.SetInParent()
            for n in array.shape:
                tensor.shape.dim.add().dim_value = n
            kept.append(onnx.ValueInfoProto.FromString(value.SerializeToString()))
        else:
            constant = numpy_helper.from_array(np.asarray(array), value.name)
            graph.initializer.append(constant)
    del graph.input[:]
    graph.input.extend(kept)
    return model, source, graph.output[0].name


def import_function(model: onnx.ModelProto, source: str, target: str) -> list[Node]:
    """Nodes of a model as a plain function: no batch axis, no head, no logits."""
    folded = fold(cut(tidy(model, "case"), target), "case")
    return build_graph(folded, "case", source, target)


def evaluate(nodes: list[Node], x: np.ndarray) -> np.ndarray:
    """The last node's value at one input."""
    values = [torch.from_numpy(x.astype(np.float64))[None]]
    for node in nodes[1:]:
        assert node.layer is not None
        values.append(node.layer.forward(*(values[i] for i in node.inputs)))
    return values[-1][0].numpy()


def run(model: onnx.ModelProto, x: np.ndarray, source: str, target: str) -> np.ndarray | None:
    """onnxruntime on the same model, None where it has no kernel for it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    small = cut(model, target)
    small.ir_version = min(max(small.ir_version, 4), 10)
    try:
        session = onnxruntime.InferenceSession(
            small.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run([target], {source: x})[0]
    except Exception:
        return None


def gap(ours: np.ndarray, theirs: np.ndarray, x: np.ndarray, relative: float = 2e-6) -> str | None:
    """What is wrong with a result, None where rounding explains every difference."""
    theirs = np.asarray(theirs)
    if ours.shape != theirs.shape:
        return f"shape {ours.shape}, expected {theirs.shape}"
    unit = max(ROUNDOFF.get(a.dtype.name, 2.0**-8) for a in (theirs, x))
    wanted = theirs.astype(np.float64)
    special = ~np.isfinite(wanted)
    if special.any():
        same = np.array_equal(ours[special], wanted[special], equal_nan=True)
        if not same:
            return "NaN or infinity in other places"
    size = np.abs(wanted[~special]).max(initial=0.0)
    allowed = (relative + 16 * unit) * size + 1e-6 + 4 * unit
    difference = np.abs(ours[~special] - wanted[~special]).max(initial=0.0)
    return None if difference <= allowed else f"differs by {difference:.3g} > {allowed:.3g}"
