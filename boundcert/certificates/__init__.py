"""Records of a run, as JSON lines: one ``run``, a ``sample`` each, one ``summary``.

Public: :class:`Run`, :class:`Sample`, :class:`LayerCost`, :class:`Summary`, :func:`to_line`,
:func:`from_line`, :func:`read`, :class:`Contents`, :class:`Writer`, :func:`open_store`,
:func:`same_run`, :func:`summarise`, :func:`save_reproducer`, and what can be asked for:
:class:`Request`, :class:`ModelOptions`.
"""

from boundcert.certificates.compare import same_run
from boundcert.certificates.lines import Record, from_line, to_line
from boundcert.certificates.reader import Contents, read
from boundcert.certificates.records import LayerCost, Run, Sample, Summary
from boundcert.certificates.reproducer import save_reproducer
from boundcert.certificates.request import ModelOptions, Request
from boundcert.certificates.store import check_target, open_store
from boundcert.certificates.summary import summarise
from boundcert.certificates.writer import Writer

__all__ = [
    "Contents",
    "LayerCost",
    "ModelOptions",
    "Record",
    "Request",
    "Run",
    "Sample",
    "Summary",
    "Writer",
    "check_target",
    "from_line",
    "open_store",
    "read",
    "same_run",
    "save_reproducer",
    "summarise",
    "to_line",
]
