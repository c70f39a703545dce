"""The CUDA kernels compiled for the CPU: what they compute can be tested without a GPU.

``cuda/host_shim.h`` stands in for CUDA, so this runs the very sources that :mod:`gpu` gives to
NVRTC. It is slow by design and no backend.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .cuda_calls import FOLDER, MAX_LANES, Calls, source

#: No -march and no contraction: a multiplication and an addition are rounded one after the other.
FLAGS: tuple[str, ...] = (
    "-std=c++17",
    "-O1",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-x",
    "c++",
)


class NoCompiler(RuntimeError):
    """There is no C++ compiler, or it cannot compile the kernels."""


def compiler() -> str | None:
    """Path of the C++ compiler: ``$CXX``, g++, c++ or clang++, the first that is there."""
    names = (os.environ.get("CXX", ""), "g++", "c++", "clang++")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def build(module: str, folder: Path) -> Path:
    """The shared library of a module of :data:`cuda_calls.MODULES`.

    It is made in ``folder`` unless it is there already, named by its source.

    Raises
    ------
    NoCompiler
    """
    found = compiler()
    if found is None:
        raise NoCompiler("the CUDA kernels need a C++ compiler (g++ or clang++) to run on the CPU")
    shim = (FOLDER / "host_shim.h").read_text(encoding="utf-8").replace("#pragma once\n", "")
    text = f"{shim}\n{source(module)}"
    key = hashlib.sha256("\n".join((text, found, *FLAGS)).encode()).hexdigest()[:16]
    library = folder / f"{module}-{key}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        # renamed when complete, so that another process never loads half a library
        partial = Path(work) / library.name
        command = [found, *FLAGS, "-", "-o", str(partial)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoCompiler(f"{found} cannot compile the kernels of {module}:\n{done.stderr}")
        partial.replace(library)
    return library


class _Host:
    """Runs kernels on NumPy arrays, at most ``lanes`` threads a block."""

    def __init__(self, folder: Path, lanes: int) -> None:
        self.xp: Any = np
        self.folder, self.lanes = folder, lanes
        self.libraries: dict[str, ctypes.CDLL] = {}

    def launch(self, module: str, kernel: str, blocks: int, lanes: int, args: tuple) -> None:
        if module not in self.libraries:
            self.libraries[module] = ctypes.CDLL(str(build(module, self.folder)))
        cells = [_cell(x) for x in args]
        pointers = (ctypes.c_void_p * len(cells))(*(ctypes.addressof(cell) for cell in cells))
        run = getattr(self.libraries[module], f"launch_{kernel}")
        run.argtypes = (ctypes.c_longlong, ctypes.c_longlong, ctypes.c_void_p)
        run.restype = None
        run(blocks, min(lanes, self.lanes), pointers)


def _cell(x: Any) -> Any:
    """One kernel argument in memory."""
    if isinstance(x, np.ndarray):
        return ctypes.c_void_p(x.ctypes.data)
    return ctypes.c_longlong(int(x)) if isinstance(x, np.int64) else ctypes.c_double(float(x))


def load(folder: Path | str, lanes: int = 1) -> Calls:
    """All kernels, compiled on first use, as functions of NumPy arrays.

    Parameters
    ----------
    folder : where libraries are kept; the caller's choice, as is removing it.
    lanes : threads a block at most, a power of two up to 256. One runs a block as a plain
        function; more run it as a device does, barriers and shared memory included.

    Raises
    ------
    NoCompiler
        No compiler, or no POSIX threads (Windows).
    """
    if sys.platform == "win32":
        raise NoCompiler("the CUDA kernels run on the CPU on Linux and macOS only")
    if compiler() is None:
        raise NoCompiler("the CUDA kernels need a C++ compiler (g++ or clang++) to run on the CPU")
    if lanes not in {1 << k for k in range(MAX_LANES.bit_length())}:
        raise ValueError(f"lanes is {lanes}, not a power of two up to {MAX_LANES}")
    return Calls(_Host(Path(folder), lanes))
