"""Folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_sets.makers import image_bytes, pixels, write_images

from boundcert.data import load_data
from boundcert.errors import RefusedInput

GREY, COLOUR = pixels(6, 4), pixels(6, 4, 3)


def test_classes_and_order(tmp_path: Path) -> None:
    other = pixels(6, 4, seed=1)
    root = write_images(tmp_path, {"dog/b.png": GREY, "dog/a.png": other, "cat/z.PNG": GREY[::-1]})
    (root / "dog" / "notes.txt").write_text("ignored")
    (root / ".hidden").mkdir()
    data = load_data(str(root))
    assert data.classes == ("cat", "dog")
    assert data.y is not None and data.y.tolist() == [0, 1, 1]
    assert data.x.shape == (3, 1, 6, 4) and data.x.dtype == np.float32
    np.testing.assert_array_equal((data.x[1:] * 255).round(), np.stack([other, GREY])[:, None])


def test_colour_is_channel_first(tmp_path: Path) -> None:
    data = load_data(str(write_images(tmp_path, {"a/1.png": COLOUR, "b/2.jpg": COLOUR})))
    np.testing.assert_array_equal((data.x[0] * 255).round(), COLOUR.transpose(2, 0, 1))
    assert data.x.shape == (2, 3, 6, 4)


def test_flat_folder_is_unlabelled(tmp_path: Path) -> None:
    data = load_data(str(write_images(tmp_path, {"1.png": GREY})))
    assert data.y is None and data.classes == () and "unlabelled" in data.source


@pytest.mark.parametrize(
    ("images", "told"),
    (
        ({"a/1.png": GREY, "a/2.png": GREY[:5]}, "2.png: is 4x5 grey, but .*1.png is 4x6 grey"),
        ({"a/1.png": GREY, "a/2.png": COLOUR}, "is 4x6 RGB, but"),
        ({"a/1.png": pixels(6, 4, 4)}, "mode RGBA"),
        ({"a/1.png": GREY, "2.png": GREY}, "beside sub-folders"),
    ),
)
def test_wrong_folders(images: dict[str, np.ndarray], told: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match=told):
        load_data(str(write_images(tmp_path, images)))


def test_empty_and_damaged(tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match="one sub-folder per class"):
        load_data(str(tmp_path))
    (tmp_path / "a").mkdir()
    with pytest.raises(RefusedInput, match=r"has no \.png"):
        load_data(str(tmp_path))
    for data in (b"", b"not an image", image_bytes(GREY)[:40], image_bytes(COLOUR, "GIF")):
        (tmp_path / "a" / "1.png").write_bytes(data)
        with pytest.raises(RefusedInput, match=r"1\.png: is not a readable"):
            load_data(str(tmp_path))
