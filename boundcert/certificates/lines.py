"""Records to JSON lines and back, checked field by field against the dataclasses.

``repr`` of a float64 reads back as the same float64, so no bound is rounded on the way.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from boundcert.certificates.records import LayerCost, Run, Sample, Summary
from boundcert.errors import RefusedInput

Record = Run | Sample | Summary

KINDS: dict[str, type] = {"run": Run, "sample": Sample, "summary": Summary}


def to_line(record: Record) -> str:
    """One line of JSON, newline included; no NaN or infinity ever gets in."""
    kind = next(name for name, cls in KINDS.items() if isinstance(record, cls))
    return json.dumps({"type": kind, **_plain(record)}, allow_nan=False) + "\n"


def _plain(record: Any) -> dict[str, Any]:
    return {f.name: _encode(getattr(record, f.name), f.type) for f in dataclasses.fields(record)}


def _encode(value: Any, kind: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if "None" in kind else 0.0
    if isinstance(value, tuple):
        return [_plain(v) if dataclasses.is_dataclass(v) else v for v in value]
    return value


def from_line(text: str | bytes, where: str) -> Record:
    """The record on a line; ``where`` (file and line number) begins every refusal.

    Raises
    ------
    RefusedInput
        The line is not JSON, of no known kind, or a field is missing or of the wrong type.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedInput(f"{where}: is not a line of JSON ({error})") from None
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise RefusedInput(
            f"{where}: is no boundcert record; its type is {kind!r}, not one of {', '.join(KINDS)}"
        )
    return _build(KINDS[kind], value, where)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _build(cls: type, value: Mapping[str, Any], where: str) -> Any:
    made = {}
    for field in dataclasses.fields(cls):
        if field.name not in value:
            raise RefusedInput(f"{where}: the field {field.name!r} is missing")
        try:
            made[field.name] = _READERS[str(field.type)](value[field.name], where)
        except TypeError:
            raise RefusedInput(
                f"{where}: {field.name!r} is {value[field.name]!r}; needs {field.type}"
            ) from None
    return cls(**made)


Reader = Callable[[Any, str], Any]


def _exactly(kind: type) -> Reader:
    def reader(value: Any, where: str) -> Any:
        if type(value) is not kind:  # a bool is an int to isinstance
            raise TypeError
        return value

    return reader


def _float(value: Any, where: str) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _optional(reader: Reader) -> Reader:
    return lambda value, where: None if value is None else reader(value, where)


def _many(reader: Reader) -> Reader:
    def many(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise TypeError
        return tuple(reader(item, where) for item in value)

    return many


def _layer(value: Any, where: str) -> LayerCost:
    if not isinstance(value, dict):
        raise TypeError
    return _build(LayerCost, value, f"{where}, layers")


#: How each annotation of a record's field is read.
_READERS: dict[str, Reader] = {
    "int": _exactly(int),
    "str": _exactly(str),
    "bool": _exactly(bool),
    "float": _float,
    "int | None": _optional(_exactly(int)),
    "str | None": _optional(_exactly(str)),
    "float | None": _optional(_float),
    "tuple[str, ...]": _many(_exactly(str)),
    "tuple[int, ...] | None": _optional(_many(_exactly(int))),
    "tuple[float, ...] | None": _optional(_many(_float)),
    "tuple[LayerCost, ...]": _many(_layer),
}
