"""The tables of ``rivals.py``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from common import show
from comparison import QUIET, Comparison
from measure import Measured

#: Stands for whatever method of the rival did best on an image.
BEST = "best"


def radii_and_times(results: list[Comparison], methods: list[str]) -> None:
    """For each method of the rival a table and a line that sums it up."""
    for method in methods:
        print()
        show(_header(results[0].main, method), [_row(result, method) for result in results])
        _speeds(results, method)
    if any(result.others() > QUIET for result in results):
        print("times are too long where other processes kept cores busy: the column `others`")


def _header(main: str, method: str) -> list[str]:
    return [
        "network", "norm", f"{main} radius", f"{method} radius", "min ratio", "mean ratio",
        f"{main} s/image", f"{method} s/image", "equal-radius time ratio", "by", "set-up s",
        "others",
    ]  # fmt: skip


def _row(result: Comparison, method: str) -> list[object]:
    ours, rival = result.ours[result.main], result.rivals.get(method)
    head: list[object] = [result.network, result.norm, ours.mean]
    tail: list[object] = [ours.setup, round(result.others(), 2)]
    if rival is None:
        failed = "fails" if method in result.failures else "-"
        return [*head, failed, "-", "-", ours.seconds, "-", "-", "-", *tail]
    ratios, equal = result.ratios(rival), result.equal(rival)
    speed = ["none", "-"] if equal is None else [rival.seconds / equal.seconds, equal.method]
    middle = [rival.mean, float(ratios.min()), float(ratios.mean()), ours.seconds, rival.seconds]
    return [*head, *middle, *speed, *tail]


def _speeds(results: list[Comparison], method: str) -> None:
    tried = [(r, r.rivals[method]) for r in results if method in r.rivals]
    speeds = [speed for r, rival in tried if (speed := r.speed(rival)) is not None]
    if speeds:
        mean = math.exp(float(np.log(speeds).mean()))
        print(f"equal-radius time ratio: geometric mean {mean:.4g}, minimum {min(speeds):.4g}")
    if len(speeds) < len(tried):
        print(f"radii not reached, and in neither number: {len(tried) - len(speeds)} rows")


def attacks(results: list[Comparison]) -> None:
    """How many radii lie above an attack's, and whether any of ours does."""
    rows: list[list[object]] = []
    for r in results:
        assert r.attack is not None
        hit = np.array(r.attack)[~np.isnan(r.attack)]
        mean: object = float(hit.mean()) if len(hit) else "-"
        every = (*r.ours.values(), *r.rivals.values())
        above = ", ".join(f"{m.method} {r.above(m)}" for m in every)
        rows.append([r.network, r.norm, mean, len(hit), above])
    print()
    show(["network", "norm", "attack", "found", "radii above it"], rows)
    bad = [r for r in results if any(r.above(m) for m in r.ours.values())]
    names = ", ".join(f"{r.network} {r.norm}" for r in bad)
    print(f"lower ≤ attack: {f'VIOLATED on {names}' if bad else 'everywhere'}")


def peers(results: list[Comparison], peer: dict[str, Any], name: str, methods: list[str]) -> None:
    """Ours and the live rival beside per-image radii measured earlier, on the images of both.

    Beside those of each method, and of the best one on each image.
    """
    for method in [*methods, BEST]:
        rows = []
        for result in results:
            radii = _radii(peer.get(result.network, {}).get(result.norm, {}), method)
            at = [i for i, place in enumerate(result.image_indices) if radii.get(place)]
            if at:
                old = np.array([radii[result.image_indices[i]] for i in at])
                rows.append(_peer_row(result, at, old, result.rivals.get(method)))
        print(f"\nagainst {name}, {method}")
        header = [
            "network", "norm", "images", "mean", "min ratio", "mean ratio", "mean measured here",
            "largest relative difference",
        ]  # fmt: skip
        show(header, rows)


def _radii(known: dict[str, Any], method: str) -> dict[int, float]:
    """Radii by image, of a method or of the best one that is no attack; none where it had none."""
    if method != BEST:
        found = known.get(method, {})
        return dict(zip(found.get("image_indices", []), found.get("radii", [])))
    best: dict[int, float] = {}
    for name in known:
        if not name.startswith("attack"):
            for place, radius in _radii(known, name).items():
                best[place] = max(best.get(place, 0.0), radius or 0.0)
    return best


def _peer_row(
    result: Comparison, at: list[int], old: np.ndarray, rival: Measured | None
) -> list[object]:
    ratio = np.array(result.ours[result.main].radii)[at] / old
    row: list[object] = [result.network, result.norm, len(at), float(old.mean())]
    row += [float(ratio.min()), float(ratio.mean())]
    if rival is None:
        return [*row, "-", "-"]
    live = np.array(rival.radii)[at]
    return [*row, float(live.mean()), float(np.abs(live / old - 1).max())]
