"""How many examples a soundness test draws: more in a long run than in CI.

``BOUNDCERT_EXAMPLES=40 pytest tests/bounds/test_relax.py`` draws forty times as many.
"""

from __future__ import annotations

import os


def examples(usual: int) -> int:
    """The usual number, times BOUNDCERT_EXAMPLES."""
    return usual * int(os.environ.get("BOUNDCERT_EXAMPLES", "1"))
