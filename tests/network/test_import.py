"""Models as exporters write them, imported and compared with onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from network.compare import assert_same, imported, logits, runtime, samples
from network.models import cnn, mlp, model, node, save, weights
from onnx import TensorProto, helper

import boundcert
from boundcert.errors import RefusedInput
from boundcert.network.answers import after_head
from boundcert.network.runtime import Runtime


def classes(network: boundcert.Network, x: np.ndarray) -> np.ndarray:
    z = logits(network, x)
    # one output is turned into a pair, a least-wins model into its negative: the greatest wins
    return z.argmax(axis=1)


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_batch_axis(batch: int | str) -> None:
    made = mlp([batch, 4])
    network = imported(made)
    assert network.input_shape == (1, 4)
    assert network.source.batch == (None if batch == "N" else batch)
    x = samples(network, 6)
    rows = x.reshape(6, 4)
    size = 6 if batch == "N" else int(batch)
    parts = [runtime(made, rows[k : k + size]) for k in range(0, 6, size)]
    assert_same(network, np.concatenate(parts), x)
    classified = Runtime(network.source, network.input_shape).classify(x)
    np.testing.assert_array_equal(classified, classes(network, x))
    # not a multiple of the batch size either
    np.testing.assert_array_equal(
        Runtime(network.source, network.input_shape).classify(x[:4]), classified[:4]
    )


def test_fixed_batch_with_its_size_in_a_reshape() -> None:
    nodes = [
        node("Conv", "x k", "c"),
        node("Relu", "c", "r"),
        node("Reshape", "r target", "f"),
        node("MatMul", "f w", "y"),
    ]
    constants = {
        "k": weights(3, 2, 3, 3),
        "target": np.array([4, -1]),
        "w": weights(27, 5),
    }
    made = model(nodes, [4, 2, 5, 5], constants)
    network = imported(made)
    assert network.source.batch == 4
    assert network.input_shape == (1, 2, 5, 5)
    x = samples(network, 4)
    assert_same(network, runtime(made, x.reshape(4, 2, 5, 5)), x)


def test_free_batch_that_only_works_with_one_row() -> None:
    nodes = [node("Reshape", "x target", "r"), node("MatMul", "r w", "y")]
    made = model(nodes, ["N", 2, 3], {"target": np.array([1, 6]), "w": weights(6, 3)})
    network = imported(made)
    x = samples(network, 5)
    classified = Runtime(network.source, network.input_shape).classify(x)
    np.testing.assert_array_equal(classified, classes(network, x))


def test_free_batch_whose_rows_see_each_other_is_run_row_by_row() -> None:
    nodes = [
        node("ReduceMean", "x", "m", axes=[0], keepdims=1),
        node("Mul", "m half", "h"),
        node("Sub", "x h", "c"),
        node("MatMul", "c w", "y"),
    ]
    made = model(nodes, ["N", 4], {"half": np.array([0.5], np.float32), "w": weights(4, 3)})
    network = imported(made)
    x = samples(network, 9)
    classified = Runtime(network.source, network.input_shape).classify(x)
    np.testing.assert_array_equal(classified, classes(network, x))


def test_fixed_batch_whose_rows_see_each_other_is_refused() -> None:
    nodes = [
        node("ReduceMean", "x", "m", axes=[0], keepdims=1),
        node("Sub", "x m", "c"),
        node("MatMul", "c w", "y"),
    ]
    made = model(nodes, [3, 4], {"w": weights(4, 3)})
    with pytest.raises(RefusedInput, match="depend on the other samples"):
        imported(made)


def test_column_vectors_are_no_batch() -> None:
    """Weights on the left, one sample a column: (5, 1) in, (5, 1) out."""
    nodes = [node("MatMul", "w x", "a"), node("Add", "a b", "y")]
    made = model(nodes, [5, 1], {"w": weights(5, 5), "b": weights(5, 1)})
    network = imported(made)
    assert network.input_shape == (5, 1)
    assert network.classes == 5
    x = samples(network, 3)
    assert_same(network, np.stack([runtime(made, row) for row in x]), x)


def test_cnn_with_shape_arithmetic_and_softmax_head() -> None:
    made = cnn()
    network = imported(made)
    assert network.nodes[-2].tensor == "z"
    assert not {"Shape", "Gather", "Concat"} & {n.op for n in network.nodes}
    x = samples(network)
    probabilities = runtime(made, x.reshape(5, 2, 6, 6))
    z = logits(network, x)
    softmax = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax, probabilities, rtol=1e-4, atol=1e-6)


def head(nodes: list[onnx.NodeProto], kind: int = TensorProto.FLOAT, rank: int = 2, **o: object):  # type: ignore[no-untyped-def]
    return model([node("MatMul", "x w", "z"), *nodes], ["N", 4], {"w": weights(4, 3)},
                 out_kind=kind, rank=rank, **o)  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "opset", "decision"),
    [
        ([node("Softmax", "z", axis=1)], 11, "max"),
        ([node("Softmax", "z")], 7, "max"),
        ([node("Softmax", "z", axis=-1)], 18, "max"),
        ([node("Softmax", "z")], 21, "max"),
        ([node("LogSoftmax", "z", axis=1)], 13, "max"),
        ([node("LogSoftmax", "z")], 9, "max"),
        ([node("Sigmoid", "z")], 17, "max"),
        ([node("Hardmax", "z", axis=1)], 17, "max"),
        ([node("Softmax", "z", "s", axis=1), node("Log", "s")], 17, None),
        ([node("ArgMax", "z", axis=1, keepdims=0)], 13, "max"),
        ([node("ArgMin", "z", axis=1)], 13, "min"),
        ([node("Softmax", "z", "s", axis=1), node("ArgMax", "s", axis=-1)], 13, "max"),
        ([node("Identity", "z", "i"), node("ArgMin", "i", "a", axis=1),
          node("Cast", "a", to=TensorProto.INT32)], 13, "min"),
    ],
)  # fmt: skip
def test_heads(nodes: list[onnx.NodeProto], opset: int, decision: str | None) -> None:
    last = nodes[-1].op_type
    kind = {"ArgMax": 7, "ArgMin": 7, "Cast": 6}.get(last, 1)
    rank = 1 if any(a.name == "keepdims" and a.i == 0 for n in nodes for a in n.attribute) else 2
    made = head(nodes, kind, rank, opset=opset)
    network = imported(made)
    if decision is None:
        assert "Softmax" in [n.op for n in network.nodes]  # hidden: it stays
        return
    assert network.source.output == "z" or nodes[0].op_type == "Identity"
    assert network.source.decision == decision
    x = samples(network, 8)
    out = np.concatenate([runtime(made, row).reshape(1, -1) for row in x])
    expected = out[:, 0] if out.shape[1] == 1 else out.argmax(axis=1)
    np.testing.assert_array_equal(classes(network, x), expected)
    ran = Runtime(network.source, network.input_shape).classify(x)
    np.testing.assert_array_equal(ran, expected)


def test_softmax_over_part_of_the_output_is_no_head() -> None:
    nodes = [
        node("MatMul", "x w", "z"),
        node("Reshape", "z pairs", "p"),
        node("Softmax", "p", "s", axis=2),
        node("Reshape", "s flat", "y"),
    ]
    constants = {"w": weights(4, 6), "pairs": np.array([-1, 3, 2]), "flat": np.array([-1, 6])}
    made = model(nodes, ["N", 4], constants)
    network = imported(made)
    assert "Softmax" in [n.op for n in network.nodes]
    x = samples(network)
    assert_same(network, runtime(made, x.reshape(5, 4)), x)


def test_decision_can_be_chosen(tmp_path: Path) -> None:
    path = save(mlp(), tmp_path)
    most, least = boundcert.load_onnx(path), boundcert.load_onnx(path, decision="min")
    x = samples(most)
    np.testing.assert_allclose(logits(most, x), -logits(least, x))
    assert least.source.decision == "min"


@pytest.mark.parametrize("with_sigmoid", [False, True])
def test_one_output_decides_by_its_sign(with_sigmoid: bool) -> None:
    nodes = [node("MatMul", "x w", "z" if with_sigmoid else "y")]
    if with_sigmoid:
        nodes.append(node("Sigmoid", "z"))
    made = model(nodes, ["N", 4], {"w": weights(4, 1)})
    network = imported(made)
    assert network.source.decision == "sign"
    assert network.classes == 2
    x = samples(network, 10)
    out = runtime(made, x.reshape(10, 4))[:, 0]
    expected = (out > (0.5 if with_sigmoid else 0)).astype(int)
    assert set(expected) == {0, 1}
    np.testing.assert_array_equal(classes(network, x), expected)
    ran = Runtime(network.source, network.input_shape).classify(x)
    np.testing.assert_array_equal(ran, expected)


def test_output_by_name(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "y"), node("MatMul", "x v", "other")]
    made = model(nodes, ["N", 4], {"w": weights(4, 3), "v": weights(4, 2)}, outputs=("y", "other"))
    path = save(made, tmp_path)
    with pytest.raises(RefusedInput, match=r"2 outputs \(y, other\).*--output NAME"):
        boundcert.load_onnx(path)
    network = boundcert.load_onnx(path, output="other")
    assert network.classes == 2
    x = samples(network)
    assert_same(network, runtime(made, x.reshape(5, 4), "other"), x)
    with pytest.raises(RefusedInput, match="no output 'nothing'; it has y, other"):
        boundcert.load_onnx(path, output="nothing")


@pytest.mark.parametrize(("mean", "std"), [([0.5], [0.25]), ([0.1, -0.2], [0.5, 2.0]), (3.0, None)])
def test_mean_and_std_are_folded(tmp_path: Path, mean: object, std: object) -> None:
    path = save(cnn(), tmp_path)
    plain_network = boundcert.load_onnx(path)
    network = boundcert.load_onnx(path, mean=mean, std=std)  # type: ignore[arg-type]
    x = samples(network)
    m = np.broadcast_to(np.asarray(mean, float), 2).reshape(2, 1, 1)
    s = np.broadcast_to(np.asarray(1.0 if std is None else std, float), 2).reshape(2, 1, 1)
    expected = logits(plain_network, (x.astype(np.float64) - m) / s)
    np.testing.assert_allclose(logits(network, x), expected, rtol=1e-9, atol=1e-12)
    ran = Runtime(network.source, network.input_shape)
    expected = after_head(expected, "Softmax")  # the file's own output
    np.testing.assert_allclose(ran.answers(x), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("kind", "tolerance"), [("float16", 0.02), ("float64", 1e-9)])
def test_half_and_double_models(kind: str, tolerance: float) -> None:
    nodes = [node("Gemm", "x w b", "h"), node("Tanh", "h", "a"), node("MatMul", "a v", "y")]
    constants = {
        "w": weights(4, 5, kind=kind),
        "b": weights(5, kind=kind),
        "v": weights(5, 3, kind=kind),
    }
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    made = model(nodes, ["N", 4], constants, kind=code)
    network = imported(made)
    assert network.source.dtype == kind
    x = samples(network)
    assert_same(network, runtime(made, x.reshape(5, 4)), x, rtol=tolerance)


def test_half_precision_inside_a_float_model() -> None:
    nodes = [
        node("Cast", "x", "h", to=TensorProto.FLOAT16),
        node("MatMul", "h w", "m"),
        node("Cast", "m", "y", to=TensorProto.FLOAT),
    ]
    made = model(nodes, ["N", 4], {"w": weights(4, 3, kind="float16")})
    network = imported(made)
    x = samples(network)
    assert_same(network, runtime(made, x.reshape(5, 4)), x, rtol=0.02)


def test_tensorflow_style_graph() -> None:
    """NHWC input, transposed to NCHW and back, squeezed and unsqueezed on the way."""
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t k", "c", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Transpose", "c", "back", perm=[0, 2, 3, 1]),
        node("Add", "back b", "biased"),
        node("Relu", "biased", "r"),
        node("ReduceMean", "r", "m", axes=[1, 2], keepdims=1),
        node("Squeeze", "m spatial", "s"),
        node("Unsqueeze", "s last", "u"),
        node("MatMul", "w u", "p"),
        node("Squeeze", "p last", "y"),
    ]
    constants = {
        "k": weights(3, 2, 3, 3),
        "b": weights(3),
        "spatial": np.array([1, 2]),
        "last": np.array([-1]),
        "w": weights(4, 3),
    }
    made = model(nodes, ["N", 7, 7, 2], constants)
    network = imported(made)
    x = samples(network)
    assert_same(network, runtime(made, x.reshape(5, 7, 7, 2)), x)


def test_hidden_softmax_and_constant_operands() -> None:
    """A softmax as a gate; constants concatenated, compared and divided; a sum of three."""
    nodes = [
        node("MatMul", "x w", "h"),
        node("Softmax", "h", "s", axis=-1),
        node("Mul", "h s", "g"),
        node("Max", "g floor", "m"),
        node("Min", "m top", "n"),
        node("Concat", "n extra", "c", axis=1),
        node("Sum", "c c ones", "t"),
        node("Exp", "t", "e"),
        node("Div", "ones e", "y"),
    ]
    constants = {
        "w": weights(4, 3),
        "floor": np.array([-0.1, 0.0, 0.1], np.float32),
        "top": np.array(0.2, np.float32),
        "extra": weights(1, 2),
        "ones": np.array([[1, 2, 3, 4, 5]], np.float32),
    }
    made = model(nodes, [1, 4], constants)
    network = imported(made)
    x = samples(network)
    assert_same(network, np.concatenate([runtime(made, row) for row in x]), x)


def test_weights_as_constant_nodes_and_as_inputs() -> None:
    made = mlp()
    tensors = list(made.graph.initializer)
    constant = onnx.ModelProto.FromString(made.SerializeToString())
    del constant.graph.initializer[:]
    for tensor in reversed(tensors):
        constant.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    listed = onnx.ModelProto.FromString(made.SerializeToString())
    listed.ir_version = 3
    for tensor in tensors:
        listed.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    reference = imported(made)
    x = samples(reference)
    for variant in (constant, listed):
        np.testing.assert_allclose(logits(imported(variant), x), logits(reference, x))


def test_output_without_a_declared_shape() -> None:
    made = mlp()
    made.graph.output[0].type.tensor_type.ClearField("shape")
    assert imported(made).classes == 3


def test_external_data(tmp_path: Path) -> None:
    made = mlp()
    reference = imported(made)
    path = tmp_path / "big.onnx"
    onnx.save_model(
        made, str(path), save_as_external_data=True, location="big.bin", size_threshold=0
    )
    network = boundcert.load_onnx(path)
    x = samples(network)
    np.testing.assert_allclose(logits(network, x), logits(reference, x))
    whole = (tmp_path / "big.bin").read_bytes()
    (tmp_path / "big.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RefusedInput, match=r"external|damaged"):
        boundcert.load_onnx(path)
    (tmp_path / "big.bin").unlink()
    with pytest.raises(RefusedInput, match="external weights cannot be loaded"):
        boundcert.load_onnx(path)


def test_local_functions_are_inlined() -> None:
    function = helper.make_function(
        "local",
        "Block",
        ["a", "w"],
        ["b"],
        [node("MatMul", "a w", "m"), node("Relu", "m", "b")],
        [helper.make_opsetid("", 17)],
    )
    nodes = [
        helper.make_node("Block", ["x", "w1"], ["h"], domain="local"),
        helper.make_node("Block", ["h", "w2"], ["y"], domain="local"),
    ]
    made = model(
        nodes,
        ["N", 4],
        {"w1": weights(4, 5), "w2": weights(5, 3)},
        functions=[function],
        domains=["local"],
    )
    network = imported(made)
    x = samples(network)
    assert_same(network, runtime(made, x.reshape(5, 4)), x)


def test_data_of_other_shapes_is_reshaped_or_refused() -> None:
    network = imported(cnn())
    x = samples(network, 3)
    flat = network.prepare(x.reshape(3, 72))
    assert flat.shape == (3, 1, 2, 6, 6)
    with pytest.raises(RefusedInput, match="do not fit the model's input 'x'"):
        network.prepare(np.zeros((3, 71)))
    with pytest.raises(RefusedInput, match="transpose the data"):
        network.prepare(np.zeros((3, 6, 6, 2)))
    with pytest.raises(RefusedInput, match="NaN"):
        network.prepare(np.full((1, 2, 6, 6), np.nan))
    with pytest.raises(RefusedInput, match="not numeric"):
        network.prepare(np.array([["a"] * 72]))


def test_third_party_models() -> None:
    folder = Path(boundcert.__file__).resolve().parents[2] / "shared" / "models"
    paths = sorted(folder.glob("*.onnx"))
    if not paths:
        pytest.skip("the third-party models (shared/models beside the checkout) are not here")
    for path in paths:
        network = boundcert.load_onnx(path)
        x = samples(network, 3)
        ran = Runtime(network.source, network.input_shape)
        np.testing.assert_allclose(ran.answers(x), _model_logits(network, x), rtol=1e-3, atol=1e-3)


def _model_logits(network: boundcert.Network, x: np.ndarray) -> np.ndarray:
    z = logits(network, x)
    return -z if network.source.decision == "min" else z
