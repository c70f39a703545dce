"""auto_LiRPA's radii of a network, by bisection, and what they cost."""

from __future__ import annotations

import contextlib
import math
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from measure import TOLERANCE, Images, Measured, Watch, say, timed
from rival_network import Plain

from boundcert.network.graph import Network

#: Where the bisection starts, by norm, and the factor by which it looks for a bracket.
START = {"l1": 1.0, "l2": 0.1, "linf": 0.01}
FACTOR = 4.0

#: Radii below which the rival is said to prove nothing.
NOTHING = 1e-7


@dataclass(frozen=True)
class Way:
    """How the rival is run: images together or one by one, and its form of convolutions."""

    together: bool
    form: str

    def __str__(self) -> str:
        return f"{'one batch' if self.together else 'one by one'}, {self.form}"


class Rival:
    """auto_LiRPA's bounds of one network in one norm; ``module`` is it, if somebody has one."""

    def __init__(self, network: Network, norm: str, method: str, module: Any = None) -> None:
        self.method, self.norm = method, norm
        self.plain = Plain(network) if module is None else module
        self.bounded: dict[str, Any] = {}

    def ways(self, count: int) -> Iterator[Way]:
        """What can be chosen from.

        Radii that differ within a batch are (B, 1) in L1 and L2, which its convolutions refuse.
        """
        forms = ("patches", "matrix") if self.plain.convolutional else ("matrix",)
        for form in forms:
            if count > 1 and (self.norm == "linf" or not self.plain.convolutional):
                yield Way(True, form)
            yield Way(False, form)

    def proves(
        self, form: str, x: torch.Tensor, margins: torch.Tensor, eps: torch.Tensor
    ) -> torch.Tensor:
        """Whether each radius (B,) is proved: every margin has a positive lower bound."""
        from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

        if form not in self.bounded:
            options = {"conv_mode": form, "optimize_bound_args": {"iteration": 20}}
            module = self.plain.float().eval()
            self.bounded[form] = BoundedModule(module, torch.empty_like(x[:1]), options)
        if self.norm == "linf":
            width = eps.reshape(-1, *[1] * (x.dim() - 1)).to(x.dtype)
            ball = PerturbationLpNorm(norm=np.inf, x_L=x - width, x_U=x + width)
        else:
            size = eps.to(x.dtype).reshape(-1, 1) if len(eps) > 1 else float(eps)
            ball = PerturbationLpNorm(norm=int(self.norm[1:]), eps=size)
        with torch.set_grad_enabled("Optimized" in self.method):
            lower, _ = self.bounded[form].compute_bounds(
                x=(BoundedTensor(x, ball),), C=margins, method=self.method, bound_upper=False
            )
        return (lower.detach() > 0).all(dim=1)

    def radii(self, way: Way, x: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
        """The largest radius proved for each sample."""
        if way.together:
            return self._bisect(way.form, x, margins)
        parts = zip(x.split(1), margins.split(1))
        return torch.cat([self._bisect(way.form, u, m) for u, m in parts])

    def _bisect(self, form: str, x: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
        low = torch.zeros(len(x), dtype=torch.float64)
        high = torch.full_like(low, math.inf)
        eps = torch.full_like(low, START[self.norm])
        while True:
            proved = self.proves(form, x, margins, eps)
            low, high = torch.where(proved, eps, low), torch.where(proved, high, eps)
            if ((high <= low * (1.0 + TOLERANCE)) | (high < NOTHING)).all():
                return low
            eps = torch.where(high.isinf(), low * FACTOR, (low * high).sqrt())
            eps = torch.where(low == 0, high / FACTOR, eps)


def measure_rival(
    network: Network, images: Images, norm: str, method: str, repeat: int, module: Any = None
) -> Measured:
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        watch, start = Watch(), time.perf_counter()
        rival = Rival(network, norm, method, module)
        setup = time.perf_counter() - start
        x, margins = _ask(rival, images.rows, images.label)
        other, other_margins = _ask(rival, images.other, images.other_label)
        ways = list(rival.ways(len(x)))
        way = _quickest(rival, ways, other, other_margins, len(x)) if len(ways) > 1 else ways[0]
        rival.proves(way.form, other, other_margins, torch.tensor([START[norm]]))
        radii, seconds = timed(lambda: rival.radii(way, x, margins), repeat)
    return Measured(method, radii.tolist(), seconds / len(x), setup, watch.others(), str(way))


def _ask(
    rival: Rival, rows: torch.Tensor, label: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples and margins (B, classes − 1, classes): the class against every other."""
    x = rival.plain.data(rows).float()
    with torch.no_grad():
        classes = rival.plain.float()(x[:1]).shape[1]
    unit = torch.eye(classes)
    others = [torch.cat([unit[:k], unit[k + 1 :]]) for k in label.tolist()]
    return x, torch.stack([unit[k] - rest for k, rest in zip(label.tolist(), others)])


def _quickest(
    rival: Rival, ways: list[Way], x: torch.Tensor, margins: torch.Tensor, count: int
) -> Way:
    """The way that takes least for one bound of each of ``count`` copies of a sample."""
    alone = Way(False, ways[0].form)
    eps = rival.radii(alone, x, margins)  # a bound costs most where it matters: at the radius
    spent: dict[Way, float] = {}
    for way in ways:
        n = count if way.together else 1
        many = [t.repeat(n, *[1] * (t.dim() - 1)) for t in (x, margins, eps)]
        try:
            rival.proves(way.form, *many)
            _, seconds = timed(partial(rival.proves, way.form, *many), 2)
            spent[way] = seconds / n
        except Exception as error:  # a form it does not have for some layer
            say(f"  {way}: {type(error).__name__}: {error}".splitlines()[0])
    say("  a bound takes " + "; ".join(f"{1e3 * s:.3g} ms ({w})" for w, s in spent.items()))
    return min(spent, key=lambda way: spent[way])
