"""Compiled per-sample kernels: one name, one contract, one twin per backend.

``reference`` holds the contracts, written in plain NumPy; ``cpu`` the Numba twins (parallel,
float64). A CuPy twin of the same names belongs in ``gpu``. Nothing here knows of layers or
networks; arrays come in, arrays go out. Backends are imported by :func:`backend`, so that
importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from types import ModuleType

#: The public kernels; every backend module defines each of these.
NAMES = (
    "activation_gain",
    "activation_slopes",
    "lrn_gain",
    "margin_distances",
    "pairwise_norms",
    "pool_multiplicity",
    "slope_remainder",
    "taylor_recursion",
)

_MODULES = {"reference": "boundcert.kernels.reference", "cpu": "boundcert.kernels.cpu"}


def backend(name: str = "cpu") -> ModuleType:
    """The module holding the kernels of one backend.

    Parameters
    ----------
    name : str
        ``"reference"`` (NumPy) or ``"cpu"`` (Numba).

    Raises
    ------
    KeyError
        No such backend.
    """
    return importlib.import_module(_MODULES[name])


def available() -> tuple[str, ...]:
    """The backends that can run on this machine."""
    return tuple(_MODULES)
