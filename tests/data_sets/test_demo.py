"""The shipped demo: small, accurate, self-contained, and what its script makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from boundcert.data import load_data
from boundcert.demo import data_path, model_path

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "train_digits.py"


def accuracy(model: Path) -> float:
    data = load_data("digits")
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: data.x})
    return float((np.asarray(logits).argmax(1) == data.y).mean())


def test_size_and_accuracy() -> None:
    assert model_path().stat().st_size + data_path().stat().st_size < 500_000
    assert accuracy(model_path()) >= 0.97


def test_model_is_self_contained_with_a_free_batch() -> None:
    model = onnx.load(str(model_path()), load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import] == [17]
    assert all(
        weight.data_location == onnx.TensorProto.DEFAULT for weight in model.graph.initializer
    )
    (inputs,) = model.graph.input
    batch, *shape = inputs.type.tensor_type.shape.dim
    assert batch.dim_param and [extent.dim_value for extent in shape] == [1, 8, 8]


def test_shipped_arrays() -> None:
    with np.load(data_path()) as arrays:
        assert arrays["x"].dtype == np.float32 and arrays["y"].dtype == np.int64
        assert sorted(set(arrays["y"].tolist())) == list(range(10))


def test_digits_are_scikit_learns_held_out_ones() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    known = {image.tobytes(): label for image, label in zip(*datasets.load_digits(return_X_y=True))}
    data = load_data("digits")
    assert data.y is not None
    for image, label in zip(data.x, data.y):
        assert known[(image.ravel() * 16).astype(np.float64).tobytes()] == label


def test_script_reproduces_an_equally_good_model(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    assert accuracy(tmp_path / "digits.onnx") >= 0.97
    assert (tmp_path / "digits.npz").read_bytes()
    with np.load(tmp_path / "digits.npz") as again, np.load(data_path()) as shipped:
        np.testing.assert_array_equal(again["x"], shipped["x"])
