"""The named sets, from real files where there are any and from miniatures everywhere."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from data_sets.makers import IMAGES, LABELS, pixels, python2_batch, write_mnist

from boundcert.data import load_data, names
from boundcert.data.catalogue import SETS
from boundcert.errors import RefusedInput

REAL = ("mnist", "cifar10", "iris", "wine", "spambase")


@pytest.mark.parametrize("name", REAL)
def test_real_sets_have_their_official_shape(name: str, shared_data: Path) -> None:
    data, entry = load_data(name, shared_data, download=False), SETS[name]
    assert data.x.shape == (entry.samples, *entry.shape)
    assert data.x.dtype == np.float32
    assert data.y is not None and data.y.dtype == np.int64
    assert sorted(set(data.y.tolist())) == list(range(len(entry.classes)))
    assert data.classes == entry.classes
    assert str(shared_data) in data.source


@pytest.mark.parametrize("name", ("mnist", "iris", "wine", "spambase"))
def test_catalogue_sums_are_those_of_the_real_files(name: str, shared_data: Path) -> None:
    for remote in SETS[name].remote:
        folder = "mnist/raw" if name == "mnist" else "uci"
        data = (shared_data / folder / remote.name).read_bytes()
        assert (hashlib.new(remote.algorithm, data).hexdigest(), len(data)) == (
            remote.digest,
            remote.size,
        )


def test_real_values(shared_data: Path) -> None:
    mnist = load_data("mnist", shared_data)
    cifar = load_data("cifar10", shared_data)
    assert mnist.y is not None and mnist.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert (mnist.x.min(), mnist.x.max()) == (0, 1)
    assert cifar.y is not None and cifar.y[:5].tolist() == [3, 8, 8, 0, 6]
    # The first test image starts with the reds 158, 159, 165.
    assert (cifar.x[0, 0, 0, :3] * 255).round().tolist() == [158, 159, 165]
    spam = load_data("spambase", shared_data)
    assert spam.y is not None and spam.y.sum() == 1813


def test_digits_needs_neither_files_nor_scikit_learn() -> None:
    data = load_data("digits", download=False)
    assert data.x.shape == (500, 1, 8, 8)
    assert (data.x.min(), data.x.max()) == (0, 1)
    assert data.classes == tuple("0123456789")
    assert names()[0] == "digits"


@pytest.mark.parametrize("folder", ("MNIST/raw", "mnist/raw", "."))
def test_mnist_layouts(folder: str, tmp_path: Path) -> None:
    x, y = write_mnist(tmp_path / folder)
    data = load_data("mnist", tmp_path, download=False)
    np.testing.assert_array_equal(data.x, x[:, None].astype(np.float32) / np.float32(255))
    assert data.y is not None and data.y.tolist() == y.tolist()


def test_mnist_packed_and_unpacked_files_may_mix(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    write_mnist(raw)
    packed = raw / f"{IMAGES}.gz"
    packed.write_bytes(gzip.compress((raw / IMAGES).read_bytes()))
    (raw / IMAGES).unlink()
    data = load_data("fashion-mnist", tmp_path, download=False)
    assert len(data) == 5 and data.classes[-1] == "Ankle boot"


def test_cifar_layout(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    x = pixels(3, 3072)
    (folder / "test_batch").write_bytes(python2_batch(x, [9, 0, 1]))
    for root in (tmp_path, folder):
        data = load_data("cifar10", root, download=False)
        np.testing.assert_array_equal((data.x * 255).round(), x.reshape(3, 3, 32, 32))
        assert data.y is not None and data.y.tolist() == [9, 0, 1]


@pytest.mark.parametrize("folder", ("uci", "iris", "."))
def test_uci_layouts(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    # Versicolor is missing, yet virginica keeps index 2.
    rows = "5.1,3.5,1.4,0.2,Iris-virginica\n4.9,3.0,1.4,0.2,Iris-setosa\n\n"
    (tmp_path / folder / "iris.data").write_text(rows)
    data = load_data("iris", tmp_path, download=False)
    assert data.x.shape == (2, 4)
    assert data.y is not None and data.y.tolist() == [2, 0]


def test_wine_counts_its_classes_from_zero(tmp_path: Path) -> None:
    row = ",".join(str(i) for i in range(13))
    (tmp_path / "wine.data").write_text(f"1,{row}\n3,{row}\n")
    data = load_data("wine", tmp_path, download=False)
    assert data.y is not None and data.y.tolist() == [0, 2]
    assert data.x[0].tolist() == list(range(13))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    (
        ("iris", "1,2,3,4,5,Iris-setosa\n", "has 5 features; iris has 4"),
        ("iris", "1,2,3,4,Rose\n", "Rose"),
        ("iris", "1,2,3,4,0\n", "numbers"),
        ("iris", "1,2,x,4,Iris-setosa\n", "row 1, column 3: found 'x'"),
        ("wine", "0" + ",1" * 13 + "\n", "is -1"),
        ("spambase", "1," * 57 + "2\n", "is 2"),
        ("spambase", "", "no rows"),
    ),
)
def test_wrong_uci_files(name: str, text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.data").write_text(text)
    with pytest.raises(RefusedInput, match=told):
        load_data(name, tmp_path, download=False)


def test_absent_set_says_what_goes_where(tmp_path: Path) -> None:
    with pytest.raises(RefusedInput) as refusal:
        load_data("mnist", tmp_path, download=False)
    for part in ("t10k-images", "t10k-labels", str(tmp_path / "MNIST" / "raw"), "https://"):
        assert part in str(refusal.value)
    with pytest.raises(RefusedInput, match="not a folder"):
        load_data("mnist", tmp_path / "nowhere", download=False)


def test_labels_of_another_set_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    write_mnist(tmp_path / "other", 4)
    (tmp_path / LABELS).write_bytes((tmp_path / "other" / LABELS).read_bytes())
    with pytest.raises(RefusedInput, match=r"5 samples need \(5,\)"):
        load_data("mnist", tmp_path, download=False)
