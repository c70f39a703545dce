"""User tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from boundcert.data import DataSet, load_data
from boundcert.errors import RefusedInput, UsageError


def load(tmp_path: Path, text: str | bytes, label: str = "") -> DataSet:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_data(f"{path}{label}")


@pytest.mark.parametrize(
    ("text", "label"),
    (
        ("1,2,0\n3,4,1\n", ""),
        ("a,b,y\n1,2,0\n3,4,1\n", ""),
        ("\ufeffa;b;y\r\n1;2;0\r\n\r\n3;4;1", ""),
        ("0\t1\ty\n1\t2\t0\n3\t4\t1\n", ""),  # numbers as column names, as pandas writes them
        ("y,a,b\n0,1,2\n1,3,4\n", "#label=y"),
        ("0,1,2\n1,3,4\n", "#label=0"),
        ("1,0,2\n3,1,4\n", "#label=-2"),
        ("0,1,y\n1,2,0\n3,4,1\n", "#label=y"),
    ),
)
def test_same_table_in_many_spellings(text: str, label: str, tmp_path: Path) -> None:
    data = load(tmp_path, text, label)
    assert data.x.tolist() == [[1, 2], [3, 4]]
    assert data.y is not None and data.y.tolist() == [0, 1]
    assert data.name == "table"


def test_names_become_sorted_classes(tmp_path: Path) -> None:
    data = load(tmp_path, "1,2,dog\n3,4,'cat'\n5,6,dog\n".replace("'", '"'))
    assert data.classes == ("cat", "dog")
    assert data.y is not None and data.y.tolist() == [1, 0, 1]


def test_unlabelled(tmp_path: Path) -> None:
    data = load(tmp_path, "1,2\n3,4\n", "#label=none")
    assert data.x.shape == (2, 2) and data.y is None
    assert load(tmp_path, "1\n2\n", "#label=none").x.shape == (2, 1)


@pytest.mark.parametrize(
    ("text", "label", "told"),
    (
        ("1,2,0\n3,oops,1\n", "", "row 2, column 2: found 'oops'"),
        ("a,b,y\n1,2,0\n\n3,,1\n", "", r"row 4, column 2 \(b\): found nothing"),
        ("1,2,0\n3,nan,1\n", "", "row 2, column 2: found 'nan'"),
        ("1,-inf,0\n3,4,1\n", "", "row 1, column 2: found '-inf'"),
        ("1,?,0\n3,4,1\n", "", r"row 1, column 2: found '\?'"),
        ("1e300,2,0\n", "", "beyond float32"),
        ("1,2,0\n3,4\n", "", "row 2 has 2 columns; the first row has 3"),
        ("1,2,0\n3,4,1.5\n", "", "is 1.5"),
        ("1,2,0\n3,4,-1\n", "", "is -1"),
        ("1,2,0\n3,4,\n", "", "empty"),
        ("1,2,oops\n3,4,1\n5,6,0\n", "", "mix numbers and names"),
        ("1,2,a\n3,4,1\n5,6,b\n", "", "mix numbers and names"),
        ("", "", "no rows"),
        ("a,b,y\n", "", "no rows of numbers"),
        ("1\n2\n", "", "one column"),
        ("a,b,y\n1,2,0\n", "#label=z", "no label column 'z'; its first row is a, b, y"),
        ("1,2,cat\n3,4,dog\n", "#label=cat", "no label column 'cat'"),
        ("1,2,0\n", "#label=3", "counts from 0 to 2"),
        (b"1,2,\xff\n", "", "UTF-8"),
        (b"1,2,\x00\n3,4,5", "", "NUL"),
        ('1,2,"0\n3,4,1\n', "", "delimited"),
    ),
)
def test_wrong_tables(text: str | bytes, label: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match=told) as refusal:
        load(tmp_path, text, label)
    assert "table.csv" in str(refusal.value)


def test_label_without_a_column_or_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name a column"):
        load(tmp_path, "1,2\n", "#label=")
    with pytest.raises(UsageError, match=r"\.csv"):
        load_data("mine.npz#label=y")
