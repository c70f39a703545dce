"""What the checker may know of: nothing that finds radii."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import boundcert.checker

FOLDER = Path(boundcert.checker.__file__).parent
ALLOWED = ("boundcert.checker", "numpy", "onnx", *sys.stdlib_module_names)


def test_it_imports_nothing_that_finds_radii() -> None:
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert any(name == a or name.startswith(a + ".") for a in ALLOWED), (path, name)


def test_importing_it_imports_no_torch() -> None:
    code = (
        "import sys, boundcert.checker; print([m for m in ('torch', 'numba') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
