"""Pick the one input and the one output that make the classifier."""

from __future__ import annotations

import onnx

from boundcert.errors import RefusedInput

#: ONNX element types that a perturbation can live in.
FLOAT_TYPES = {1: "float32", 10: "float16", 11: "float64"}


def dims(value: onnx.ValueInfoProto) -> list[int | str | None]:
    """Declared dimensions: numbers, names of free ones, None for unknown ones."""
    shape = value.type.tensor_type.shape
    return [d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in shape.dim]


def choose_ends(
    model: onnx.ModelProto, where: str, input_name: str | None, output_name: str | None
) -> tuple[onnx.ValueInfoProto, str]:
    """The input's declaration and the output's name.

    Requires a checked model. Raises RefusedInput where a choice is needed and not given, names
    nothing that exists, or lands on an input that is not a floating-point tensor.
    """
    weights = {t.name for t in model.graph.initializer}
    inputs = {v.name: v for v in model.graph.input if v.name not in weights}
    outputs = [v.name for v in model.graph.output]
    if not inputs or not outputs:
        raise RefusedInput(f"{where}: the model has no input or no output")
    chosen_in = _pick(where, "input", list(inputs), input_name)
    chosen_out = _pick(where, "output", outputs, output_name)
    if len(inputs) > 1:
        raise RefusedInput(
            f"{where}: the model computes from {len(inputs)} inputs ({', '.join(inputs)}); "
            "a radius needs exactly one: make the others constants (initialisers)"
        )
    if chosen_out == chosen_in:
        raise RefusedInput(f"{where}: output {chosen_out!r} is the input itself; nothing to bound")
    value = inputs[chosen_in]
    kind = value.type.tensor_type.elem_type
    if not value.type.HasField("tensor_type") or kind not in FLOAT_TYPES:
        names = {v: k for k, v in onnx.TensorProto.DataType.items()}
        name = names.get(kind, f"of unknown element type {kind}") if kind else "no tensor"
        raise RefusedInput(
            f"{where}: input {chosen_in!r} is {name}; perturbations need a floating-point input "
            "(float32, float16 or float64)"
        )
    if not value.type.tensor_type.HasField("shape"):
        raise RefusedInput(f"{where}: input {chosen_in!r} declares no shape; export it with one")
    return value, chosen_out


def _pick(where: str, kind: str, names: list[str], wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in names:
            raise RefusedInput(
                f"{where}: the model has no {kind} {wanted!r}; it has {', '.join(names)}"
            )
        return wanted
    if len(names) > 1:
        raise RefusedInput(
            f"{where}: the model has {len(names)} {kind}s ({', '.join(names)}); "
            f"choose one with --{kind} NAME"
        )
    return names[0]
