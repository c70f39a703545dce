"""Third-party networks: the checker proves what was found, in full."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import boundcert
from boundcert.checker import Certificate, Checker, Reading, sample_hash
from boundcert.proofs import Chooser

MODELS = Path(__file__).parents[3] / "shared" / "models"
CASES = [
    ("mnist-net_256x2.onnx", "l2"),
    ("mnist-net_256x2.onnx", "linf"),
    ("ffnnSIGMOID__Point_6x200.onnx", "linf"),
    ("Convnet_maxpool.onnx", "linf"),
]


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_what_was_found_is_proved(name: str, norm: str) -> None:
    path = MODELS / name
    if not path.exists():
        pytest.skip(f"{path} is not here (third-party models stay out of the repository)")
    network, checker = boundcert.load_onnx(path, check=False), Checker(path.read_bytes())
    x = np.random.default_rng(0).random((1, *network.input_shape))
    found = boundcert.certify(network, x, norm=norm, method="relax")
    label, radius = int(found.predicted[0]), 0.999 * float(found.lower[0])
    assert radius > 1e-3
    about = norm, radius, None, "deployed", Reading(x[0].shape)
    claim = Certificate(0, checker.digest, sample_hash(x[0]), label, *about)
    assert checker.prove(claim, x[0], Chooser()).holds
