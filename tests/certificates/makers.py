"""Records to test with."""

from __future__ import annotations

from typing import Any

from boundcert.certificates import Run, Sample


def run_record(**changes: Any) -> Run:
    """A run of ten samples."""
    values: dict[str, Any] = {
        "schema": 5,
        "version": "0.1.0",
        "command": "certify",
        "model": "m.onnx",
        "sha256": "a" * 64,
        "norm": "l2",
        "method": "walk",
        "budget": 10.0,
        "memory": None,
        "certified": True,
        "attack": ("deepfool",),
        "data": "d.npz",
        "data_sha256": "b" * 64,
        "samples": 10,
        "indices": None,
        "mean": None,
        "std": None,
        "range": None,
        "clip": None,
        "semantics": "deployed",
        "input": None,
        "output": None,
        "input_shape": None,
        "decision": "max",
        "threshold": None,
        "head": "",
        "alone": "",
        "device": "cpu",
        "layers": False,
        "correct_only": False,
        "certificates": False,
    }
    return Run(**{**values, **changes})


def sample_record(index: int, **changes: Any) -> Sample:
    """A sample that is classified correctly."""
    values: dict[str, Any] = {
        "index": index,
        "label": 1,
        "predicted": 1,
        "lower": 0.1,
        "rung": "walk",
        "upper": 0.3,
        "attack": "deepfool",
        "layers": (),
    }
    return Sample(**{**values, **changes})
