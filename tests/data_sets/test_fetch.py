"""Downloads against a local server that misbehaves in every way we know of."""

from __future__ import annotations

import hashlib
import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_sets.makers import pixels
from data_sets.server import Behaviour, serve

from boundcert.data import transfer
from boundcert.data.catalogue import RemoteFile
from boundcert.data.fetch import fetch
from boundcert.errors import RefusedInput

BODY = pixels(300_000).tobytes()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE_S", 0.0)


@pytest.fixture
def server() -> Iterator[Behaviour]:
    with serve(Behaviour({"file": BODY})) as behaviour:
        yield behaviour


def remote(server: Behaviour, algorithm: str = "sha256", size: int = len(BODY)) -> RemoteFile:
    return RemoteFile(
        "file", server.url + "file", algorithm, hashlib.new(algorithm, BODY).hexdigest(), size
    )


def only_the_file(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.parametrize("algorithm", ("sha256", "md5"))
def test_success(server: Behaviour, algorithm: str, tmp_path: Path) -> None:
    path = fetch(remote(server, algorithm), tmp_path / "new" / "folder")
    assert path.read_bytes() == BODY and only_the_file(path.parent)


def test_broken_transfers_are_continued(server: Behaviour, tmp_path: Path) -> None:
    server.breaks = [100_000, 100_000]
    assert fetch(remote(server), tmp_path).read_bytes() == BODY
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_without_ranges_it_starts_again(server: Behaviour, tmp_path: Path) -> None:
    server.ranges, server.breaks = False, [100_000]
    assert fetch(remote(server), tmp_path).read_bytes() == BODY
    assert server.asked == [None, "bytes=100000-"]


def test_a_partial_file_stays_and_is_resumed_by_the_next_call(
    server: Behaviour, tmp_path: Path
) -> None:
    server.breaks = [50_000] * transfer.ATTEMPTS
    with pytest.raises(RefusedInput, match="broken off"):
        fetch(remote(server), tmp_path)
    assert (tmp_path / "file.part").read_bytes() == BODY[:150_000]
    assert fetch(remote(server), tmp_path).read_bytes() == BODY
    assert server.asked[-1] == "bytes=150000-" and only_the_file(tmp_path)


@pytest.mark.parametrize(
    "leftover",
    (b"something else", BODY, BODY + b"more", BODY[:-1] + b"x"),
    ids=("wrong", "complete", "too long", "complete but wrong"),
)
def test_any_leftover_ends_in_the_right_file(
    server: Behaviour, leftover: bytes, tmp_path: Path
) -> None:
    (tmp_path / "file.part").write_bytes(leftover)
    assert fetch(remote(server), tmp_path).read_bytes() == BODY
    assert only_the_file(tmp_path)
    assert leftover != BODY or server.asked == []


def test_a_wrong_checksum_leaves_nothing(server: Behaviour, tmp_path: Path) -> None:
    wanted = remote(server)
    server.files["file"] = BODY[::-1]
    with pytest.raises(RefusedInput, match=r"sha256 .* but file has .* removed"):
        fetch(wanted, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_endless_answer_is_cut(server: Behaviour, tmp_path: Path) -> None:
    server.files["file"] = bytes(2 * 2**20)
    with pytest.raises(RefusedInput, match="more than the expected"):
        fetch(remote(server, size=10), tmp_path)
    assert not (tmp_path / "file").exists()


def test_server_errors(server: Behaviour, tmp_path: Path) -> None:
    server.errors = [503]
    assert fetch(remote(server), tmp_path).read_bytes() == BODY
    server.errors = [500] * transfer.ATTEMPTS
    with pytest.raises(RefusedInput, match="500"):
        fetch(remote(server), tmp_path / "other")
    server.files.clear()
    with pytest.raises(RefusedInput, match="answers 404"):
        fetch(remote(server), tmp_path / "other")


def test_no_server_and_no_folder(tmp_path: Path) -> None:
    with serve(Behaviour({})) as gone:
        pass
    with pytest.raises(RefusedInput, match="cannot be fetched"):
        fetch(remote(gone), tmp_path)
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(RefusedInput, match="BOUNDCERT_CACHE"):
        fetch(remote(gone), tmp_path / "taken")


def test_interruption_keeps_the_part(
    server: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(url: str, part: Path, limit: int) -> None:
        part.write_bytes(BODY[:1000])
        raise KeyboardInterrupt

    monkeypatch.setattr("boundcert.data.fetch.transfer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(remote(server), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file.part"]


def test_many_threads_at_once(server: Behaviour, tmp_path: Path) -> None:
    server.breaks = [70_000] * 2  # fewer than one thread's attempts, whoever gets them
    errors: list[BaseException] = []

    def one() -> None:
        try:
            assert fetch(remote(server), tmp_path).read_bytes() == BODY
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and only_the_file(tmp_path)


def test_two_processes_at_once(server: Behaviour, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    (tmp_path / "file.part").write_bytes(BODY[:1000])
    workers = [context.Process(target=fetch, args=(remote(server), tmp_path)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "file").read_bytes() == BODY and only_the_file(tmp_path)
