"""``--clip``: what files and tables say of it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli.cli_helpers import Call, Files, parsed, refused

from boundcert.clip import Clip


@pytest.fixture
def data(files: Files, tmp_path: Path) -> Path:
    """Samples in [-2, 2], with entries on both ends."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-3.0, 3.0, (12, 4)).clip(-2.0, 2.0).astype(np.float32)
    np.savez(tmp_path / "cut.npz", x=x, y=np.arange(12) % 3)
    return tmp_path / "cut.npz"


def test_files_and_tables_say_so(call: Call, files: Files, data: Path) -> None:
    base = ("certify", "--method", "relax", files.model, "--data", data)
    run, *samples, summary = parsed(call(*base, "--clip", "-2,2", "--json").out)
    free, *others, _ = parsed(call(*base, "--json").out)
    assert run["clip"] == [-2.0, 2.0] and free["clip"] is None and summary["violations"] == 0
    assert all(a["lower"] >= b["lower"] * (1 - 1e-3) for a, b in zip(samples, others))
    assert any(a["lower"] > 1.1 * b["lower"] for a, b in zip(samples, others))
    table = call(*base, "--clip", "-2,2").out
    assert table.startswith("certified brackets, l2 in [-2, 2], method relax: ")
    assert "radii in the units of the data, l2, of inputs in [-2, 2] only" in table
    assert " in [" not in call(*base).out


def test_the_walk_bounds_whole_balls(call: Call, files: Files, data: Path) -> None:
    base = ("certify", "--method", "walk", files.model, "--data", data, "--attack", "none")
    with_it, without = (
        parsed(call(*base, *more, "--json").out) for more in (("--clip", "-2,2"), ())
    )
    assert with_it[1:-1] == without[1:-1] and with_it[0]["clip"] == [-2.0, 2.0]


def test_normalisation_stays_inside(call: Call, files: Files, data: Path) -> None:
    """The range is in the units of the radii: those of the data in front of mean and std."""
    base = ("certify", "--method", "relax", files.model, "--json", "--attack", "none")
    inner = np.load(data)
    np.savez(data.parent / "other.npz", x=inner["x"] * 4 - 1, y=inner["y"])
    one = parsed(call(*base, "--data", data, "--clip", "-2,2").out)[1:-1]
    scaled = ("--clip", "-9,7", "--mean", "-1", "--std", "4")
    two = parsed(call(*base, "--data", data.parent / "other.npz", *scaled).out)[1:-1]
    wanted = [4 * s["lower"] for s in one]
    assert [s["lower"] for s in two] == pytest.approx(wanted, rel=5e-3)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_attacked_points_lie_in_the_range(
    call: Call, files: Files, data: Path, monkeypatch: pytest.MonkeyPatch, norm: str
) -> None:
    from boundcert import bracketer as module

    seen, attack = [], module.run_attacks

    def watched(*args: object, **named: object):  # type: ignore[no-untyped-def]
        seen.append(attack(*args, **named))
        return seen[-1]

    monkeypatch.setattr(module, "run_attacks", watched)
    base = ("attack", files.model, "--data", data, "--norm", norm, "--json")
    run, *samples, _ = parsed(call(*base, "--clip", "-2,2", "--attack", "deepfool,fgs,fgv").out)
    assert run["clip"] == [-2.0, 2.0]
    points = np.concatenate([found.points for found in seen])
    found = [s["upper"] is not None for s in samples]
    assert sum(found) >= 3 and Clip(-2.0, 2.0).holds(points[found]).all()
    table = call(*base[:-1], "--clip", "-2,2").out
    assert table.startswith(f"attacked upper bounds, {norm} in [-2, 2]: ")


def test_a_range_of_another_run_is_refused(
    call: Call, files: Files, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.jsonl"
    base = ("certify", "--method", "walk", files.model, "--data", data, "--attack", "none")
    assert call(*base, "--clip", "-2,2", "--out", out).code == 0
    again = (*base, "--out", out, "--resume")
    assert "already complete" in call(*again, "--clip", "-2,2").err
    refused(call(*again), 1, "another run", "clip: -2.0,2.0, not none")
    refused(call(*again, "--clip", "-3,2"), 1, "another run", "clip: -2.0,2.0, not -3.0,2.0")
    assert json.loads(out.read_text().splitlines()[0])["clip"] == [-2.0, 2.0]


@pytest.mark.parametrize("command", ["certify", "attack"])
def test_samples_outside_are_refused(call: Call, files: Files, command: str) -> None:
    base = (command, files.model, "--data", files.data, "--clip", "0,1")
    refused(call(*base), 1, "sample 0 has the value", "[0, 1]", "any range that holds it works")
    least = repr(float(np.load(files.data)["x"][[7, 2]].min()))
    refused(call(*base, "--indices", "7,2"), 1, "sample 7 has the value", least)


@pytest.mark.parametrize("text", ["1,0", "0,0", "0", "a,b", "0,inf", "0,1,2", "nan,1"])
def test_what_is_no_range_is_refused(call: Call, files: Files, text: str) -> None:
    refused(call("certify", files.model, "--data", files.data, "--clip", text), 2, "clip")
