"""The certificate file: one claim about one sample, and the choices that its proof needs."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
import math
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boundcert.checker.maps import Array
from boundcert.checker.nodes import NotUnderstood

VERSION = 1
#: A file may not be larger than so many bytes, nor its slopes or levels be more numbers.
MOST_BYTES, MOST_SLOPES, MOST_LEVELS = 64 * 2**20, 32 * 2**20, 64 * 2**20
NORMS = {"l1": 1.0, "l2": 2.0, "linf": math.inf}
SEMANTICS = ("deployed", "exact")
DECISIONS = (None, "max", "min")
#: Slopes below and above, or None for the usual ones.
Slopes = tuple[Array, Array] | None


@dataclass(frozen=True)
class Reading:
    """How the model is read: what a user may choose about it.

    Attributes
    ----------
    shape : of one sample, as the model takes it.
    mean, std : of the normalisation in front of the model: one number, or one a channel.
    input, output : names, of a model with several.
    decision : None or ``max``, ``min``: which logit wins; a single one decides by its sign.
    """

    shape: tuple[int, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input: str | None = None
    output: str | None = None
    decision: str | None = None


@dataclass(frozen=True)
class Certificate:
    """Every x′ with ‖x′ − x‖ ≤ radius (and in ``clip``) is of class ``label``, as x is.

    Attributes
    ----------
    index : of the sample in the data it was taken from.
    model, sample : SHA-256 of the model's file, and of x (:func:`sample_hash`).
    norm : ``l1``, ``l2`` or ``linf``.
    semantics : ``deployed`` or ``exact``: which network it is about.
    spreads : whether bounds on 2-norms join the boxes.
    means : whether maxima lie between means of their entries, where there are no ``spreads``.
    slopes : of lines, for each time that the proof asks for some.
    levels : of multipliers, in the order that the proof asks for them.
    """

    index: int
    model: str
    sample: str
    label: int
    norm: str
    radius: float
    clip: tuple[float, float] | None
    semantics: str
    reading: Reading
    spreads: bool = False
    means: bool = False
    slopes: tuple[Slopes, ...] = ()
    levels: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, dtype=np.int8))


def sample_hash(x: Array) -> str:
    """Of a sample's shape and its float64 numbers."""
    x = np.ascontiguousarray(x, dtype="<f8")
    return hashlib.sha256(repr(x.shape).encode() + x.tobytes()).hexdigest()


def encode(certificate: Certificate) -> bytes:
    """The file's bytes: JSON, slopes as base64 of deflated float32, levels of int8."""
    value = dataclasses.asdict(certificate)
    value["slopes"] = [None if s is None else _packed(*s) for s in certificate.slopes]
    value["levels"] = _deflated(certificate.levels.astype("<i1").tobytes())
    return (
        json.dumps({"boundcert certificate": VERSION, **value}, allow_nan=False) + "\n"
    ).encode()


def _packed(below: Array, above: Array) -> str:
    return _deflated(np.stack((below, above)).astype("<f4").tobytes())


def _deflated(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()


def decode(data: bytes) -> Certificate:
    """The certificate in a file.

    Raises
    ------
    NotUnderstood
        It is not exactly what :func:`encode` writes.
    """
    if len(data) > MOST_BYTES:
        raise NotUnderstood(f"{len(data)} bytes; a certificate has at most {MOST_BYTES}")
    try:
        value = json.loads(data, parse_constant=_refused, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(f"not a certificate's JSON ({error})") from None
    if not isinstance(value, dict) or value.pop("boundcert certificate", None) != VERSION:
        raise NotUnderstood(f"not a boundcert certificate of version {VERSION}")
    reading = _fields(Reading, value.get("reading"))
    found = _fields(Certificate, {**value, "reading": reading})
    _check(found)
    room, slopes = MOST_SLOPES, []
    for packed in found.slopes:
        slopes.append(None if packed is None else _unpacked(packed, room))
        room -= 0 if slopes[-1] is None else 2 * len(slopes[-1][0])
    levels = np.frombuffer(_inflated(found.levels, MOST_LEVELS), dtype="<i1")
    return dataclasses.replace(found, slopes=tuple(slopes), levels=levels)


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name appears twice")
    return dict(pairs)


def _fields(kind: Any, value: Any) -> Any:
    """A dataclass from a dictionary of exactly its fields, lists made tuples."""
    names = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(value, dict) or set(value) != names:
        raise NotUnderstood(f"the fields of {kind.__name__.lower()} are {', '.join(sorted(names))}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items()})


def _check(found: Certificate) -> None:
    """Types and ranges of every field."""
    reading = found.reading
    good = {
        "index": _whole(found.index),
        "model": _name(found.model),
        "sample": _name(found.sample),
        "label": _whole(found.label),
        "norm": _name(found.norm) and found.norm in NORMS,
        "radius": _number(found.radius) and found.radius > 0,
        "clip": found.clip is None
        or (_numbers(found.clip) and len(found.clip) == 2 and found.clip[0] < found.clip[1]),
        "semantics": found.semantics in SEMANTICS,
        "shape": isinstance(reading.shape, tuple)
        and all(_whole(n) and n > 0 for n in reading.shape),
        "mean": reading.mean is None or _numbers(reading.mean),
        "std": reading.std is None or (_numbers(reading.std) and min(reading.std) > 0),
        "input": reading.input is None or _name(reading.input),
        "output": reading.output is None or _name(reading.output),
        "decision": reading.decision in DECISIONS,
        "spreads": type(found.spreads) is bool,
        "means": type(found.means) is bool,
        "levels": _name(found.levels),
        "slopes": isinstance(found.slopes, tuple)
        and all(s is None or isinstance(s, str) for s in found.slopes),
    }
    wrong = [name for name, fine in good.items() if not fine]
    if wrong:
        raise NotUnderstood(f"the value of {', '.join(wrong)} is none that it can have")


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _name(value: Any) -> bool:
    return type(value) is str


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300


def _numbers(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) > 0 and all(map(_number, value))


def _unpacked(text: str, room: int) -> tuple[Array, Array]:
    raw = _inflated(text, 4 * room)
    if len(raw) % 8:
        raise NotUnderstood("slopes are damaged")
    both: NDArray[np.float32] = np.frombuffer(raw, dtype="<f4").reshape(2, -1)
    if not np.isfinite(both).all():
        raise NotUnderstood("a slope is no finite number")
    return both[0].astype(np.float64), both[1].astype(np.float64)


def _inflated(text: Any, most: int) -> bytes:
    """What :func:`_deflated` packed, if it is no more than so many bytes."""
    try:
        stream = zlib.decompressobj()
        raw = stream.decompress(base64.b64decode(text, validate=True), most + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise NotUnderstood(f"choices are damaged ({error})") from None
    if len(raw) > most or not stream.eof or stream.unused_data:
        raise NotUnderstood("choices are damaged, or more than a certificate may hold")
    return raw
