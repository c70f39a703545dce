"""A folder of PNG or JPEG images with one sub-folder per class."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from boundcert.data.checks import check_size
from boundcert.data.dataset import DataSet
from boundcert.data.files import unreadable
from boundcert.errors import RefusedInput

SUFFIXES = (".png", ".jpg", ".jpeg")
CHANNELS = {"L": 1, "RGB": 3}


def read_folder(root: Path) -> DataSet:
    """Data set of ``root/CLASS/*.png``: x (N, C, H, W) in [0, 1], C 1 (grey) or 3 (RGB).

    Classes are the sub-folders' sorted names, samples are sorted by class and then by file name.
    A folder with images and no sub-folders is unlabelled.

    Raises
    ------
    RefusedInput
        There are no images, one is damaged, or they differ in size or mode.
    """
    classes = tuple(name for name, folder in _listing(root) if folder)
    flat = [root / name for name, folder in _listing(root) if not folder and _is_image(name)]
    if classes and flat:
        raise RefusedInput(
            f"{root}: has images ({flat[0].name}, ...) beside sub-folders ({classes[0]}, ...); "
            "put every image into its class's sub-folder"
        )
    paths, labels = list(flat), []
    for index, name in enumerate(classes):
        images = [root / name / n for n, folder in _listing(root / name) if not folder]
        images = [path for path in images if _is_image(path.name)]
        paths += images
        labels += [index] * len(images)
    if not paths:
        raise RefusedInput(
            f"{root}: has no {', '.join(SUFFIXES)} images; needs one sub-folder per class with "
            "the class's images in it"
        )
    y = np.array(labels, dtype=np.int64) if classes else None
    told = f"{len(classes)} classes" if classes else "unlabelled (no sub-folders)"
    source = f"{root}: {len(paths)} images by file name, divided by 255; {told}"
    return DataSet(root.resolve().name, _stack(paths), y, classes, source)


def _listing(folder: Path) -> list[tuple[str, bool]]:
    """Sorted names in ``folder`` and whether each is a folder, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries]
    except OSError as error:
        raise unreadable(folder, error) from error
    return sorted((n, d) for n, d in found if not n.startswith((".", "__MACOSX")))


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _stack(paths: list[Path]) -> np.ndarray:
    """All images in one float32 array (N, C, H, W)."""
    first = read_image(paths[0])
    check_size((len(paths), *first.shape), 4, str(paths[0].parent))
    x = np.empty((len(paths), *first.shape), dtype=np.float32)
    for i, path in enumerate(paths):
        image = first if i == 0 else read_image(path)
        if image.shape != first.shape:
            raise RefusedInput(
                f"{path}: is {_told(image)}, but {paths[0]} is {_told(first)}; "
                "all images need one size and mode"
            )
        x[i] = image
    x /= np.float32(255)
    return x


def read_image(path: Path) -> np.ndarray:
    """One image as uint8 (C, H, W)."""
    from PIL import Image  # here, so that importing boundcert.data needs no Pillow

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                if image.mode not in CHANNELS:
                    raise RefusedInput(
                        f"{path}: has mode {image.mode}; convert it to 8-bit grey (L) or RGB"
                    )
                pixels = np.asarray(image, dtype=np.uint8)
    except RefusedInput:
        raise
    except Exception as error:
        # Pillow's parsers raise OSError, SyntaxError, ValueError, struct.error and others.
        raise RefusedInput(f"{path}: is not a readable PNG or JPEG image ({error})") from error
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)


def _told(image: np.ndarray) -> str:
    channels, height, width = image.shape
    return f"{width}x{height} {'grey' if channels == 1 else 'RGB'}"
