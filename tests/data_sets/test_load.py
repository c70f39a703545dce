"""What ``load_data`` makes of a spec before it opens anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from data_sets.makers import npz_bytes, pixels

from boundcert.data import load_data
from boundcert.errors import RefusedInput, UsageError


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(RefusedInput, match="did you mean fashion-mnist"):
        load_data("FashionMNIST")
    with pytest.raises(RefusedInput, match="digits, mnist"):
        load_data("nowhere/file.npz")


@pytest.mark.parametrize("spec", ("", "a\0b", "x" * 5000, "~nobody-of-that-name/x.npz"))
def test_impossible_paths(spec: str) -> None:
    with pytest.raises(RefusedInput):
        load_data(spec)


def test_unknown_suffix(tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_bytes(b"")
    with pytest.raises(RefusedInput, match=r"ends in '.mat'"):
        load_data(str(tmp_path / "x.mat"))


def test_random_needs_a_shape() -> None:
    with pytest.raises(UsageError, match="random_inputs"):
        load_data("random:10:0:1")


def test_a_path_object_and_a_file_called_like_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.npz").write_bytes(npz_bytes(x=pixels(2, 2)))
    assert load_data(tmp_path / "x.npz").x.shape == (2, 2)
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert len(load_data("digits")) == 500
    with pytest.raises(RefusedInput, match="sub-folder"):
        load_data("./digits")


def test_importing_is_light() -> None:
    code = "import sys, boundcert.data; print(sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split("'"))
    assert "boundcert.data.load" in loaded
    assert not loaded & {"torch", "sklearn", "PIL", "onnx", "urllib.request", "numba"}
