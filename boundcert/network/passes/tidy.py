"""One form for what ONNX can write in several ways: functions inlined, weights no inputs."""

from __future__ import annotations

import onnx
import onnx.inliner

from boundcert.errors import RefusedInput
from boundcert.network.passes.sanity import check_functions
from boundcert.network.read import first_line

#: From this IR version on, an initialiser need not be listed as an input.
FREE_WEIGHTS = 4


def tidy(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """A copy without local functions, without weights among its inputs, without hints.

    Requires a checked model. Ensures: every remaining input is one; declared shapes of inner
    tensors and outputs are gone (they are inferred, and files have been seen to lie).

    Raises
    ------
    RefusedInput
        Functions that cannot be inlined.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if result.functions:
        check_functions(result, where)
        try:
            result = onnx.inliner.inline_local_functions(result)
        except Exception as error:
            raise RefusedInput(
                f"{where}: local functions cannot be inlined: {first_line(error)}"
            ) from error
    graph = result.graph
    weights = {t.name for t in graph.initializer}
    inputs = [v for v in graph.input if v.name not in weights]
    kept = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in inputs]
    del graph.input[:]
    graph.input.extend(kept)
    result.ir_version = max(result.ir_version, FREE_WEIGHTS)
    del graph.value_info[:]
    del graph.quantization_annotation[:]
    del result.training_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    return result
