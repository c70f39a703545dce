"""``--semantics``: which network is certified, what files and tables say of it."""

from __future__ import annotations

from cli.cli_helpers import Call, Files, parsed, refused, walk


def test_files_and_tables_say_so(call: Call, files: Files) -> None:
    base = (*walk(files), "--attack", "none")
    deployed, *here, _ = parsed(call(*base, "--json").out)
    exact, *there, _ = parsed(call(*base, "--json", "--semantics", "exact").out)
    assert deployed["semantics"] == "deployed" and exact["semantics"] == "exact"
    assert all(0 < a["lower"] < b["lower"] for a, b in zip(here, there))
    assert "exact arithmetic" in call(*base, "--semantics", "exact").out
    assert "exact arithmetic" not in call(*base).out


def test_unknown_semantics_are_refused(call: Call, files: Files) -> None:
    found = call(*walk(files), "--semantics", "float")
    refused(found, 2, "semantics 'float' is unknown; use deployed or exact")


def test_a_file_goes_on_with_the_same_semantics_only(call: Call, files: Files, tmp_path) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "r.jsonl"
    base = (*walk(files), "--attack", "none", "--out", out)
    assert call(*base).code == 0
    assert call(*base, "--resume").code == 0
    refused(call(*base, "--resume", "--semantics", "exact"), 1, "semantics")
