"""A small model with its data, and the command line called in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cli.cli_helpers import Call, Files, Result
from onnx import TensorProto, helper, numpy_helper

FEATURES, CLASSES, SAMPLES = 4, 3, 30


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A two-layer network and 30 labelled samples."""
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(7)
    sizes = ((8, FEATURES), (8,), (CLASSES, 8), (CLASSES,))
    names = ("w0", "b0", "w1", "b1")
    weights = [
        numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n)
        for n, s in zip(names, sizes)
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"], name="first", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w1", "b1"], ["y"], name="last", transB=1),
    ]
    ends = [("x", FEATURES), ("y", CLASSES)]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in ends]
    graph = helper.make_graph(nodes, "small", value[:1], value[1:], weights)
    opsets = [helper.make_opsetid("", 17)]
    path = folder / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    x = rng.standard_normal((SAMPLES, FEATURES)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.arange(SAMPLES) % CLASSES)
    np.savez(folder / "wide.npz", x=np.zeros((3, 7), np.float32), y=np.zeros(3, np.int64))
    return Files(path, folder / "data.npz", folder / "wide.npz")


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Call:
    """Run ``boundcert`` in an empty working folder; blocks are of four samples."""
    from boundcert import run as glue
    from boundcert.cli.main import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOUNDCERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BOUNDCERT_DEBUG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(glue, "BLOCK_SAMPLES", 4)

    def invoke(*arguments: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return Result(int(stop.value.code or 0), out, err)

    return invoke
