"""Radii and times of boundcert beside auto_LiRPA's, measured live on the same images.

    python benchmarks/rivals.py --models DIR --data-dir DIR [--network NAME ...] [--norm l2 linf]
        [--method relax] [--samples 10] [--rival-method CROWN] [--attack] [--repeat 2]
        [--peer FILE] [--out FILE.json]

The images are the first ``--samples`` that a network classifies correctly, in the test set's
order, as one batch. Ours is one call of ``--method``; what is done once per network (operator
norms) is a column of its own. The rival's radius is the largest at which it proves every logit
difference positive over the pure ball, in pixel units, by bisection to relative 1e-3 in float32;
its time is that of the whole bisection. Both are warmed up on another image first. The rival's
graph holds the normalisation inside its first layer, and whether images go one by one and
how it stores convolutions is whatever a first bound shows to be quicker for it.

``equal radius`` is the time of the cheaper of ``walk`` and ``--method`` whose radii are at least
0.999 of the rival's on every image. Without auto_LiRPA (it is no dependency: install it beside
boundcert, or put its sources on PYTHONPATH) only ours is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from common import NETWORKS, Benchmark, arguments, show
from torch import nn

import boundcert
from boundcert.layers.activation import Elementwise
from boundcert.layers.base import Layer
from boundcert.layers.conv import Conv
from boundcert.layers.dense import Dense
from boundcert.layers.diagonal import Diagonal
from boundcert.layers.max_pool import MaxPool
from boundcert.layers.structure import Reshape
from boundcert.network.graph import Network
from boundcert.prepared import Prepared, chunks

#: The order of the table, cheap networks first.
NAMES = (
    "mnist-net_256x2",
    "Convnet_maxpool",
    "ffnnSIGMOID__Point_6x200",
    "cifar_base_kw",
    "resnet_2b",
    "lenet5-mnist",
)

#: Relative width at which the rival's bisection stops.
TOLERANCE = 1e-3

#: Where the bisection starts, by norm, and the factor by which it looks for a bracket.
START = {"l1": 1.0, "l2": 0.1, "linf": 0.01}
FACTOR = 4.0

#: Radii below which the rival is said to prove nothing.
NOTHING = 1e-7

#: Share of the rival's radius that counts as equal.
EQUAL = 1.0 - TOLERANCE

#: Seconds after which one run is enough; else the fastest of ``--repeat`` counts.
ENOUGH = 20.0

#: Cores that others may keep busy before the table says that its times are spoilt.
QUIET = 0.1

T = TypeVar("T")


def main() -> None:
    options = _options()
    found = importlib.util.find_spec("auto_LiRPA") is not None
    if not found:
        say("auto_LiRPA is not importable: only ours is measured, compared with nothing")
    peer = json.loads(options.peer.read_text()) if options.peer else {}
    results = []
    for name in options.network:
        entry = next(n for n in NETWORKS if _stem(n) == name)
        network = entry.network(options.models)
        images = choose(entry, network, options.data_dir, options.samples)
        for norm in options.norm:
            results.append(compare(name, network, images, norm, options, found))
            if options.out:  # after each: long runs are interrupted
                options.out.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    print(f"\n{options.samples} images, {torch.get_num_threads()} threads, s: seconds per image")
    _table(results, options)
    if options.peer:
        _peer_table(results, peer, options)


def _options() -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(samples=10)
    parser.add_argument("--network", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--norm", nargs="+", choices=tuple(START), default=["l2", "linf"])
    parser.add_argument("--method", default="relax", help="ours")
    parser.add_argument("--rival-method", default="CROWN", help="a method of compute_bounds")
    parser.add_argument("--attack", action="store_true", help="also an upper bound of the radii")
    parser.add_argument("--repeat", type=int, default=2, help="runs; the fastest counts")
    parser.add_argument("--peer", type=Path, help="radii measured earlier, to compare with")
    parser.add_argument("--out", type=Path, help="everything, per image, as JSON")
    return parser.parse_args()


def _stem(entry: Benchmark) -> str:
    return entry.file.rsplit(".", 1)[0]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Watch:
    """How many cores other processes keep busy meanwhile, on average: what spoils times."""

    def __init__(self) -> None:
        self.start = self._now()

    def others(self) -> float:
        """Since the start; nan where the system does not say (it does on Linux)."""
        seconds, busy = (b - a for a, b in zip(self.start, self._now()))
        return max(busy, 0.0) / seconds

    @staticmethod
    def _now() -> tuple[float, float]:
        try:
            words = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
            tick = os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, AttributeError):
            return time.perf_counter(), math.nan
        ticks = [int(w) for w in words]  # user nice system idle iowait irq softirq steal
        busy = (sum(ticks) - ticks[3] - ticks[4]) / tick
        return time.perf_counter(), busy - time.process_time()


@dataclass(frozen=True)
class Images:
    """Samples a network classifies correctly, their places, and another one to warm up on."""

    rows: torch.Tensor
    label: torch.Tensor
    places: list[int]
    other: torch.Tensor
    other_label: torch.Tensor


def choose(entry: Benchmark, network: Network, data_dir: Path | None, samples: int) -> Images:
    """The first correctly classified samples, and the one after them."""
    data = boundcert.load_data(entry.data, data_dir)
    assert data.y is not None
    wanted = min(4 * samples + 20, len(data))
    rows, y = network.prepare(data.x[:wanted]), torch.as_tensor(data.y[:wanted])
    with torch.no_grad():
        right = network.logits(rows).argmax(dim=1) == y
    places = right.nonzero().flatten()[: samples + 1]
    if len(places) <= samples:
        raise SystemExit(f"{entry.file}: fewer than {samples + 1} of {wanted} images are right")
    kept, last = places[:-1], places[-1:]
    return Images(rows[kept], y[kept], kept.tolist(), rows[last], y[last])


@dataclass
class Measured:
    """Radii of one method, and times.

    Attributes
    ----------
    seconds, setup : for one image, and once per network.
    others : cores that other processes kept busy meanwhile.
    """

    method: str
    radii: list[float]
    seconds: float
    setup: float
    others: float
    note: str = ""

    @property
    def mean(self) -> float:
        return float(np.mean(self.radii))

    def reaches(self, other: Measured) -> bool:
        return bool((np.array(self.radii) >= EQUAL * np.array(other.radii)).all())


@dataclass
class Result:
    """One network in one norm."""

    network: str
    norm: str
    image_indices: list[int]
    ours: list[Measured] = field(default_factory=list)
    rival: Measured | None = None
    failure: str = ""
    attack: list[float] | None = None

    @property
    def main(self) -> Measured:
        return self.ours[-1]

    def ratios(self) -> np.ndarray:
        assert self.rival is not None
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.array(self.main.radii) / np.array(self.rival.radii)

    def speed(self) -> float:
        assert self.rival is not None
        return self.rival.seconds / self.main.seconds

    def others(self) -> float:
        """Cores that other processes kept busy meanwhile, at worst."""
        return max(m.others for m in (*self.ours, self.rival) if m)

    def equal(self) -> Measured | None:
        """The cheapest of ours that reaches the rival's radii."""
        assert self.rival is not None
        good = [m for m in self.ours if m.reaches(self.rival)]
        return min(good, key=lambda m: m.seconds, default=None)

    def above(self, radii: list[float]) -> int:
        """How many radii lie above the attack's; 0 for proofs."""
        assert self.attack is not None
        return int((np.array(radii) > np.array(self.attack)).sum())  # nan: no attack, not above


def compare(
    name: str, network: Network, images: Images, norm: str, options: argparse.Namespace, rival: bool
) -> Result:
    result = Result(name, norm, images.places)
    for method in dict.fromkeys(("walk", options.method)):
        say(f"{name} {norm}: {method}")
        result.ours.append(measure_ours(network, images, norm, method, options.repeat))
    if rival:
        say(f"{name} {norm}: auto_LiRPA {options.rival_method}")
        try:
            result.rival = measure_rival(
                network, images, norm, options.rival_method, options.repeat
            )
        except Exception as error:  # the rival's limits are not ours to list
            result.failure = f"{type(error).__name__}: {error}".splitlines()[0]
            say(f"  fails: {result.failure}")
    if options.attack:
        say(f"{name} {norm}: attack")
        x = images.rows.numpy().astype(np.float32)
        result.attack = boundcert.attack(network, x, norm).upper.tolist()
    return result


def timed(run: Callable[[], T], repeat: int) -> tuple[T, float]:
    """What the function returns, and the seconds of its fastest run."""
    best = math.inf
    for _ in range(max(repeat, 1)):
        start = time.perf_counter()
        value = run()
        best = min(best, time.perf_counter() - start)
        if best > ENOUGH:
            break
    return value, best


# --- ours -----------------------------------------------------------------------------------------


def measure_ours(network: Network, images: Images, norm: str, method: str, repeat: int) -> Measured:
    watch, start = Watch(), time.perf_counter()
    ready = Prepared(network, norm, method)
    setup = time.perf_counter() - start
    ready(images.other)
    rows = images.rows

    def run() -> np.ndarray:
        return np.concatenate([ready(rows[a:b]).lower for a, b in chunks(network, len(rows))])

    radii, seconds = timed(run, repeat)
    return Measured(method, radii.tolist(), seconds / len(rows), setup, watch.others())


# --- the rival ------------------------------------------------------------------------------------


class Plain(nn.Module):
    """A network as torch's own layers, which the rival can trace.

    A normalisation in front of the network is split: its scale goes into the first layer's
    weights, and its shift into the data (:meth:`data`), which moves the ball and does not change
    it. As layers of the graph, Sub and Div make the rival's L2 bounds wrong (its intervals lose
    the ball behind them), and a shift in the first bias would be wrong at a convolution's
    padding.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.inputs: list[tuple[int, ...]] = []
        self.flat = False
        scale = torch.ones(network.input_shape, dtype=torch.float64)
        shift = torch.zeros_like(scale)
        place, first = {0: 0}, True  # positions here, by positions in the network
        for i, node in enumerate(network.nodes[1:], 1):
            layer = node.layer
            if first and isinstance(layer, Diagonal):
                weight = layer.weight.reshape(layer.weight.shape[1:])
                scale = scale * weight
                shift = shift * weight + layer.shift.reshape(layer.shift.shape[1:])
                place[i] = 0
                continue
            if first and isinstance(layer, Reshape) and len(layer.out_shape) == 2:
                self.flat, place[i] = True, 0
                continue
            assert layer is not None
            self.layers.append(_module(layer, scale if first else None))
            self.inputs.append(tuple(place[j] for j in node.inputs))
            place[i] = len(self.layers)
            first = False
        self.offset = shift / scale
        with torch.no_grad():
            trial = torch.randn(3, *network.input_shape, dtype=torch.float64).abs()
            expected = network.logits(trial)
            error = (self(self.data(trial)) - expected).abs().max() / expected.abs().max()
        assert error < 1e-9, f"the rival's network differs by {error:.2g}"

    @property
    def convolutional(self) -> bool:
        return any(isinstance(m, nn.Conv2d) for m in self.layers)

    def data(self, rows: torch.Tensor) -> torch.Tensor:
        """Samples (B, *input_shape) as this module takes them."""
        moved = (rows + self.offset).reshape(len(rows), *self.offset.shape[1:])
        return moved.flatten(1) if self.flat else moved

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for layer, inputs in zip(self.layers, self.inputs):
            values.append(layer(*(values[j] for j in inputs)))
        return values[-1]


class _Sum(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


def _module(layer: Layer, scale: torch.Tensor | None) -> nn.Module:
    """One layer as torch's; ``scale`` of its input goes into its weights."""
    if isinstance(layer, Conv):
        return _conv(layer, scale)
    if isinstance(layer, Dense) and layer.weight.dim() == 2 and not layer.left:
        weight = layer.weight.T
        dense = nn.Linear(weight.shape[1], weight.shape[0]).double()
        return _filled(dense, weight if scale is None else weight * scale.flatten(), layer.bias)
    if isinstance(layer, MaxPool):
        w = layer.windows
        return nn.MaxPool2d(w.kernel, w.stride, w.before, w.dilation)
    if isinstance(layer, Elementwise):
        return {"Relu": nn.ReLU, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh}[layer.name]()
    if isinstance(layer, Reshape) and len(layer.out_shape) == 2:
        return nn.Flatten()
    if getattr(layer, "op", "") == "Add":
        return _Sum()
    raise NotImplementedError(f"the rival's conversion knows no {type(layer).__name__}")


def _conv(layer: Conv, scale: torch.Tensor | None) -> nn.Module:
    w, weight = layer.windows, layer.weight
    if len(w.kernel) != 2 or w.before != w.after:
        raise NotImplementedError("the rival's conversion knows 2-D and even padding only")
    if scale is not None:
        channels = scale.reshape(scale.shape[1], -1)
        if layer.groups != 1 or (channels != channels[:, :1]).any():
            raise NotImplementedError("the rival's conversion scales whole channels only")
        weight = weight * channels[:, 0].reshape(1, -1, 1, 1)
    form: Any = (w.kernel, w.stride, w.before, w.dilation, layer.groups)
    conv = nn.Conv2d(weight.shape[1] * layer.groups, weight.shape[0], *form).double()
    return _filled(conv, weight, layer.bias)


def _filled(module: Any, weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(weight)
        module.bias.copy_(0.0 if bias is None else bias.flatten())
    return module


@dataclass(frozen=True)
class Way:
    """How the rival is run: images together or one by one, and its form of convolutions."""

    together: bool
    form: str

    def __str__(self) -> str:
        return f"{'one batch' if self.together else 'one by one'}, {self.form}"


class Rival:
    """auto_LiRPA's bounds of one network in one norm."""

    def __init__(self, network: Network, norm: str, method: str) -> None:
        self.method, self.norm = method, norm
        self.plain = Plain(network)
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
    network: Network, images: Images, norm: str, method: str, repeat: int
) -> Measured:
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        watch, start = Watch(), time.perf_counter()
        rival = Rival(network, norm, method)
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


# --- tables ---------------------------------------------------------------------------------------


def _table(results: list[Result], options: argparse.Namespace) -> None:
    header = [
        "network", "norm", options.method, "s", "set-up", options.rival_method, "s",
        "min ratio", "mean ratio", "speed ratio", "equal radius",
        "others",
    ]  # fmt: skip
    if options.attack:
        header += ["attack", "found", f"{options.method} above", f"{options.rival_method} above"]
    show(header, [_row(result) for result in results])
    speeds = np.array([r.speed() for r in results if r.rival])
    if len(speeds):
        mean = math.exp(float(np.log(speeds).mean()))
        print(f"speed ratio: geometric mean {mean:.4g}, least {speeds.min():.4g}")
    _attack_lines(results)
    if any(result.others() > QUIET for result in results):
        print("times are too long where other processes kept cores busy: the column `others`")


def _row(result: Result) -> list[object]:
    ours, rival = result.main, result.rival
    row: list[object] = [result.network, result.norm, ours.mean, ours.seconds, ours.setup]
    if rival is None:
        row += ["fails" if result.failure else "-", *["-"] * 5]
    else:
        ratios, equal = result.ratios(), result.equal()
        reached = "none" if equal is None else f"{equal.seconds:.3g} s ({equal.method})"
        row += [rival.mean, rival.seconds, float(ratios.min()), float(ratios.mean())]
        row += [result.speed(), reached]
    row.append(round(result.others(), 2))
    if result.attack is not None:
        upper = np.array(result.attack)
        hit = ~np.isnan(upper)
        row += [float(upper[hit].mean()) if hit.any() else "-", int(hit.sum())]
        row += [result.above(ours.radii), "-" if rival is None else result.above(rival.radii)]
    return row


def _attack_lines(results: list[Result]) -> None:
    """Whether every one of our radii, the walk's too, lies below its attack."""
    tried = [r for r in results if r.attack is not None]
    if tried:
        bad = [r for r in tried if any(r.above(m.radii) for m in r.ours)]
        names = ", ".join(f"{r.network} {r.norm}" for r in bad)
        print(f"lower ≤ attack: {f'VIOLATED on {names}' if bad else 'everywhere'}")


def _peer_table(results: list[Result], peer: dict[str, Any], options: argparse.Namespace) -> None:
    """Ours and the live rival beside per-image radii measured earlier, on the images of both."""
    rows: list[list[object]] = []
    for result in results:
        known = peer.get(result.network, {}).get(result.norm, {}).get(options.rival_method, {})
        radii = dict(zip(known.get("image_indices", []), known.get("radii", [])))
        at = [i for i, place in enumerate(result.image_indices) if radii.get(place)]
        if not at:
            continue
        old = np.array([radii[result.image_indices[i]] for i in at])
        ratio = np.array(result.main.radii)[at] / old
        row: list[object] = [result.network, result.norm, len(at), float(old.mean())]
        row += [float(ratio.min()), float(ratio.mean())]
        if result.rival is None:
            row += ["-", "-"]
        else:
            live = np.array(result.rival.radii)[at]
            row += [float(live.mean()), float(np.abs(live / old - 1).max())]
        rows.append(row)
    print(f"\nagainst {options.peer.name}, {options.rival_method}")
    show(
        ["network", "norm", "images", "mean", f"min {options.method} ratio", "mean ratio",
         "mean measured here", "largest relative difference"],
        rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
