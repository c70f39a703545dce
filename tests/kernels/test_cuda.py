"""The CUDA kernels: on the CPU behind a shim, through a compiler, and on a device if there is one.

The CUDA sources are the same in all three; see :mod:`boundcert.kernels.cuda_host`.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boundcert.kernels import NAMES, available, backend, cuda_calls, cuda_host, gpu, scalar
from cuda_cases import ball_cases, clip_arguments, gradient_cases, maximum_cases, pencil_cases

from boundcert.layers.activation_table import ACTIVATIONS

Array = Any
Case = tuple[str, tuple[Any, ...]]

SEEDS = range(12)
DTYPES = (np.float64, np.float32)
NORMS = (1.0, 2.0, np.inf)
#: rtol and atol of gradients: the reference takes some differences in the precision of the rows.
GRADIENTS = {np.float64: (1e-12, 1e-300), np.float32: (1e-5, 1e-5)}
#: Those of what a multiplier is searched for; sums are in another order.
BALLS = (1e-11, 1e-11)
PARAMETERS = {
    "LeakyRelu": (0.3, 0.0),
    "PRelu": (-1.5, 0.0),
    "Elu": (1.3, 0.0),
    "Selu": (1.6732632, 1.0507010),
    "Celu": (0.7, 0.0),
    "HardSigmoid": (0.2, 0.5),
    "Clip": (-0.4, 0.9),
    "Pow": (3.0, 0.0),
    "Sqrt": (0.5, 0.0),
}
POSITIVE = ("Sqrt", "Log", "Reciprocal")

needs_device = pytest.mark.skipif("gpu" not in available(), reason="no CUDA device, or no CuPy")


@pytest.fixture(scope="module", params=[1, 8], ids=["one-thread", "eight-threads"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The kernels on the CPU, blocks as plain calls and as threads that wait for one another."""
    if cuda_host.compiler() is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.getbasetemp() / "cuda-host"  # the two share their libraries
    return cuda_host.load(folder, request.param)


# cases: the name of a kernel and its arguments -------------------------------------------------


def spoilt(rng: np.random.Generator, values: Array, seed: int) -> Array:
    """Zeros everywhere, and in some cases what arithmetic must not lose."""
    values[rng.random(values.shape) < 0.2] = 0.0
    if seed % 3 == 1:
        for number in (np.nan, np.inf, -np.inf)[: 1 + seed // 3]:
            values[rng.random(values.shape) < 0.02] = number
    return values


def row_cases(seed: int, dtype: type) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    count, channels, samples = 6, int(rng.integers(1, 4)), 3
    plane = (int(rng.integers(1, 7)), int(rng.integers(1, 7)))
    patch = (int(rng.integers(0 if seed == 5 else 1, 9)), int(rng.integers(1, 9)))
    origin = rng.integers(-10, 9, (count, 2))
    owner = rng.integers(0, samples, count)
    rows = spoilt(rng, rng.standard_normal((count, channels, *patch)).astype(dtype), seed)
    # with infinities among the lines, which coefficients of 0 must not meet
    lines = [rng.standard_normal((samples, channels, *plane)).astype(dtype) for _ in range(4)]
    if seed % 2:
        lines[1][rng.random(lines[1].shape) < 0.1] = -np.inf
        lines[3][rng.random(lines[3].shape) < 0.1] = np.inf
    yield "pull_lines", (rows, owner, origin, *lines)
    yield "scale", (rows, owner, origin, lines[0])
    yield "scale", (rows, owner, origin, lines[0][:1])
    # squares that underflow or overflow, and the largest entries off the plane
    size = dtype(10.0) ** rng.integers(-15, 15) if dtype is np.float32 else 10.0 ** (10 * seed)
    for q in NORMS:
        yield "dual_norm", ((rows * size).astype(dtype), origin, plane, q)


def fold_arguments(seed: int, dtype: type) -> tuple[Any, ...]:
    rng = np.random.default_rng(1000 + seed)
    rows, channels = 4, int(rng.integers(1, 3))
    tall, broad, high, wide = (int(x) for x in rng.integers(1, 5, 4))
    if seed == 3:
        high = 0
    plane = (int(rng.integers(1, 9)), int(rng.integers(1, 9)))
    stride, dilation = (tuple(int(x) for x in rng.integers(1, 4, 2)) for _ in range(2))
    first = rng.integers(-5, 6, (rows, 2))
    extent = (
        (high - 1) * stride[0] + (tall - 1) * dilation[0] + 1,
        (wide - 1) * stride[1] + (broad - 1) * dilation[1] + 1,
    )
    if seed % 2:
        # the whole plane, or a patch that covers every tap and may leave the plane
        origin, size = np.zeros((rows, 2), dtype=np.int64), plane
    else:
        origin, size = first - 1, (max(extent[0], 0) + 2, extent[1] + 3)
    columns = rng.standard_normal((channels, tall, broad, rows, high, wide)).astype(dtype)
    out = rng.standard_normal((rows, channels, *size)).astype(dtype)
    return spoilt(rng, columns, seed), first, origin, plane, stride, dilation, out


def box(rng: np.random.Generator, positive: bool) -> tuple[Array, Array, Array, Array]:
    b, n = 3, 11
    z = rng.standard_normal((b, n)) * 10.0 ** rng.uniform(-2, 2)
    unit, scale = rng.random(n), rng.random(b) * 10.0 ** rng.uniform(-3, 1)
    offset = rng.random(b) * rng.choice([0.0, 1e-3])
    if positive:
        return np.abs(z) + 1.0, unit, scale * 0.05, offset * 0.05
    return z, unit, scale, offset


def activation_cases(kind: str, seed: int) -> Iterator[Case]:
    rule, rng = ACTIVATIONS[kind], np.random.default_rng(2000 + seed)
    first, second = PARAMETERS.get(kind, (0.0, 0.0))
    a, b = np.array([first]), np.array([second])
    z, unit, scale, offset = box(rng, kind in POSITIVE)
    if kind == "PRelu":
        a = rng.standard_normal(z.shape[1])
    if seed % 3 == 1:
        z[0, 0], z[1, 1] = np.nan, np.inf
    zones = np.array(rule.zones(first, second), dtype=float).reshape(-1, 3)
    bends = np.array(rule.bends, dtype=float).reshape(-1, 3)
    common = (z, unit, scale, offset, a, b)
    yield "activation_slopes", (rule.code, 1, *common, zones)
    if rule.smooth:
        yield "activation_slopes", (rule.code, 2, *common, bends)
    for p in NORMS:
        yield "activation_gain", (rule.code, p, *common, zones)

    pieces = np.array(rule.pieces(first, second), dtype=float).reshape(-1, 3)
    reach = unit * scale[:, None] + offset[:, None]
    low, high = z - reach, z + reach
    if seed % 3 == 2:
        low[0, 0], high[0, 0] = high[0, 0] + 1.0, low[0, 0]
        low[0, 1] = high[0, 1] = z[0, 1]
    yield "activation_range", (rule.code, low, high, a, b, pieces)
    yield "activation_lines", (rule.code, low, high, a, b, pieces)
    owner = rng.integers(0, len(z), 4)
    weight, slope = rng.standard_normal((2, 4, z.shape[1]))
    weight[rng.random(weight.shape) < 0.3] = 0.0
    slope[weight == 0.0] *= rng.random() < 0.5
    lam = rng.random(4) * (rng.random(4) < 0.7)
    tail = (lam, z, low, high, owner, a, b, pieces)
    yield "activation_floor", (rule.code, weight, slope, *tail)
    yield "activation_pencil", (rule.code, low, high, a, b, pieces)


def other_cases(seed: int) -> Iterator[Case]:
    rng = np.random.default_rng(3000 + seed)
    z, unit, scale, offset = box(rng, False)
    b, n = z.shape
    low, width = rng.standard_normal(z.shape), rng.random(z.shape)
    weight = spoilt(rng, rng.standard_normal((2, b, n)), seed)
    for p in NORMS:
        args = (weight, low, low + width, unit, scale, offset, rng.random(b), p)
        yield "slope_remainder", args
        x, size = rng.standard_normal((b, 6, 5)), int(rng.integers(1, 7))
        alpha = -0.3 if seed % 4 == 3 else 0.5
        yield "lrn_gain", (x, rng.random(b), size, alpha, 0.75, 1.2, p)
        yield "pairwise_norms", (spoilt(rng, rng.standard_normal((5, 19)), seed), p)
    windows = rng.integers(-1, n, size=(40, 3))
    yield "pool_multiplicity", (spoilt(rng, z.copy(), seed), windows, scale)
    norms, label = np.abs(rng.standard_normal((n, n))), rng.integers(0, n, size=b)
    norms[0, 1], norms[label[0], 2] = 0.0, np.nan
    logits = spoilt(rng, z.copy(), seed)
    yield "margin_distances", (logits, offset * 1e-6, norms, label)
    line = rng.standard_normal((5, b, n))
    line[1, rng.random((b, n)) < 0.1] = -np.inf if seed % 2 else np.inf
    for outward in (-1.0, 1.0):
        yield "shift_lines", (*line[:4], np.abs(line[4]), outward)
    steep, curved = rng.random((2, b, 4))
    yield "taylor_recursion", (steep, curved, rng.random(4) * 3, rng.random(4))


# comparison -------------------------------------------------------------------------------------


def agree(kernels: Any, cases: Iterator[Case], rtol: float = 1e-12, atol: float = 1e-300) -> None:
    truth = backend("reference")
    for name, args in cases:
        ours, theirs = getattr(kernels, name)(*args), getattr(truth, name)(*args)
        pairs = zip(ours, theirs) if isinstance(theirs, tuple) else [(ours, theirs)]
        for at, (one, other) in enumerate(pairs):
            assert one.shape == other.shape and one.dtype == other.dtype, (name, at)
            with np.errstate(invalid="ignore"):
                close = np.isclose(one, other, rtol=rtol, atol=atol, equal_nan=True)
            assert close.all(), (name, at, one[~close], other[~close])


def clips(kernels: Any, dtype: type) -> None:
    """The bound at its radius: where two splits are as good, either will do."""
    for seed, p in itertools.product(SEEDS, NORMS):
        args = clip_arguments(seed, dtype, p)
        eps, bounds = np.minimum(args[5], 1e6), []
        for loss, slope, level in (
            kernels.clipped_norm(*args),
            backend("reference").clipped_norm(*args),
        ):
            assert loss.shape == slope.shape == level.shape == eps.shape
            with np.errstate(invalid="ignore"):
                bounds.append(loss + eps * slope)
        np.testing.assert_allclose(*bounds, rtol=1e-9, err_msg=f"{seed} {p}")


def folds(kernels: Any, dtype: type) -> None:
    for seed in SEEDS:
        *args, out = fold_arguments(seed, dtype)
        ours, theirs = out.copy(), out.copy()
        assert kernels.fold(*args, ours) is None
        with np.errstate(invalid="ignore"):
            backend("reference").fold(*args, theirs)
        # the same additions in the same order
        assert np.array_equal(ours, theirs, equal_nan=True), seed


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_on_the_host(host: Any, dtype: type) -> None:
    for seed in SEEDS:
        agree(host, row_cases(seed, dtype))
    folds(host, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clips_on_the_host(host: Any, dtype: type) -> None:
    clips(host, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pencils_on_the_host(host: Any, dtype: type) -> None:
    for seed in SEEDS:
        agree(host, pencil_cases(seed, dtype))
        agree(host, gradient_cases(seed, dtype), *GRADIENTS[dtype])


def test_balls_on_the_host(host: Any) -> None:
    for seed in SEEDS:
        agree(host, ball_cases(seed), *BALLS)
        agree(host, maximum_cases(seed), *BALLS)


@pytest.mark.parametrize("kind", list(ACTIVATIONS))
def test_activations_on_the_host(host: Any, kind: str) -> None:
    for seed in SEEDS if host._launcher.lanes == 1 else SEEDS[:3]:
        agree(host, activation_cases(kind, seed), rtol=1e-9, atol=1e-9)


def test_no_rows_at_all(host: Any) -> None:
    none, place = np.zeros((0, 2, 3, 3)), np.zeros((0, 2), dtype=np.int64)
    out, mass = host.scale(none, place[:, 0], place, np.ones((1, 2, 5, 5)))
    assert out.shape == none.shape and mass.shape == (0,)
    assert host.dual_norm(none, place, (5, 5), 2.0).shape == (0,)
    columns = np.zeros((2, 1, 1, 0, 3, 3))
    host.fold(columns, place, place, (5, 5), (1, 1), (1, 1), none)


def test_the_other_kernels_on_the_host(host: Any) -> None:
    for seed in SEEDS:
        agree(host, other_cases(seed))


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(cuda_host.NoCompiler, match="compiler"):
        cuda_host.load(tmp_path)


def test_every_kernel_has_a_twin() -> None:
    for name in NAMES:
        assert callable(getattr(cuda_calls.Calls, name)) and callable(getattr(gpu, name)), name


def test_the_codes_of_activations_are_the_same() -> None:
    text = (cuda_calls.FOLDER / "scalar.cuh").read_text(encoding="utf-8")
    names = text[text.index("enum Kind {") + 11 : text.index("};")].replace(",", " ").split()
    assert [getattr(scalar, name) for name in names] == list(range(20))


# compilers and devices --------------------------------------------------------------------------


def nvcc() -> str | None:
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


@pytest.mark.skipif(nvcc() is None, reason="no nvcc")
@pytest.mark.parametrize("module", list(cuda_calls.MODULES))
def test_nvcc_compiles(module: str, tmp_path: Path) -> None:
    path = tmp_path / f"{module}.cu"
    path.write_text(cuda_calls.source(module), encoding="utf-8")
    command = [str(nvcc()), "-arch=sm_90", "--fmad=false", "-Werror", "all-warnings", "-cubin"]
    done = subprocess.run(
        [*command, str(path), "-o", f"{path}.cubin"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("capability", [75, 90, 999])
@pytest.mark.parametrize("module", list(cuda_calls.MODULES))
def test_nvrtc_compiles(module: str, capability: int) -> None:
    """As the backend compiles; needs no device. 999: one newer than the compiler."""
    pytest.importorskip("cupy", reason="no CuPy")
    from cupy.cuda import nvrtc

    try:
        nvrtc.getVersion()
    except Exception as missing:  # CuPy finds its libraries when it needs them
        pytest.skip(f"no NVRTC: {missing}")
    assert len(gpu.compiled(module, capability)) > 1000


@needs_device
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_on_the_device(dtype: type) -> None:
    for seed in SEEDS:
        agree(backend("gpu"), row_cases(seed, dtype))
    folds(backend("gpu"), dtype)


@needs_device
@pytest.mark.parametrize("dtype", DTYPES)
def test_pencils_on_the_device(dtype: type) -> None:
    for seed in SEEDS:
        agree(backend("gpu"), pencil_cases(seed, dtype), atol=1e-12)
        agree(backend("gpu"), gradient_cases(seed, dtype), *GRADIENTS[dtype])


@needs_device
@pytest.mark.parametrize("dtype", DTYPES)
def test_clips_on_the_device(dtype: type) -> None:
    clips(backend("gpu"), dtype)


@needs_device
def test_balls_on_the_device() -> None:
    for seed in SEEDS:
        agree(backend("gpu"), ball_cases(seed), *BALLS)
        agree(backend("gpu"), maximum_cases(seed), *BALLS)


@needs_device
@pytest.mark.parametrize("kind", list(ACTIVATIONS))
def test_activations_on_the_device(kind: str) -> None:
    for seed in SEEDS:
        agree(backend("gpu"), activation_cases(kind, seed), rtol=1e-9, atol=1e-9)


@needs_device
def test_the_other_kernels_on_the_device() -> None:
    for seed in SEEDS:
        agree(backend("gpu"), other_cases(seed), rtol=1e-11)


@needs_device
@pytest.mark.parametrize("kind", ["torch", "cupy"])
def test_arrays_keep_their_kind_and_place(kind: str) -> None:
    torch, cupy = pytest.importorskip("torch"), pytest.importorskip("cupy")
    if kind == "torch" and not torch.cuda.is_available():
        pytest.skip("torch was built without CUDA")

    def put(x: Any) -> Any:
        if not isinstance(x, np.ndarray):
            return x
        return torch.from_numpy(x).cuda() if kind == "torch" else cupy.asarray(x)

    kernels = backend("gpu")
    name, args = next(row_cases(0, np.float32))
    ours = getattr(kernels, name)(*(put(x) for x in args))
    for one, other in zip(ours, getattr(backend("reference"), name)(*args)):
        assert isinstance(one, torch.Tensor if kind == "torch" else cupy.ndarray)
        assert np.allclose(cupy.asnumpy(cupy.asarray(one)), other, equal_nan=True)
    *args, out = fold_arguments(0, np.float32)
    target = put(out)
    kernels.fold(*(put(x) for x in args), target)
    backend("reference").fold(*args, out)
    assert np.array_equal(cupy.asnumpy(cupy.asarray(target)), out)
