"""Hypothesis draws anew at every run, except where a run must repeat (CI=true)."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("fresh", deadline=None, print_blob=True)
settings.load_profile("repeatable" if os.environ.get("CI") else "fresh")
