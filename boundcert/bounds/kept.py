"""What rows chose in the last frame, for the next one's ascent to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from boundcert.layers.relaxation import Choice

#: Precisions that choices are kept in: they are where an ascent begins, no more.
MIX, LEVEL = torch.float16, torch.float32
#: Rows of one sample that bound one node are fewer.
MOST = 2**40


class Begun:
    """Choices of the last frame for some rows of this one.

    Attributes
    ----------
    found : (R,) which of the rows chose then.
    """

    def __init__(self, found: torch.Tensor, choices: Mapping[int, Choice]) -> None:
        self.found, self.choices = found, choices

    def at(self, node: int, fresh: Choice) -> Choice:
        """``fresh`` (R rows) with what was chosen at a node before."""
        before, here = self.choices.get(node), self.found
        if before is None or not _alike(before.mix, fresh.mix):
            return fresh
        mix, count = fresh.mix, len(here)
        if mix is not None and before.mix is not None:
            mix = mix.clone()
            mix[here] = before.mix.to(mix.dtype)
        level = torch.zeros(count, dtype=torch.float64) if fresh.level is None else fresh.level
        dual = torch.zeros(count, dtype=torch.bool) if fresh.dual is None else fresh.dual
        level, dual = level.clone(), dual.clone()
        dual[here] = False if before.dual is None else before.dual
        level[here] = 0.0 if before.level is None else before.level.to(level.dtype)
        return Choice(mix, level, dual) if bool(dual.any()) else Choice(mix)


class Kept:
    """Choices of the rows of two frames: those of the last, and of the one that is being built.

    Parameters
    ----------
    room : bytes for both; rows that find no room begin afresh.
    """

    def __init__(self, room: int) -> None:
        self.room, self.used = room // 2, 0
        self.samples = torch.zeros(0, dtype=torch.int64)
        self.last: dict[int, tuple[torch.Tensor, dict[int, Choice]]] = {}
        self.parts: dict[int, list[tuple[torch.Tensor, dict[int, Choice]]]] = {}

    def turn(self, samples: torch.Tensor) -> None:
        """A new frame of ``samples`` (B,) begins."""
        self.samples, self.last = samples, {}
        for node in list(self.parts):
            self.last[node] = _joined(self.parts.pop(node))
        self.used = 0

    def keep(
        self, node: int, owner: torch.Tensor, entry: torch.Tensor, choices: Mapping[int, Choice]
    ) -> None:
        """What rows that bound a node chose, by the node where they chose it.

        Parameters
        ----------
        owner, entry : (R,) the place of a row's sample in the frame; tells its rows apart.
        """
        small = {k: _small(choice) for k, choice in choices.items()}
        size = sum(_bytes(choice) for choice in small.values())
        if self.used + size <= self.room:
            self.used += size
            self.parts.setdefault(node, []).append((self._keys(owner, entry), small))

    def begun(self, node: int, owner: torch.Tensor, entry: torch.Tensor) -> Begun | None:
        """What rows chose in the last frame; None: nothing is known of any."""
        if node not in self.last:
            return None
        (known, choices), keys = self.last[node], self._keys(owner, entry)
        place = torch.searchsorted(known, keys).clamp(max=len(known) - 1)
        found = known[place] == keys
        if not bool(found.any()):
            return None
        return Begun(found, {k: choice.take(place[found]) for k, choice in choices.items()})

    def _keys(self, owner: torch.Tensor, entry: torch.Tensor) -> torch.Tensor:
        return self.samples[owner] * MOST + entry


def _joined(
    parts: list[tuple[torch.Tensor, dict[int, Choice]]],
) -> tuple[torch.Tensor, dict[int, Choice]]:
    """Blocks of rows as one, in the order of their keys."""
    keys = torch.cat([part[0] for part in parts])
    order = keys.argsort()
    choices = {}
    for k in parts[0][1]:
        if not all(k in part[1] for part in parts):
            continue
        blocks = [(len(part[0]), part[1][k]) for part in parts]
        if all(_alike(block.mix, blocks[0][1].mix) for _, block in blocks):
            choices[k] = _stacked(blocks).take(order)
    return keys[order], choices


def _stacked(blocks: list[tuple[int, Choice]]) -> Choice:
    mixes = [block.mix for _, block in blocks if block.mix is not None]
    mix = torch.cat(mixes) if mixes else None
    if all(block.dual is None for _, block in blocks):
        return Choice(mix)
    none = [(torch.zeros(count, dtype=LEVEL), torch.zeros(count).bool()) for count, _ in blocks]
    levels = [level if b.level is None else b.level for (level, _), (_, b) in zip(none, blocks)]
    duals = [dual if b.dual is None else b.dual for (_, dual), (_, b) in zip(none, blocks)]
    return Choice(mix, torch.cat(levels), torch.cat(duals))


def _alike(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    """Whether two mixes are over patches of one size, or both none."""
    if one is None or other is None:
        return one is other
    return one.shape[1:] == other.shape[1:]


def _small(choice: Choice) -> Choice:
    mix, level = choice.mix, choice.level
    return replace(
        choice,
        mix=None if mix is None else mix.detach().to(MIX),
        level=None if level is None else level.detach().to(LEVEL),
    )


def _bytes(choice: Choice) -> int:
    parts = (choice.mix, choice.level, choice.dual)
    return sum(part.numel() * part.element_size() for part in parts if part is not None)
