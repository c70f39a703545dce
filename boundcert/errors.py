"""Every error that boundcert raises on purpose, and the exit code each one ends a command with.

A message says what was found, where (file, node, shape), and what would work.
"""

from __future__ import annotations


class BoundcertError(Exception):
    """Base of all of boundcert's own errors."""

    exit_code = 1


class RefusedInput(BoundcertError):
    """A model, data file or value that cannot be used as it is (exit code 1)."""

    exit_code = 1


class UnsupportedModel(RefusedInput):
    """A well-formed model with nodes that boundcert cannot bound (exit code 1)."""


class UsageError(BoundcertError):
    """A call or command line that contradicts itself (exit code 2)."""

    exit_code = 2


class ViolatedCertificate(BoundcertError):
    """A confirmed attack below a certified radius: a bug in boundcert (exit code 3)."""

    exit_code = 3
