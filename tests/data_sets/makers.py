"""Miniature files in the formats that boundcert reads."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_mnist(folder: Path, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    x, y = pixels(count, 28, 28), np.arange(count, dtype=np.uint8) % 10
    (folder / IMAGES).write_bytes(idx_bytes(x))
    (folder / LABELS).write_bytes(idx_bytes(y))
    return x, y


def python2_batch(data: np.ndarray, labels: list[int]) -> bytes:
    """The pickle that Python 2 wrote: byte strings, protocol 2, opcode by opcode."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    shape = b"".join(b"J" + struct.pack("<i", extent) for extent in data.shape)
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b")
    array += b"\x87R(K\x01" + shape + b"\x86" + dtype
    array += b"\x89T" + struct.pack("<i", data.size) + data.tobytes() + b"tb"
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    fields = text(b"labels") + b"](" + numbers + b"e" + text(b"data") + array
    return b"\x80\x02}(" + fields + b"u."


def npz_bytes(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def image_bytes(array: np.ndarray, kind: str = "PNG") -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def write_images(root: Path, images: dict[str, np.ndarray]) -> Path:
    """``images`` maps a path such as ``cat/1.png`` to (H, W) or (H, W, 3) uint8."""
    for name, array in images.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(array, "PNG" if name.endswith("png") else "JPEG"))
    return root
