"""Compiled per-sample kernels: one name, one contract, one twin per backend.

``reference`` holds the contracts, written in plain NumPy; ``cpu`` the Numba twins (parallel);
``gpu`` the CUDA ones, through CuPy. Nothing here knows of layers or networks; arrays come in,
arrays go out. Backends are imported by :func:`backend`, so that importing this package costs
nothing.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace

#: The public kernels; every backend module defines each of these.
NAMES = (
    "activation_floor",
    "activation_gain",
    "activation_lines",
    "activation_pencil",
    "activation_range",
    "activation_slopes",
    "clipped_norm",
    "deviation_lines",
    "dual_gradient",
    "dual_maximum_gradient",
    "dual_norm",
    "fold",
    "lrn_gain",
    "margin_distances",
    "pairwise_norms",
    "pencil_gradient",
    "pool_multiplicity",
    "pull_ball",
    "pull_dual",
    "pull_dual_maximum",
    "pull_lines",
    "pull_maximum",
    "pull_means",
    "pull_pencil",
    "pull_windows",
    "scale",
    "shift_lines",
    "slope_remainder",
    "taylor_recursion",
    "weigh",
    "window_lines",
)

#: Backend → the modules that define its kernels.
_MODULES = {
    "reference": (
        "ball_reference",
        "clip_reference",
        "dual_maximum_reference",
        "dual_reference",
        "maximum_reference",
        "pencil_reference",
        "reference",
        "relax_reference",
        "rows_reference",
        "window_reference",
        "window_rows_reference",
    ),
    "cpu": (
        "ball_cpu",
        "clip_cpu",
        "cpu",
        "dual_cpu",
        "dual_maximum_cpu",
        "maximum_cpu",
        "pencil_cpu",
        "relax_cpu",
        "rows_cpu",
        "window_cpu",
        "window_rows_cpu",
    ),
    "gpu": ("gpu",),
}


@functools.cache
def backend(name: str = "cpu") -> SimpleNamespace:
    """The kernels of one backend, by name.

    Parameters
    ----------
    name : str
        ``"reference"`` (NumPy), ``"cpu"`` (Numba) or ``"gpu"`` (CUDA, through CuPy).

    Raises
    ------
    KeyError
        No such backend.
    """
    if name == "cpu":
        _fresh_cache()
    modules = [importlib.import_module(f"boundcert.kernels.{part}") for part in _MODULES[name]]
    return SimpleNamespace(
        **{kernel: getattr(m, kernel) for m in modules for kernel in NAMES if hasattr(m, kernel)}
    )


def _fresh_cache() -> None:
    """Keep Numba's compiled kernels in a folder of their own for every state of the sources.

    Numba looks only at the file of a compiled function, not at those of the functions it calls:
    after a change there it would go on running the old bounds. Where the user says where compiled
    code goes (``NUMBA_CACHE_DIR``), it goes into a folder there.
    """
    import numba

    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    folder = os.environ.get("NUMBA_CACHE_DIR") or Path(__file__).parent / "__pycache__"
    wanted = Path(folder) / f"kernels-{digest.hexdigest()[:16]}"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # nowhere to write beside the package: Numba falls back to the user's own folder
    numba.config.CACHE_DIR = str(wanted)  # type: ignore[attr-defined]


def available() -> tuple[str, ...]:
    """The backends that can run on this machine."""
    return tuple(name for name in _MODULES if name != "gpu" or _device())


@functools.cache
def _device() -> bool:
    """Is there CuPy and a device it can use?"""
    if importlib.util.find_spec("cupy") is None:
        return False
    try:
        return bool(importlib.import_module("cupy").cuda.is_available())
    except Exception:  # a CuPy that does not fit the driver fails in many ways
        return False
