"""How CUDA kernels are called, whatever runs them: sources, launchers, operands, results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Array = Any  # of the launcher's array module

FOLDER = Path(__file__).with_name("cuda")
#: Threads a block at most, MAX_LANES of common.cuh.
MAX_LANES = 256
#: The blocks that share a row of a fold: enough to fill a device with few rows.
MAX_CHUNKS = 64
#: Modules: source file and the type ``REAL`` stands for in it.
MODULES = {
    "rows_float32": ("rows.cu", "float"),
    "rows_float64": ("rows.cu", "double"),
    "clip_float32": ("clip.cu", "float"),
    "clip_float64": ("clip.cu", "double"),
    "walk": ("walk.cu", "double"),
    "relax": ("relax.cu", "double"),
    "pencil_float32": ("pencil_rows.cu", "float"),
    "pencil_float64": ("pencil_rows.cu", "double"),
    "ball": ("ball.cu", "double"),
    "dual_float32": ("dual.cu", "float"),
    "dual_float64": ("dual.cu", "double"),
    "dual_maximum_float32": ("dual_maximum.cu", "float"),
    "dual_maximum_float64": ("dual_maximum.cu", "double"),
    "maximum_float32": ("maximum.cu", "float"),
    "maximum_float64": ("maximum.cu", "double"),
    "window": ("window.cu", "double"),
    "window_rows_float32": ("window_rows.cu", "float"),
    "window_rows_float64": ("window_rows.cu", "double"),
}


class Launcher(Protocol):
    """What runs kernels."""

    xp: Any  # its array module, NumPy or CuPy

    def launch(self, module: str, kernel: str, blocks: int, lanes: int, args: tuple) -> None:
        """Run a kernel of a module of :data:`MODULES`.

        ``args`` are contiguous arrays, ``np.int64`` and ``np.float64``; ``lanes`` a power of two.
        """


def source(module: str) -> str:
    """The source of a module in one piece, its headers inlined.

    Compile caches see the text of a program, not the files it includes.
    """
    name, real = MODULES[module]
    seen: set[str] = set()

    def inlined(file: str) -> str:
        if file in seen:
            return ""
        seen.add(file)
        text = (FOLDER / file).read_text(encoding="utf-8").replace("#pragma once\n", "")
        return re.sub(r'#include "(\w+\.cuh)"\n', lambda found: inlined(found[1]), text)

    return f"#define REAL {real}\n{inlined(name)}"


def _lanes(count: int) -> int:
    """Threads for ``count`` entries: a power of two, at least a warp."""
    return min(MAX_LANES, max(32, 1 << max(count - 1, 0).bit_length()))


class Tools:
    """What calls are made of, over one launcher; arrays are its own."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher, self._xp = launcher, launcher.xp

    def _doubles(self, *arrays: Array) -> list[Array]:
        return [self._xp.ascontiguousarray(x, dtype=np.float64) for x in arrays]

    def _integers(self, *arrays: Array) -> list[Array]:
        return [self._xp.ascontiguousarray(x, dtype=np.int64) for x in arrays]

    def _empty(self, *shape: int) -> Array:
        return self._xp.empty(shape, dtype=np.float64)

    def _run(self, module: str, kernel: str, blocks: int, count: int, *args: Any) -> None:
        """Launch with a block of threads for ``count`` entries each."""
        if blocks == 0:
            return
        if count >= 2**31 or blocks >= 2**31:
            raise ValueError(f"{kernel}: {blocks} blocks of {count} entries, 2**31 is too many")
        plain = tuple(
            np.int64(x) if isinstance(x, int) else np.float64(x) if isinstance(x, float) else x
            for x in args
        )
        self._launcher.launch(module, kernel, blocks, _lanes(count), plain)

    def _strided(self, module: str, kernel: str, total: int, *args: Any) -> None:
        """Launch a thread an entry."""
        self._run(module, kernel, -(-total // MAX_LANES), MAX_LANES, *args)
