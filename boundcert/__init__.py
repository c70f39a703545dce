"""boundcert: how far can this input be pushed before this network changes its mind?

>>> import boundcert
>>> network = boundcert.load_onnx("model.onnx")          # doctest: +SKIP
>>> boundcert.certify(network, x, norm=2).lower           # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boundcert.api import Bracket, Radii, attack, brackets, certify
    from boundcert.data import DataSet, load_data
    from boundcert.network.graph import Network
    from boundcert.network.load import from_torch, load_onnx
    from boundcert.norms import Norm

__version__ = "0.1.0"

#: Public names and where they live; resolved on first use so that importing costs nothing.
_HOMES = {
    "Bracket": "boundcert.bracketer",
    "DataSet": "boundcert.data",
    "Network": "boundcert.network.graph",
    "Norm": "boundcert.norms",
    "Radii": "boundcert.api",
    "attack": "boundcert.api",
    "brackets": "boundcert.api",
    "certify": "boundcert.api",
    "from_torch": "boundcert.network.load",
    "load_data": "boundcert.data",
    "load_onnx": "boundcert.network.load",
}

__all__ = [
    "Bracket",
    "DataSet",
    "Network",
    "Norm",
    "Radii",
    "__version__",
    "attack",
    "brackets",
    "certify",
    "from_torch",
    "load_data",
    "load_onnx",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'boundcert' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
