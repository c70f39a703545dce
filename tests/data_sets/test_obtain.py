"""Named sets that have to be downloaded first, and the inventory of what is there."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from data_sets.makers import IMAGES, LABELS, idx_bytes, pixels, python2_batch
from data_sets.server import Behaviour, serve

from boundcert.data import describe, download, inventory, load_data, names, transfer
from boundcert.data.catalogue import SETS
from boundcert.errors import RefusedInput, UsageError

BATCH = python2_batch(pixels(2, 3072), [3, 4])


def archive(member: str = "cifar-10-batches-py/test_batch", data: bytes = BATCH) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(member)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def point_at(monkeypatch: pytest.MonkeyPatch, name: str, server: Behaviour) -> None:
    """Let the set's downloads come from ``server``, with the sums of what that serves."""
    entry = SETS[name]
    remote = tuple(
        replace(
            file,
            url=server.url + file.name,
            digest=hashlib.new(file.algorithm, server.files.get(file.name, b"")).hexdigest(),
            member_digest=hashlib.sha256(BATCH).hexdigest(),
        )
        for file in entry.remote
    )
    monkeypatch.setitem(SETS, name, replace(entry, remote=remote))
    monkeypatch.setattr(transfer, "PAUSE_S", 0.0)


def mnist_files() -> dict[str, bytes]:
    return {
        f"{IMAGES}.gz": gzip.compress(idx_bytes(pixels(3, 28, 28))),
        f"{LABELS}.gz": gzip.compress(idx_bytes(pixels(3) % 10)),
    }


def test_load_downloads_once(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    with serve(Behaviour(mnist_files())) as server:
        point_at(monkeypatch, "mnist", server)
        assert describe("mnist").where == "not downloaded"
        assert load_data("mnist").x.shape == (3, 1, 28, 28)
        assert len(server.asked) == 2
    assert len(load_data("mnist", download=False)) == 3
    assert describe("mnist").where == str(own_cache / "MNIST" / "raw")
    assert describe("mnist").bytes == sum(map(len, mnist_files().values()))


def test_of_the_archive_only_the_batch_is_kept(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    with serve(Behaviour({"cifar-10-python.tar.gz": archive()})) as server:
        point_at(monkeypatch, "cifar10", server)
        paths = download("cifar10")
    assert [path.name for path in (own_cache / "cifar-10-batches-py").iterdir()] == ["test_batch"]
    assert paths[0].read_bytes() == BATCH == download("cifar10")[0].read_bytes()
    assert len(load_data("cifar10", download=False)) == 2


@pytest.mark.parametrize(
    ("data", "told"),
    (
        (archive("../test_batch"), "not in the archive"),
        (archive(data=BATCH[:-1]), "wrong SHA-256"),
        (archive()[:100], "damaged"),
        (b"no archive", "damaged|cannot be read"),
    ),
)
def test_wrong_archives(
    data: bytes, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serve(Behaviour({"cifar-10-python.tar.gz": data})) as server:
        point_at(monkeypatch, "cifar10", server)
        with pytest.raises(RefusedInput, match=told):
            load_data("cifar10")
    assert not list(tmp_path.rglob("test_batch"))


def test_an_absent_server_says_what_goes_where(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    with serve(Behaviour({})) as server:
        point_at(monkeypatch, "spambase", server)
    with pytest.raises(RefusedInput) as refusal:
        load_data("spambase")
    for part in ("cannot be downloaded", "by hand", "spambase.data", str(own_cache / "uci")):
        assert part in str(refusal.value)


def test_inventory_lists_every_set(shared_data: Path) -> None:
    records = inventory(shared_data)
    assert tuple(record.name for record in records) == names()
    there = {record.name: record for record in records}
    assert there["digits"].where == "shipped with boundcert" and there["digits"].bytes < 100_000
    assert there["cifar10"].bytes == 31_035_526
    assert there["fashion-mnist"].where == "not downloaded"
    assert there["wine"].shape == (13,) and there["wine"].samples == 178


def test_unknown_names() -> None:
    for call in (download, describe):
        with pytest.raises(UsageError, match="digits, mnist"):
            call("imagenet")
    assert download("digits")[0].name == "digits.npz"
