"""Reading the CIFAR pickles without running anything that a pickle asks for.

Two locks. First the opcodes are listed without executing them, and only those that build plain
containers, strings, small numbers and arrays may occur. Then the pickle is loaded with inert
stand-ins for numpy's classes, so that not even numpy sees a hostile shape or type.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from boundcert.errors import RefusedInput

PLAIN = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT "
    "BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BINUNICODE SHORT_BINUNICODE "
    "EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "EMPTY_DICT DICT SETITEM SETITEMS BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET "
    "GLOBAL STACK_GLOBAL REDUCE BUILD"
)
ALLOWED_OPCODES = frozenset(PLAIN.split())
# CPython's unpickler reserves memory up to the highest memo index, so one forged index is a bomb.
MAX_MEMO = 10**6


class PickledArray:
    """Stand-in for ``numpy.ndarray``: keeps the pickled state and interprets none of it."""

    def __init__(self, *_: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def to_uint8(self) -> np.ndarray:
        """The array, if it is C-ordered uint8 and as large as its shape says; else ValueError."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise ValueError("an array without its five state fields")
        _, shape, dtype, fortran, data = self.state
        if not (isinstance(dtype, PickledDtype) and dtype.code in ("u1", b"u1")) or fortran:
            raise ValueError("an array that is not C-ordered uint8")
        if not isinstance(data, bytes) or not isinstance(shape, tuple):
            raise ValueError("an array without bytes or shape")
        return np.frombuffer(data, dtype=np.uint8).reshape(shape)


class PickledDtype:
    """Stand-in for ``numpy.dtype``: remembers the type code."""

    def __init__(self, code: object = None, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and flags, which mean nothing for uint8."""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Stand-in for ``_codecs.encode``, which is how Python 3 writes bytes at protocol 2."""
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): PickledArray,
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledDtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def load_plain(data: bytes, path: Path) -> object:
    """The containers, strings and numbers pickled in ``data``; arrays as :class:`PickledArray`.

    Raises
    ------
    RefusedInput
        ``data`` is damaged, or asks for anything beyond plain containers and numpy arrays.
    """
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name not in ALLOWED_OPCODES:
                raise pickle.UnpicklingError(f"it uses the opcode {opcode.name}")
            if opcode.name == "LONG_BINPUT" and int(argument or 0) > MAX_MEMO:
                raise pickle.UnpicklingError(f"it uses the memo index {argument}")
        return _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:
        # A damaged pickle may raise nearly anything (IndexError, KeyError, MemoryError, ...).
        raise RefusedInput(
            f"{path}: is not the pickle of a CIFAR batch ({type(error).__name__}: {error}); "
            "nothing in it was run; fetch the file again"
        ) from error
