"""The floating-point arithmetic that a runtime evaluates a network in, and what is assumed of it.

A certificate for the *deployed* network is about every function that a runtime may compute within
these assumptions, not about one runtime:

1. Sums, products, quotients and square roots are those of IEEE 754 in the network's precision, or
   better (fused multiply-add, wider accumulators), rounded to nearest.
2. A sum or inner product may be taken in any order, in any grouping, with any number of
   accumulators; its products are those of the model's weights and the operands. So no Winograd or
   FFT convolution, and no arithmetic of fewer bits (TF32, bfloat16) than the model's own.
3. Constants may be folded, and affine nodes be fused with affine nodes next to them (bias,
   batch normalisation, scaling, sums): coefficients made that way are off by at most
   :data:`FUSED` roundings, may be flushed to 0, and so may what is added to them; one accumulator
   may take the terms of all nodes of a connected run. Nodes are not replaced by formulas that
   cancel: a runtime that takes the nodes of a layer normalisation together and computes the
   variance as a difference of squares is outside of this (onnxruntime may; switch that off).
4. Results below the smallest normal number may be flushed to 0, or be gradual.
5. Library functions are as accurate as the layer kinds say (:mod:`activation_table`).
6. What is done to the data in front of the model (rounding to its type, flushing, normalisation)
   is done in the same arithmetic.
7. A softmax subtracts the largest logit first. The class is that of the model's own output, whose
   rounding :mod:`boundcert.network.heads` bounds.

What the runtimes at hand do with each kind of layer is compared with its bound by
``tests/layers/test_runtime_error.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

#: Roundings that fusing nodes may add to a coefficient, or to what is added up.
FUSED = 16


@dataclass(frozen=True)
class Arithmetic:
    """One precision.

    Attributes
    ----------
    name : NumPy's name of the type (or ``bfloat16``).
    unit : unit roundoff u: fl(a∘b) = (a∘b)(1 + δ), |δ| ≤ u.
    tiny : the smallest normal number: a result smaller than that may lose as much.
    largest : magnitudes that a runtime reaches without overflow, with room to spare.
    fused : roundings that fusing nodes may add. Where affine nodes and sums follow one another,
        what is added in one of them may go through the sums of all (a bias that an accumulator
        starts with): then :data:`FUSED` and the terms that the others sum, along any path.
    """

    name: str
    unit: float
    tiny: float
    largest: float
    fused: int = FUSED

    def beside(self, terms: int) -> Arithmetic:
        """The same for a node next to which affine nodes sum so many terms, along any path."""
        return replace(self, fused=FUSED + terms)

    def gamma(self, terms: int) -> float:
        """γ_n = nu/(1 − nu), rounded up: the relative error of n roundings (Higham 2002, §3.1).

        inf where n is so large that nothing is known.
        """
        part = terms * self.unit
        return part / (1 - part) * (1 + 1e-15) if part < 0.25 else math.inf


FLOAT64 = Arithmetic("float64", 2.0**-53, 2.0**-1022, 2.0**1020)
FLOAT32 = Arithmetic("float32", 2.0**-24, 2.0**-126, 2.0**126)
FLOAT16 = Arithmetic("float16", 2.0**-11, 2.0**-14, 2.0**14)
BFLOAT16 = Arithmetic("bfloat16", 2.0**-8, 2.0**-126, 2.0**126)

#: By ONNX element type.
BY_CODE = {1: FLOAT32, 10: FLOAT16, 11: FLOAT64, 16: BFLOAT16}
BY_NAME = {kind.name: kind for kind in BY_CODE.values()}
