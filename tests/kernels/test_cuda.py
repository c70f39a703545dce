"""The CUDA kernels: on the CPU behind a shim, through a compiler, and on a device if there is one.

The CUDA sources are the same in all three; see :mod:`boundcert.kernels.cuda_host`.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from activation_cases import activation_cases, other_cases
from boundcert.kernels import NAMES, available, backend, cuda_calls, cuda_host, gpu, scalar
from kernel_cases import (
    BALLS,
    DTYPES,
    NORMS,
    SEEDS,
    agree,
    ball_cases,
    clip_arguments,
    dual_cases,
    dual_gradient_cases,
    dual_maximum_cases,
    dual_maximum_gradient_cases,
    fold_arguments,
    gradient_cases,
    maximum_cases,
    pencil_cases,
    row_cases,
)
from window_cases import pulled_cases, window_cases

from boundcert.layers.activation_table import ACTIVATIONS

#: rtol and atol of gradients: the reference takes some differences in the precision of the rows.
GRADIENTS = {np.float64: (1e-12, 1e-300), np.float32: (1e-5, 1e-5)}
needs_device = pytest.mark.skipif("gpu" not in available(), reason="no CUDA device, or no CuPy")


@pytest.fixture(scope="module", params=[1, 8], ids=["one-thread", "eight-threads"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The kernels on the CPU, blocks as plain calls and as threads that wait for one another."""
    if cuda_host.compiler() is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.getbasetemp() / "cuda-host"  # the two share their libraries
    return cuda_host.load(folder, request.param)


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_windows_on_the_host(host: Any, dtype: type) -> None:
    for seed in SEEDS:
        agree(host, pulled_cases(seed, dtype))


def test_balls_on_the_host(host: Any) -> None:
    for seed in SEEDS:
        agree(host, ball_cases(seed), *BALLS)
        agree(host, window_cases(seed))


@pytest.mark.parametrize("dtype", DTYPES)
def test_duals_on_the_host(host: Any, dtype: type) -> None:
    for seed in SEEDS:
        agree(host, dual_cases(seed, dtype), *BALLS)
        agree(host, dual_gradient_cases(seed, dtype), *BALLS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_maxima_on_the_host(host: Any, dtype: type) -> None:
    for seed in SEEDS:
        agree(host, maximum_cases(seed, dtype), *BALLS)
        agree(host, dual_maximum_cases(seed, dtype), *BALLS)
        agree(host, dual_maximum_gradient_cases(seed, dtype), *BALLS)


@pytest.mark.parametrize("kind", list(ACTIVATIONS))
def test_activations_on_the_host(host: Any, kind: str) -> None:
    for seed in SEEDS if host._launcher.lanes == 1 else SEEDS[:3]:
        agree(host, activation_cases(kind, seed), rtol=1e-9, atol=1e-9)


def test_no_rows_at_all(host: Any) -> None:
    none, place = np.zeros((0, 2, 3, 3)), np.zeros((0, 2), dtype=np.int64)
    out, mass = host.scale(none, place[:, 0], place, np.ones((1, 2, 5, 5)))
    assert out.shape == none.shape and mass.shape == (0,)
    assert host.dual_norm(none, place, (5, 5), 2.0).shape == (0,)
    assert host.weigh(none, place[:, 0], place, np.ones((1, 2, 5, 5))).shape == (0,)
    columns = np.zeros((0, 2, 1, 1, 3, 3))
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
    assert [getattr(scalar, name) for name in names] == list(range(22))


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
@pytest.mark.parametrize("dtype", DTYPES)
def test_windows_on_the_device(dtype: type) -> None:
    for seed in SEEDS:
        agree(backend("gpu"), pulled_cases(seed, dtype))


@needs_device
def test_balls_on_the_device() -> None:
    for seed in SEEDS:
        agree(backend("gpu"), ball_cases(seed), *BALLS)
        agree(backend("gpu"), window_cases(seed))


@needs_device
@pytest.mark.parametrize("dtype", DTYPES)
def test_duals_on_the_device(dtype: type) -> None:
    for seed in SEEDS:
        agree(backend("gpu"), dual_cases(seed, dtype), *BALLS)
        agree(backend("gpu"), dual_gradient_cases(seed, dtype), *BALLS)


@needs_device
@pytest.mark.parametrize("dtype", DTYPES)
def test_maxima_on_the_device(dtype: type) -> None:
    for seed in SEEDS:
        agree(backend("gpu"), maximum_cases(seed, dtype), *BALLS)
        agree(backend("gpu"), dual_maximum_cases(seed, dtype), *BALLS)
        agree(backend("gpu"), dual_maximum_gradient_cases(seed, dtype), *BALLS)


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
