"""Certificates, and the program that proves them again.

The checker shares no code with what finds radii: it reads the model by itself, and needs NumPy and
``onnx`` only. Public: :class:`Certificate`, :class:`Reading`, :func:`encode`, :func:`decode`,
:func:`sample_hash`, :class:`Checker`, :class:`NotUnderstood`.
"""

from boundcert.checker.certificate import Certificate, Reading, decode, encode, sample_hash
from boundcert.checker.nodes import NotUnderstood
from boundcert.checker.verify import Checker

__all__ = [
    "Certificate",
    "Checker",
    "NotUnderstood",
    "Reading",
    "decode",
    "encode",
    "sample_hash",
]
