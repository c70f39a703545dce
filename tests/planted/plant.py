"""Plants a bug: a few words of a function's source replaced, or a kernel's result spoilt."""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from boundcert.kernels import backend


@dataclass(frozen=True)
class Bug:
    """An unsound change of one function.

    Attributes
    ----------
    where : ``module:name``, as the code that calls it knows it (or ``kernel:name``).
    old, new : words of its source, once in it, and what stands there instead.
    spoil : for a kernel: what its result is turned into.
    hunts : names of the hunts that are to find it.
    """

    name: str
    where: str
    hunts: tuple[str, ...]
    old: str = ""
    new: str = ""
    spoil: Callable[[Any], Any] | None = None

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        """Put it into the running code, until the patch is undone."""
        where, path = self.where.split(":")
        if where == "kernel":
            kernel, spoil = getattr(backend(), path), self.spoil
            assert spoil is not None
            patch.setattr(backend(), path, lambda *args: spoil(kernel(*args)))
            return
        *outer, name = path.split(".")
        owner: Any = importlib.import_module(f"boundcert.{where}")
        for part in outer:
            owner = getattr(owner, part)
        patch.setattr(owner, name, self._rewritten(owner, name))

    def _rewritten(self, owner: Any, name: str) -> Any:
        found = inspect.getattr_static(owner, name)
        for wrapped in ("__func__", "fget", "func"):
            found = getattr(found, wrapped, found)
        source = textwrap.dedent(inspect.getsource(found))
        assert source.count(self.old) == 1, (self.where, source.count(self.old))
        flags = __future__.annotations.compiler_flag
        code = compile(source.replace(self.old, self.new), self.where, "exec", flags=flags)
        names = dict(found.__globals__)
        exec(code, names)
        made = names[found.__name__]
        if hasattr(made, "__set_name__"):
            made.__set_name__(owner, name)
        return made
