"""Data sets to certify on: by name, from a file or folder, or drawn at random.

Public: :func:`load_data`, :func:`names`, :class:`DataSet`, :func:`random_inputs`,
:func:`parse_random`, :func:`fit_shape`, :func:`inventory`, :func:`describe`, :func:`download`.
"""

from boundcert.data.catalogue import names
from boundcert.data.dataset import DataSet
from boundcert.data.fit import fit_shape
from boundcert.data.load import load_data
from boundcert.data.obtain import download
from boundcert.data.random import parse_random, random_inputs
from boundcert.data.records import Record, describe, inventory

__all__ = [
    "DataSet",
    "Record",
    "describe",
    "download",
    "fit_shape",
    "inventory",
    "load_data",
    "names",
    "parse_random",
    "random_inputs",
]
