"""What a layer is: everything the toolkit knows of one kind of node, behind one interface.

A layer is built once from an ONNX node (:class:`NodeSpec`) with its constants bound, and then
answers for evaluation and bounds. Tensors carry a batch axis in front of the *whole* ONNX shape
at batch size one, so ONNX axis ``k`` is tensor axis ``k + 1`` and a sample is one call of the
model. Nothing here knows of graphs.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch

from boundcert.layers.arithmetic import Arithmetic
from boundcert.norms import Norm

if TYPE_CHECKING:
    from boundcert.layers.relaxation import Box, Relaxation

#: Elementwise lower and upper bounds.
Ends = tuple[torch.Tensor, torch.Tensor]

#: Unit roundoff of the float64 arithmetic that evaluates the network.
UNIT = 2.0**-53
#: More than all underflow in a layer's bound can add up to (a sum of n products loses at most
#: n·2^−1075), and less than any deviation that matters.
UNDERFLOW = 1e-290


class Unsupported(Exception):
    """This layer cannot take this node; the message says why and what would work."""


@dataclass(frozen=True)
class NodeSpec:
    """One ONNX node without ONNX objects.

    Attributes
    ----------
    op, name, opset : operator type, node name, opset version of the model.
    attributes : plain Python values.
    operands : one entry per ONNX input: a NumPy constant, a tuple (the shape of a data operand
        at batch size one), or None where an optional input is left out.
    shape : shape of the (first) output at batch size one.
    """

    op: str
    name: str
    opset: int
    attributes: Mapping[str, Any]
    operands: tuple[np.ndarray | tuple[int, ...] | None, ...]
    shape: tuple[int, ...]

    def attr(self, name: str, default: Any = None) -> Any:
        """The attribute, or the default where the node does not carry it."""
        return self.attributes.get(name, default)

    def data_shape(self, position: int = 0) -> tuple[int, ...]:
        """Shape of a data operand; refuses a constant there."""
        operand = self.operands[position] if position < len(self.operands) else None
        if not isinstance(operand, tuple):
            raise Unsupported(f"input {position} must be data, not a constant")
        return operand

    def constant(self, position: int) -> np.ndarray | None:
        """The constant operand, None where left out; refuses data there."""
        operand = self.operands[position] if position < len(self.operands) else None
        if isinstance(operand, tuple):
            raise Unsupported(f"input {position} must be a constant, not computed from the data")
        return operand

    def attr_or_input(self, name: str, position: int, default: Any = None) -> Any:
        """A value that older opsets give as an attribute and newer ones as a constant input."""
        if name in self.attributes:
            return self.attributes[name]
        value = self.constant(position)
        if value is None:
            return default
        return value.tolist() if value.ndim else value.item()


@dataclass(frozen=True)
class Reach:
    """Elementwise deviation bound: entry i of sample s moves ≤ unit[i]·scale[s] + offset[s].

    Attributes
    ----------
    unit : (n,) per-entry factors over the flattened tensor (or (1,) for one factor).
    scale, offset : (B,)
    """

    unit: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor


@dataclass(frozen=True)
class Deviation:
    """How far a tensor may be from its computed value at the sample.

    Attributes
    ----------
    size : (B,) bound on the p-norm of the difference.
    reach : elementwise bound where a layer could give a better one than ``size`` itself.
    """

    size: torch.Tensor
    reach: Reach | None = None

    def entries(self, n: int) -> Reach:
        """An elementwise bound over ``n`` entries: the reach, or the norm itself."""
        if self.reach is not None:
            return self.reach
        return Reach(self.size.new_ones(n), self.size, torch.zeros_like(self.size))

    def plus(self, error: torch.Tensor) -> Deviation:
        """The bound with an evaluation error of p-norm ≤ ``error`` (B,) on top.

        :data:`UNDERFLOW` covers what products of tiny numbers lost on the way to this bound.
        """
        error = error + UNDERFLOW
        reach = self.reach
        if reach is not None:
            reach = Reach(reach.unit, reach.scale, reach.offset + error)
        return Deviation(self.size + error, reach)


@dataclass(frozen=True)
class Site:
    """A layer's place in one evaluation: computed operands and output for a batch."""

    norm: Norm
    inputs: tuple[torch.Tensor, ...]
    output: torch.Tensor


class Remainder(Protocol):
    """What a linear part that no move changes leaves over, as a function of the moves."""

    def __call__(self, *moves: Deviation) -> torch.Tensor:
        """The remainder (K, B) of :meth:`Layer.linearise` for operands within ``moves``."""
        ...

    def take(self, rows: torch.Tensor) -> Remainder:
        """That of some samples."""
        ...


@dataclass(frozen=True)
class Proportional:
    """A remainder of ``slope`` (K, B) times how far the only operand moves."""

    slope: torch.Tensor

    def __call__(self, *moves: Deviation) -> torch.Tensor:
        return self.slope * moves[0].size

    def take(self, rows: torch.Tensor) -> Proportional:
        return Proportional(self.slope[:, rows])


class Emit(Protocol):
    """Appends nodes to a graph: where the parts of a layer go."""

    def __call__(
        self, layer: Layer, shape: tuple[int, ...] | None, *operands: int, op: str = ""
    ) -> int:
        """The position of a new node that applies ``layer`` to the nodes at ``operands``.

        ``shape`` is its value's, None for that of the node being taken apart; ``op`` what to call
        it.
        """
        ...

    def shape(self, position: int) -> tuple[int, ...]:
        """Shape of the value of a node that is there."""
        ...


Self = TypeVar("Self", bound="Layer")


@dataclass(frozen=True)
class Layer(ABC):
    """One node kind: evaluation and bounds. Immutable; caches hold derived constants only."""

    #: ONNX operator types this class can be built from.
    ops: ClassVar[tuple[str, ...]] = ()
    #: Its modulus is better with elementwise bounds on its input.
    wants_reach: ClassVar[bool] = False

    cache: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False, kw_only=True)

    @classmethod
    @abstractmethod
    def build(cls, spec: NodeSpec) -> Layer:
        """The layer for a node.

        Raises
        ------
        Unsupported
            With the reason and what would work.
        """

    @abstractmethod
    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        """Evaluate: (B, *S) operands → (B, *S') output, differentiable."""

    @abstractmethod
    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        """Deviation of the exact output, from g at the computed operands, for given input moves.

        Holds for every perturbation within ``moves``; a nan or inf there must come out as one.
        Does not include evaluation error.
        """

    @abstractmethod
    def rounding(self, site: Site) -> torch.Tensor:
        """(B,) bound on the p-norm of (computed − exact) output for the given operands."""

    @abstractmethod
    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        """(B, *S') bound on |computed − exact| output, entry by entry, of a runtime.

        For one and the same operands anywhere in the boxes, within what :mod:`arithmetic` assumes.
        inf or nan where nothing is known (operands that may overflow), None where the runtime
        computes without error.
        """

    def gain(self, norm: Norm) -> float | None:
        """Global Lipschitz constant where the modulus is exactly that constant, else None."""
        return None

    def pull_back(
        self, site: Site, cotangent: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], Remainder] | None:
        """:meth:`linearise` before the moves are known; None where the linear part needs them."""
        return None

    def linearise(
        self, site: Site, cotangent: torch.Tensor, *moves: Deviation
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor] | None:
        """Linear part and remainder of c·(g(a+q) − g(a)).

        Takes K cotangents a sample, (K, B, *S). Returns cotangents c_k (K, B, *S_k) and a
        remainder r (K, B) with |c·(g(a+q) − g(a)) − Σ c_k·q_k| ≤ r for all q within ``moves``,
        or None if this kind has no such expansion.
        """
        settled = self.pull_back(site, cotangent)
        if settled is None:
            return None
        pulled, remainder = settled
        return pulled, remainder(*moves)

    def interval(self, *boxes: Box) -> Ends:
        """Elementwise bounds (low, high) on the exact output over boxes of the exact operands."""
        raise Unsupported(f"{type(self).__name__} has no interval rule of its own")

    def relax(self, boxes: tuple[Box, ...], value: torch.Tensor) -> Relaxation:
        """Linear bounds on the deviation of the output from ``value``, over boxes of the operands.

        Only primitive layers have them; the others are made of such (:meth:`parts`).
        """
        raise Unsupported(f"{type(self).__name__} has no relaxation of its own")

    def parts(self, emit: Emit, *operands: int) -> int:
        """Append layers with a relaxation that together are this one; the result's position.

        They are equal in real arithmetic, for every operand.

        Raises
        ------
        Unsupported
            This layer is not made of such.
        """
        return emit(self, None, *operands)

    def to(self: Self, device: torch.device | str, dtype: torch.dtype) -> Self:
        """A copy whose tensors live on ``device`` with ``dtype`` (indices keep theirs).

        Cached norms belong to the float64 constants, so only a float64 copy shares them.
        """
        changes: dict[str, Any] = {"cache": self.cache if dtype is torch.float64 else {}}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, torch.Tensor):
                changes[item.name] = value.to(
                    device=device, dtype=dtype if value.is_floating_point() else value.dtype
                )
            elif isinstance(value, Layer):
                changes[item.name] = value.to(device, dtype)
        return dataclasses.replace(self, **changes)

    def in_precision(self: Self, dtype: torch.dtype) -> Self:
        """This layer with coefficients of ``dtype``, on the host; float64 is the layer itself."""
        if dtype is torch.float64:
            return self
        return self.cached(dtype, lambda: self.to("cpu", dtype))

    def cached(self, key: Any, make: Any) -> Any:
        """``make()`` once per layer and key."""
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]


def constant(value: np.ndarray | float) -> torch.Tensor:
    """A float64 tensor of a network constant, exactly; nan and inf are refused."""
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise Unsupported("a weight is NaN or infinite; export the model again from sound weights")
    return torch.tensor(array, dtype=torch.float64)


def align(x: torch.Tensor, rank: int) -> torch.Tensor:
    """Insert axes after the batch axis until the ONNX rank is ``rank`` (NumPy broadcasting)."""
    missing = rank - (x.dim() - 1)
    return x.reshape(x.shape[0], *([1] * missing), *x.shape[1:]) if missing > 0 else x


def axis_of(value: int, rank: int) -> int:
    """Tensor axis (behind the batch axis) of ONNX axis ``value`` in a rank-``rank`` shape."""
    if not -rank <= value < max(rank, 1):
        raise Unsupported(f"axis {value} is outside a rank-{rank} shape")
    return value % max(rank, 1) + 1


def norms_of(norm: Norm, cotangents: torch.Tensor) -> torch.Tensor:
    """Norm of each cotangent: (K, B, *S) → (K, B)."""
    return norm.of_rows(cotangents.flatten(0, 1)).reshape(cotangents.shape[:2])


def elementary_rounding(site: Site, ulps: float = 16.0) -> torch.Tensor:
    """Rounding of an elementwise formula whose absolute error is ≤ ulps·2⁻⁵³·(|in| + |out|)."""
    total = site.norm.of_rows(site.output)
    for x in site.inputs:
        total = total + site.norm.of_rows(x)
    return total * (ulps * UNIT)


def numel(shape: Sequence[int]) -> int:
    """Number of entries of a shape."""
    return math.prod(shape)
