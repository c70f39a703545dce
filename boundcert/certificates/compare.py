"""Recognising the same command."""

from __future__ import annotations

import dataclasses
from typing import Any

from boundcert.certificates.records import Run

#: A model or data file may move between two runs: what counts is the hash of its content.
_NAMES = {"model": "sha256", "data": "data_sha256"}


def same_run(a: Run, b: Run) -> list[str]:
    """How ``b`` differs from ``a``, one readable item a difference; empty for the same run."""
    found = []
    for field in dataclasses.fields(Run):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if one == other or field.name in _NAMES:
            continue
        name = next((n for n, digest in _NAMES.items() if digest == field.name), None)
        if name is None:
            found.append(f"{field.name}: {_text(one)}, not {_text(other)}")
        else:
            found.append(
                f"{name}: {getattr(a, name)} with sha256 {one[:8]}, "
                f"not {getattr(b, name)} with {other[:8]}"
            )
    return found


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)
