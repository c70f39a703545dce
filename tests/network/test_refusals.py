"""What the importer refuses: one clear message each, quickly, before memory is taken."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from network.compare import imported
from network.models import mlp, model, node, save, weights
from onnx import TensorProto, helper, numpy_helper

import boundcert
from boundcert.errors import BoundcertError, RefusedInput, UnsupportedModel
from boundcert.network.importer import import_bytes

HUGE = 10**12


def refused(made: onnx.ModelProto, match: str, kind: type[BoundcertError] = RefusedInput) -> str:
    """Import must fail with this message, in little time and memory; the message."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    with pytest.raises(kind, match=match) as caught:
        imported(made)
    assert time.monotonic() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x00" * 100, "not an ONNX model"),
        (b"PK\x03\x04 a zip archive", "not an ONNX model"),
        (b"#!/usr/bin/env python\nprint('no model')\n", "not an ONNX model"),
        (mlp().SerializeToString()[:-7], "not an ONNX model|damaged|invalid"),
        (onnx.ModelProto().SerializeToString() or b"\x08\x08", "without any node"),
    ],
)
def test_files_that_are_no_models(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(RefusedInput, match=message) as caught:
        boundcert.load_onnx(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(RefusedInput, match="no such file"):
            boundcert.load_onnx(path)


def test_several_inputs() -> None:
    made = mlp()
    made.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    refused(made, r"2 inputs \(x, z\).*--input NAME")
    with pytest.raises(RefusedInput, match="needs exactly one: make the others constants"):
        import_bytes(made.SerializeToString(), input_name="x")
    with pytest.raises(RefusedInput, match="no input 'q'; it has x, z"):
        import_bytes(made.SerializeToString(), input_name="q")


def test_integer_input() -> None:
    nodes = [node("Cast", "x", "f", to=1), node("MatMul", "f w", "y")]
    refused(
        model(nodes, ["N", 4], {"w": weights(4, 3)}, kind=TensorProto.INT64, out_kind=1),
        "input 'x' is INT64; perturbations need a floating-point input",
    )


def test_every_unsupported_node_is_listed() -> None:
    nodes = [
        node("MatMul", "x w", "a", name="fine"),
        node("Sin", "a", "b", name="wave"),
        node("Relu", "b", "c", name="fine_too"),
        helper.make_node("FancyAct", ["c"], ["d"], name="fancy", domain="com.example"),
        node("LogSoftmax", "d", "e", name="hidden_log", axis=1),
        node("CumSum", "e one", "f", name="sums"),
        node("MatMul", "f v", "y", name="last"),
    ]
    made = model(
        nodes,
        ["N", 4],
        {"w": weights(4, 3), "v": weights(3, 2), "one": np.array(1)},
        domains=["com.example"],
    )
    message = refused(made, "4 node", UnsupportedModel)
    assert "wave (Sin, [1, 3] -> [1, 3]): no bound is known for this operator" in message
    assert "fancy (com.example::FancyAct, [1, 3] -> ?)" in message
    assert "operators of domain 'com.example' are unknown" in message
    assert "hidden_log (LogSoftmax" in message
    assert "sums (CumSum" in message
    assert "fine" not in message.replace("fine_too", "")
    assert "Operators that work: Abs, Add," in message


def test_unsupported_attributes_say_what_works() -> None:
    pool = model(
        [node("MaxPool", "x", kernel_shape=[2] * 4, name="pool")], ["N", 1, 4, 4, 4, 4], rank=6
    )
    refused(pool, r"pool \(MaxPool, .*4 spatial axes; 1 to 3 work", UnsupportedModel)
    norm = model(
        [node("BatchNormalization", "x s s s s", "y m v", training_mode=1, name="norm")],
        ["N", 3],
        {"s": np.ones(3, np.float32)},
    )
    refused(norm, "norm .*export the model in evaluation mode", UnsupportedModel)
    product = model(
        [node("MatMul", "x w", "a"), node("MatMul", "x a", "y", name="attention")],
        [1, 3, 3],
        {"w": weights(3, 3)},
        rank=3,
    )
    refused(product, "attention .*all but one must be constants", UnsupportedModel)
    indices = model(
        [node("MaxPool", "x", "p i", kernel_shape=[2]), node("Identity", "i", "y", name="out")],
        [1, 1, 4],
        rank=3,
        out_kind=TensorProto.INT64,
    )
    refused(indices, "what .*MaxPool.* gives besides its value")


def test_control_flow_is_listed() -> None:
    branch = helper.make_graph(
        [node("Relu", "x", "b")], "branch", [], [helper.make_tensor_value_info("b", 1, ["N", 4])]
    )
    other = helper.make_graph(
        [node("Abs", "x", "c")], "other", [], [helper.make_tensor_value_info("c", 1, ["N", 4])]
    )
    nodes = [
        node("ReduceSum", "x", "s", keepdims=0),
        node("Cast", "s", "cond", to=TensorProto.BOOL, name="test"),
        helper.make_node(
            "If", ["cond"], ["y"], name="choice", then_branch=branch, else_branch=other
        ),
    ]
    message = refused(model(nodes, ["N", 4]), "cannot be bounded", UnsupportedModel)
    assert "choice (If" in message
    assert "test (Cast" in message


def test_damaged_weights() -> None:
    for value, what in ((np.nan, "holds NaN"), (np.inf, "NaN or infinite")):
        made = mlp()
        array = weights(5, 4)
        array[2, 2] = value
        made.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, "w1"))
        refused(made, what)


@pytest.mark.parametrize("dims", [[HUGE], [HUGE, HUGE], [2**40, 5], [-1, 4], [5, 5], [2**63 - 1]])
def test_declared_weight_sizes(dims: list[int]) -> None:
    made = mlp()
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend(dims)
    refused(made, "weight 'w1'.*(declares|negative)")


def test_declared_sizes_inside_a_function() -> None:
    inner = numpy_helper.from_array(np.ones(3, np.float32), "inner")
    inner.dims[0] = 2**40
    out = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    branch = helper.make_graph([node("Identity", "inner", "out")], "branch", [], out, [inner])
    choice = helper.make_node("If", ["a"], ["b"], then_branch=branch, else_branch=branch)
    opset = helper.make_opsetid("", 17)
    made = helper.make_function("local", "F", ["a"], ["b"], [choice], [opset])
    nodes = [helper.make_node("F", ["x"], ["y"], domain="local")]
    refused(model(nodes, [1, 4], functions=[made], domains=["local"]), "weight 'inner' declares")


def external(folder: Path, **entries: str) -> Path:
    """A model whose first weight, 80 bytes, lies in a file of 16 GiB of holes."""
    with open(folder / "w.bin", "wb") as file:
        file.truncate(2**34)
    made = mlp()
    made.graph.initializer[0].ClearField("raw_data")
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **entries}.items():
        made.graph.initializer[0].external_data.add(key=key, value=value)
    return save(made, folder)


def test_external_data_is_read_no_further_than_the_weight(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert boundcert.load_onnx(external(tmp_path)).classes == 3
    assert boundcert.load_onnx(external(tmp_path, offset=str(2**33), length="80")).classes == 3
    with pytest.raises(RefusedInput, match=r"takes 80 bytes, but .* of length 17179869184"):
        boundcert.load_onnx(external(tmp_path, length=str(2**34)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/passwd", "none.bin", "", ".", "x\0y"])
def test_external_data_elsewhere(tmp_path: Path, location: str) -> None:
    (tmp_path / "outside.bin").write_bytes(bytes(80))
    (tmp_path / "in").mkdir()
    with pytest.raises(RefusedInput, match="external weights cannot be loaded"):
        boundcert.load_onnx(external(tmp_path / "in", location=location))


def test_external_weights_of_more_than_a_model_holds(tmp_path: Path) -> None:
    path = external(tmp_path)
    made = onnx.load(path, load_external_data=False)
    made.graph.initializer[0].dims[:] = [2**29 - 1, 1]
    made.graph.initializer[2].CopyFrom(made.graph.initializer[0])
    with pytest.raises(RefusedInput, match="exceeds the 2 GiB"):
        boundcert.load_onnx(save(made, tmp_path))


def test_sparse_weights() -> None:
    made = mlp()
    dense = made.graph.initializer[0]
    values = helper.make_tensor("w1", TensorProto.FLOAT, [1], [1.0])
    where = helper.make_tensor("places", TensorProto.INT64, [1], [3])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, where, list(dense.dims)))
    del made.graph.initializer[0]
    refused(made, "sparse initialiser; export it as a dense one")


@pytest.mark.parametrize(
    ("op", "inputs", "constants"),
    [
        ("ConstantOfShape", "sizes", {"sizes": [HUGE]}),
        ("ConstantOfShape", "sizes", {"sizes": [10**5, 10**5]}),
        ("Expand", "one sizes", {"sizes": [10**5, 10**5]}),
        ("Expand", "x sizes", {"sizes": [10**10, 1, 4]}),
        ("Tile", "x sizes", {"sizes": [10**6, 10**6]}),
        ("Pad", "x sizes", {"sizes": [0, HUGE, 0, HUGE]}),
        ("Range", "zero count step", {"count": HUGE}),
        ("Reshape", "x sizes", {"sizes": [HUGE, -1]}),
        ("OneHot", "zero count values", {"count": HUGE}),
    ],
)
def test_declared_shapes_take_no_memory(op: str, inputs: str, constants: dict[str, object]) -> None:
    stored = {k: np.asarray(v, np.int64) for k, v in constants.items()}
    stored |= {"zero": np.array(0), "step": np.array(1), "one": np.ones(1, np.float32)}
    stored["values"] = np.array([0, 1])
    nodes = [
        node(op, inputs, "large", name="large"),
        node("Cast", "large", "f", to=1),
        node("ReduceSum", "f", "s", keepdims=0),
        node("Add", "x s", "y"),
    ]
    refused(model(nodes, ["N", 4], stored), r"entries work|cannot be|do not fit|could not be")


def test_doubling_shapes_take_no_memory() -> None:
    """A shape tensor that doubles at each node would be propagated entry by entry."""
    nodes = [node("Shape", "x", "s0")]
    nodes += [node("Concat", f"s{k} s{k}", f"s{k + 1}", axis=0) for k in range(40)]
    nodes += [node("ReduceSum", "s40", "s", keepdims=0), node("Cast", "s", "f", to=1)]
    nodes += [node("Add", "x f", "y")]
    refused(model(nodes, ["N", 4]), "entries work")


@pytest.mark.parametrize("op", ["Tile", "Expand"])
def test_large_constants_take_no_memory(op: str) -> None:
    """Of 2²⁴ entries, which a computed tensor may have: every tool copies what is folded."""
    nodes = [
        node(op, "one sizes", "large", name="large"),
        node("ReduceSum", "large", "s", keepdims=0),
        node("Add", "x s", "y"),
    ]
    made = model(nodes, ["N", 4], {"one": np.ones(1, np.float32), "sizes": np.array([2**24])})
    refused(made, "large .*could not be folded")


@pytest.mark.parametrize("op", ["ScatterND", "GatherND"])
def test_many_indices_take_no_time(op: str) -> None:
    """onnx's reference evaluator takes them one by one."""
    nodes = [
        node("ConstantOfShape", "count", "updates"),
        node("Cast", "updates", "whole", to=TensorProto.INT64),
        node("Unsqueeze", "whole last", "indices"),
        node(op, "three indices updates" if op == "ScatterND" else "updates indices", "z", name=op),
        node("ReduceSum", "z", "s", keepdims=0),
        node("Add", "x s", "y"),
    ]
    constants = {"count": np.array([2**21]), "last": np.array([1]), "three": weights(3)}
    refused(model(nodes, ["N", 4], constants), f"{op} .*no bound is known")


def test_many_large_constants_take_no_memory() -> None:
    """Each is bearable, all of them together are not."""
    sizes = {"sizes": np.array([2**12, 2**12])}
    nodes, total = [], "x"
    for k in range(30):
        nodes += [
            node("ConstantOfShape", "sizes", f"c{k}", value=numpy_helper.from_array(
                np.array([k], np.float32))),
            node("ReduceSum", f"c{k}", f"s{k}", keepdims=0),
            node("Add", f"{total} s{k}", f"t{k}"),
        ]  # fmt: skip
        total = f"t{k}"
    nodes.append(node("Identity", total))
    refused(model(nodes, ["N", 4], sizes), "entries; |could not be folded")


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2], "pads": [2**30, 2**30], "strides": [2**30]},
        {"kernel_shape": [2**20], "pads": [2**20 - 1, 2**20 - 1]},
        {"kernel_shape": [2], "dilations": [2**40]},
        {"kernel_shape": [2], "strides": [0]},
        {"kernel_shape": [0]},
        {"kernel_shape": [-2]},
        {"kernel_shape": [2, 2]},
        {"kernel_shape": [2], "pads": [1]},
        {"kernel_shape": [2], "pads": [-1, 0]},
    ],
)
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_impossible_windows(op: str, attributes: dict[str, object]) -> None:
    refused(model([node(op, "x", **attributes)], [1, 1, 8], opset=22, rank=3), r"\w")


@pytest.mark.parametrize(
    ("op", "attributes", "constants", "shape"),
    [
        ("Conv", {"pads": [15] * 4}, {"k": weights(1, 1, 31, 31)}, [1, 1, 800, 800]),
        ("Conv", {}, {"k": weights(1, 1, 3, 3)}, [1, 1, 4000, 4000]),
        ("ConvTranspose", {"pads": [15] * 4}, {"k": weights(1, 1, 31, 31)}, [1, 1, 800, 800]),
        ("MaxPool", {"kernel_shape": [31, 31]}, {}, [1, 300, 210, 210]),
        ("AveragePool", {"kernel_shape": [31, 31]}, {}, [1, 300, 210, 210]),
        ("LRN", {"size": 999}, {}, [1, 4000, 64, 64]),
    ],
)
def test_windows_that_take_all_memory(
    op: str, attributes: dict[str, object], constants: dict[str, np.ndarray], shape: list[int]
) -> None:
    """Data and result are bearable, all windows written out side by side are not."""
    nodes = [
        node(op, "x k" if constants else "x", "a", name="wide", **attributes),
        node("GlobalMaxPool", "a", "top"),
        node("Flatten", "top"),
    ]
    refused(model(nodes, shape, constants), "node 'wide' .*its windows have")


def test_products_that_take_all_day() -> None:
    nodes = [node("Conv", "x k", "a"), node("Conv", "a k", "b"), node("Conv", "b k", "c", name="c")]
    made = model([*nodes, node("Flatten", "c")], [1, 512, 128, 256], {"k": weights(512, 512, 1, 1)})
    refused(made, r"node 'c' .* multiplications, \d+ work")


def test_pools_that_are_settled_one_by_one() -> None:
    """Shapes were inferred anew for each of them."""
    window = {"kernel_shape": [2], "strides": [3], "pads": [0, 1], "ceil_mode": 1}
    pools = [node("MaxPool", "x", f"p{k}", **window) for k in range(500)]
    joined = node("Concat", " ".join(f"p{k}" for k in range(500)), "all", axis=1)
    nodes = [*pools, joined, node("Sin", "all", name="wave")]
    refused(model(nodes, [1, 1, 9], rank=3), "wave", UnsupportedModel)
    chain = []
    for k in range(40):
        chain.append(node("MaxPool", f"t{k}" if k else "x", f"p{k}", **window))
        chain.append(node("Concat", f"p{k} p{k} p{k}", f"t{k + 1}", axis=2))
    made = model([*chain, node("Identity", "t40")], [1, 1, 9], rank=3)
    refused(made, "32 pools with ceil_mode follow one another")


def test_cycles_duplicates_and_undefined_names() -> None:
    cycle = [node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")]
    refused(model(cycle, [1, 4]), "topologically sorted, however input 'b'")
    order = [node("Relu", "a", "y"), node("Relu", "x", "a")]
    refused(model(order, [1, 4]), "topologically sorted, however input 'a'")
    twice = [node("Relu", "x", "y"), node("Abs", "x", "y")]
    refused(model(twice, [1, 4]), "'y' has been used as output names multiple times")
    refused(model([node("Add", "x nothing", "y")], [1, 4]), "'nothing'")


def test_output_that_does_not_depend_on_the_input() -> None:
    made = model([node("Relu", "w", "y"), node("Relu", "x", "z")], [1, 4], {"w": weights(1, 3)})
    refused(made, "does not depend on input 'x'")
    same = model([node("Relu", "x", "y")], [1, 4], outputs=("x",))
    refused(same, "is the input itself")


def test_output_that_is_no_vector() -> None:
    refused(model([node("Relu", "x", "y")], [1, 2, 3], rank=3), r"shape \[1, 2, 3\] for one sample")


def function(name: str, *calls: str) -> onnx.FunctionProto:
    names = ["a", *(f"t{k}" for k in range(len(calls) - 1)), "b"]
    body = [
        helper.make_node(call, [names[k]], [names[k + 1]], domain="local" if call != "Relu" else "")
        for k, call in enumerate(calls)
    ]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, ["a"], ["b"], body, imports)


def test_functions_that_never_end() -> None:
    nodes = [helper.make_node("F0", ["x"], ["y"], domain="local")]
    endless = [function("F0", "F1", "Relu"), function("F1", "F0")]
    made = model(nodes, [1, 4], functions=endless, domains=["local"])
    refused(made, "calls itself|Cycle detected")
    # 10 calls each, 9 deep: a thousand million nodes from nine short functions
    nested = [function(f"F{k}", *[f"F{k + 1}"] * 10) for k in range(9)] + [function("F9", "Relu")]
    made = model(nodes, [1, 4], functions=nested, domains=["local"])
    refused(made, "nodes once functions are inlined")
    # what takes minutes is too much, too
    nested = [function(f"F{k}", *[f"F{k + 1}"] * 10) for k in range(5)] + [function("F5", "Relu")]
    made = model(nodes, [1, 4], functions=nested, domains=["local"])
    refused(made, "100000 nodes once functions are inlined")


@pytest.mark.parametrize("version", [2**31, 2**63 - 1, -(2**63)])
def test_operator_versions_beyond_32_bits(version: int) -> None:
    made = mlp()
    made.opset_import.append(helper.make_opsetid("com.microsoft", version))
    refused(made, f"version {version} of operator domain 'com.microsoft' cannot be")


def test_input_of_unknown_element_type() -> None:
    made = mlp()
    made.graph.input[0].type.tensor_type.elem_type = 93
    refused(made, "input 'x' is of unknown element type 93|invalid")


def test_old_opset_and_missing_opset() -> None:
    refused(mlp(opset=6), "ONNX opset 6; opset 7 or newer works")
    made = mlp()
    del made.opset_import[:]
    refused(made, "does not say which ONNX opset")


def test_free_axes_need_a_shape() -> None:
    made = mlp(["N", "features"])
    refused(made, "free axis 1; give one sample's shape with --input-shape")
    network = import_bytes(made.SerializeToString(), input_shape=(1, 4))
    assert network.input_shape == (1, 4)
    with pytest.raises(RefusedInput, match="contradicts"):
        import_bytes(mlp().SerializeToString(), input_shape=(1, 5))


def test_usage_errors(tmp_path: Path) -> None:
    path = save(mlp(), tmp_path)
    with pytest.raises(boundcert.errors.UsageError, match="use 'max' or 'min'"):
        boundcert.load_onnx(path, decision="least")
    with pytest.raises(boundcert.errors.UsageError, match="fit no channel axis"):
        boundcert.load_onnx(path, mean=[0.1, 0.2, 0.3], std=[1.0])
    with pytest.raises(boundcert.errors.UsageError, match="std positive"):
        boundcert.load_onnx(path, mean=[0.1], std=[0.0])
