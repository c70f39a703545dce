"""How many samples fit in memory at once."""

from __future__ import annotations

import os
import sys

from boundcert.bounds.backward import BLOCK_BYTES
from boundcert.layers.base import numel
from boundcert.network.graph import Network

#: Numbers that a frame keeps for an entry of a value: its box, point, lines, forms, errors, masks.
NUMBERS = 26
#: Blocks of rows that are alive at once in a backward pass.
BLOCKS = 8
#: Share of the free memory that is used where nothing else is said.
SHARE = 0.5
#: Share of that for what one frame leaves the next, and the most bytes.
KEPT, MOST_KEPT = 0.05, 2**28


def kept_bytes(memory: int | None) -> int:
    """What frames may leave behind for the next, of ``memory`` bytes (None: half of the free)."""
    return int(min(KEPT * _limit(memory), MOST_KEPT))


def batch_size(network: Network, memory: int | None) -> int:
    """Samples whose frames fit ``memory`` bytes (None: half of what is free); 0 if not even one."""
    limit = _limit(memory) - kept_bytes(memory)
    one = 8 * NUMBERS * sum(numel(node.shape) for node in network.nodes)
    largest = max(numel(node.shape) for node in network.nodes)
    fixed = BLOCKS * max(BLOCK_BYTES, 16 * 8 * largest)
    return max(0, int((limit - fixed) // one))


def _limit(memory: int | None) -> float:
    return free_bytes() * SHARE if memory is None else float(memory)


def peak_bytes() -> int | None:
    """The most memory that this process has had so far, in bytes; None where nothing tells."""
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_bytes() -> int:
    """Memory that is free on this machine, in bytes."""
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 * 2**30
