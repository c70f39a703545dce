"""The wheel holds everything, the kernels among it, and importing costs nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"  # setuptools leaves a build folder beside the sources it reads
    skip = shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__", ".venv", "tests")
    shutil.copytree(ROOT, source, ignore=skip)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


def run_in(folder: Path, code: str) -> str:
    """Run code in a fresh interpreter that sees the folder before anything installed."""
    script = f"import sys; sys.path.insert(0, {str(folder)!r}); {code}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_wheel_imports_the_kernels(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import boundcert.kernels as k; from boundcert.demo import model_path; "
        "print(k.__file__, k.backend('cpu').fold.__module__, model_path().is_file())"
    )
    place, backend, found = run_in(tmp_path, code).split()
    assert Path(place).is_relative_to(tmp_path)
    assert backend == "boundcert.kernels.rows_cpu" and found == "True"


def test_every_package_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for module in (ROOT / "boundcert").rglob("*.py"):
        assert module.relative_to(ROOT).as_posix() in names
    for module in (ROOT / "kernels").rglob("*.py"):
        assert "boundcert/kernels/" + module.relative_to(ROOT / "kernels").as_posix() in names
    assert {
        "boundcert/py.typed",
        "boundcert/demo/digits.onnx",
        "boundcert/demo/digits.npz",
    } <= names


def test_import_is_light() -> None:
    code = (
        "import sys, boundcert, boundcert.cli.main; "
        "heavy = {'torch', 'numba', 'onnx', 'onnxruntime', 'onnxscript'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_imports_run_one_way() -> None:
    """kernels → layers → network → bounds → … → cli; nothing below knows what stands above."""
    order = ["kernels", "layers", "network", "bounds", "attacks", "certificates", "data", "checker"]
    order.append("cli")
    alone = {name: {name} for name in ("attacks", "certificates", "checker")}
    allowed = {**alone, "data": {"data", "demo"}}
    for place, package in enumerate(order):
        folder = ROOT / ("kernels" if package == "kernels" else f"boundcert/{package}")
        below = allowed.get(package, set(order[: place + 1]) | {"demo"})
        for module in folder.rglob("*.py"):
            for line in module.read_text().splitlines():
                words = line.split()
                if len(words) > 1 and words[0] in ("from", "import"):
                    parts = words[1].split(".")
                    if parts[0] == "boundcert" and len(parts) > 1 and parts[1] in order:
                        assert parts[1] in below, f"{module.relative_to(ROOT)}: {line.strip()}"
