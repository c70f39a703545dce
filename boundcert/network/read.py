"""From a file to a checked ONNX model, or one clear refusal."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from boundcert.errors import RefusedInput

#: Protobuf itself stops at 2 GiB.
LARGEST_FILE = 2**31 - 1
#: Versions of operator sets are 32-bit numbers to the tools.
LARGEST_VERSION = 2**31 - 1
#: Names of the domain of the standard operators.
STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class Origin:
    """What a model was read from.

    Attributes
    ----------
    data : the bytes of its file.
    beside : the file's path where weights lie beside it, else None.
    """

    data: bytes
    beside: Path | None = None

    @property
    def sha256(self) -> str:
        """Hash of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


def read_model(path: Path) -> tuple[onnx.ModelProto, Origin]:
    """The model in a file, its external data loaded, and what it was read from.

    Raises
    ------
    RefusedInput
        Missing, empty, truncated, not ONNX, or failing the ONNX checker.
    """
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file; give the path of an ONNX model")
    size = path.stat().st_size
    if size == 0:
        raise RefusedInput(f"{path}: the file is empty")
    if size > LARGEST_FILE:
        raise RefusedInput(
            f"{path}: {size} bytes; ONNX files hold at most 2 GiB (use external data)"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RefusedInput(f"{path}: cannot be read: {error.strerror}") from error
    model = parse_model(data, str(path))
    outside = _load_external(model, path, LARGEST_FILE - size)
    check_model(model, str(path))
    return model, Origin(data, path if outside else None)


def _load_external(model: onnx.ModelProto, path: Path, room: int) -> bool:
    """Read weights that lie in other files, ``room`` bytes at most; whether there are any."""
    from boundcert.network.passes.tensors import check_external

    if not check_external(model, str(path), room):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unknown keys beside a location
            onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:
        raise RefusedInput(
            f"{path}: external weights cannot be loaded: {first_line(error)}; "
            "keep the data file beside the model, under the name it was exported with"
        ) from error
    return True


def parse_model(data: bytes, where: str) -> onnx.ModelProto:
    """Bytes as a model with a graph.

    Raises
    ------
    RefusedInput
        The bytes are no ONNX model.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:
        raise RefusedInput(
            f"{where}: not an ONNX model, or a damaged one ({first_line(error)}); "
            "export the network to ONNX first"
        ) from error
    if not model.graph.node:
        raise RefusedInput(f"{where}: not an ONNX model, or one without any node")
    if not model.opset_import:
        raise RefusedInput(f"{where}: the model does not say which ONNX opset it uses")
    if opset_of(model) < 7:
        raise RefusedInput(
            f"{where}: ONNX opset {opset_of(model)}; opset 7 or newer works "
            "(onnx.version_converter upgrades a model)"
        )
    for entry in model.opset_import:
        if abs(entry.version) > LARGEST_VERSION:
            raise RefusedInput(
                f"{where}: version {entry.version} of operator domain {entry.domain!r} cannot be; "
                "the file is damaged"
            )
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the standard operators, 0 where the model does not import them."""
    versions = [e.version for e in model.opset_import if e.domain in STANDARD]
    return max(versions, default=0)


def check_model(model: onnx.ModelProto, where: str) -> None:
    """Run the ONNX checker and look at every weight.

    Raises
    ------
    RefusedInput
        With the checker's first line, or the name of the first damaged or non-finite tensor.
    """
    from boundcert.network.passes.sanity import check_operands, check_sizes

    check_sizes(model, where)
    check_operands(model, where)
    for output in model.graph.output:
        # the checker insists on a shape; some exporters leave it out, and it is inferred anyway
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        reason = " ".join(str(error).split("==> Context")[0].split())
        raise RefusedInput(f"{where}: the model is invalid: {reason[:300]}") from error
    for tensor in model.graph.initializer:
        try:
            values = numpy_helper.to_array(tensor)
        except Exception as error:
            raise RefusedInput(
                f"{where}: weight {tensor.name!r} is damaged: {first_line(error)}"
            ) from error
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise RefusedInput(
                f"{where}: weight {tensor.name!r} of shape {values.shape} holds NaN; "
                "export the model again from sound weights"
            )


def first_line(error: BaseException) -> str:
    """The first non-empty line of an error's text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
