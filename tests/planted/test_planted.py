"""Every planted bug is found, and nothing is found where none is planted."""

from __future__ import annotations

import pytest
from planted.bugs import BUGS
from planted.hunts import HUNTS
from planted.plant import Bug

#: Seeds of a hunt: whoever plants a bug that takes more has found a hole in the hunts.
SEEDS = 24


@pytest.mark.parametrize("name", list(HUNTS))
def test_sound_code_is_left_alone(name: str) -> None:
    for seed in range(SEEDS):
        HUNTS[name](seed)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_bugs_are_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.plant(monkeypatch)
    with pytest.raises(AssertionError):
        for seed in range(SEEDS):
            for hunt in bug.hunts:
                HUNTS[hunt](seed)
