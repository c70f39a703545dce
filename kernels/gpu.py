"""CUDA twins of the kernels, through CuPy: same names, signatures and contracts.

Operands are CuPy arrays, torch CUDA tensors (shared through DLPack, not copied), or anything on
the CPU (copied over); results are of the kind of the first array. Everything runs on torch's
current stream if a torch tensor is among the operands, else on CuPy's, so that no one has to
synchronise. Sources are compiled by NVRTC on first use; importing this module costs nothing.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .cuda_calls import Calls, source

Array = Any

#: A product and a sum are rounded one after the other, and small numbers stay: the error
#: analyses of the callers are those of IEEE arithmetic. CuPy's own way to compile flushes them.
OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")


def compiled(module: str, capability: int) -> bytes:
    """Machine code of a module of :data:`cuda_calls.MODULES`; needs NVRTC but no device.

    Parameters
    ----------
    capability : of the device, 90 for 9.0. For a device newer than NVRTC, PTX for the newest
        architecture it knows, which the driver translates.
    """
    from cupy.cuda import nvrtc

    known = [int(arch) for arch in nvrtc.getSupportedArchs()]
    exact = capability in known
    target = f"sm_{capability}" if exact else f"compute_{max(a for a in known if a < capability)}"
    program = nvrtc.createProgram(source(module), f"{module}.cu", (), ())
    try:
        try:
            nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture={target}"))
        except nvrtc.NVRTCError as error:
            raise RuntimeError(f"{module}: {nvrtc.getProgramLog(program)}") from error
        code = nvrtc.getCUBIN(program) if exact else nvrtc.getPTX(program)
    finally:
        nvrtc.destroyProgram(program)
    return code if isinstance(code, bytes) else code.encode()


@functools.cache
def _module(module: str, device: int) -> Any:
    """A module loaded on a device."""
    from cupy.cuda import Device
    from cupy.cuda.function import Module

    loaded = Module()
    loaded.load(compiled(module, int(Device(device).compute_capability)))
    return loaded


class _Device:
    """Runs kernels on CuPy arrays, on the current device and stream."""

    def __init__(self) -> None:
        import cupy

        self.xp = cupy

    def launch(self, module: str, kernel: str, blocks: int, lanes: int, args: tuple) -> None:
        function = _module(module, self.xp.cuda.Device().id).get_function(kernel)
        function((blocks,), (lanes,), args)


@functools.cache
def _calls() -> Calls:
    return Calls(_Device())


def _is_tensor(x: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def _is_array(x: Any) -> bool:
    # not NumPy's scalars, which have a shape too
    return hasattr(x, "dtype") and hasattr(x, "shape") and not isinstance(x, np.generic)


@contextmanager
def _place(arrays: list[Array]) -> Iterator[None]:
    """Device of the first operand that is on one, and the stream its maker works on."""
    import cupy

    tensor = next((x for x in arrays if _is_tensor(x) and x.is_cuda), None)
    array = next((x for x in arrays if isinstance(x, cupy.ndarray)), None)
    if tensor is not None:
        pointer = sys.modules["torch"].cuda.current_stream(tensor.device).cuda_stream
        device = int(tensor.device.index)
        with cupy.cuda.Device(device):
            null = cupy.cuda.Stream.null
            with cupy.cuda.ExternalStream(pointer, device) if pointer else null:
                yield
    elif array is not None:
        with array.device:
            yield
    else:
        yield


def _enter(x: Any) -> Any:
    """An operand as a CuPy array; what is no array stays."""
    import cupy

    if _is_tensor(x):
        x = x.detach()
        return cupy.from_dlpack(x) if x.is_cuda else cupy.asarray(x.numpy())
    return cupy.asarray(x) if isinstance(x, np.ndarray) else x


def _leave(x: Array, like: Array) -> Array:
    """A result as the kind of array ``like`` is, where ``like`` is."""
    if _is_tensor(like):
        torch = sys.modules["torch"]
        return torch.from_dlpack(x) if like.is_cuda else torch.from_numpy(x.get())
    return x.get() if isinstance(like, np.ndarray) else x


def _kernel(name: str) -> Callable[..., Any]:
    method = getattr(Calls, name)

    @functools.wraps(method)
    def call(*args: Any, **named: Any) -> Any:
        arrays = [x for x in (*args, *named.values()) if _is_array(x)]
        with _place(arrays):
            moved = [_enter(x) for x in args]
            moved_named = {key: _enter(x) for key, x in named.items()}
            result = getattr(_calls(), name)(*moved, **moved_named)
            if result is None:  # fold adds to its last operand
                theirs = named["out"] if "out" in named else args[-1]
                ours = moved_named["out"] if "out" in named else moved[-1]
                if isinstance(theirs, np.ndarray):
                    theirs[...] = ours.get()
                elif _is_tensor(theirs) and not theirs.is_cuda:
                    theirs.copy_(_leave(ours, theirs))
                return None
            if isinstance(result, tuple):
                return tuple(_leave(part, arrays[0]) for part in result)
            return _leave(result, arrays[0])

    return call


activation_floor = _kernel("activation_floor")
activation_gain = _kernel("activation_gain")
activation_lines = _kernel("activation_lines")
activation_pencil = _kernel("activation_pencil")
activation_range = _kernel("activation_range")
activation_slopes = _kernel("activation_slopes")
clipped_norm = _kernel("clipped_norm")
deviation_lines = _kernel("deviation_lines")
dual_gradient = _kernel("dual_gradient")
dual_maximum_gradient = _kernel("dual_maximum_gradient")
dual_norm = _kernel("dual_norm")
fold = _kernel("fold")
lrn_gain = _kernel("lrn_gain")
margin_distances = _kernel("margin_distances")
pairwise_norms = _kernel("pairwise_norms")
pencil_gradient = _kernel("pencil_gradient")
pool_multiplicity = _kernel("pool_multiplicity")
pull_ball = _kernel("pull_ball")
pull_dual = _kernel("pull_dual")
pull_dual_maximum = _kernel("pull_dual_maximum")
pull_lines = _kernel("pull_lines")
pull_maximum = _kernel("pull_maximum")
pull_means = _kernel("pull_means")
pull_pencil = _kernel("pull_pencil")
pull_windows = _kernel("pull_windows")
scale = _kernel("scale")
shift_lines = _kernel("shift_lines")
slope_remainder = _kernel("slope_remainder")
taylor_recursion = _kernel("taylor_recursion")
weigh = _kernel("weigh")
window_lines = _kernel("window_lines")
