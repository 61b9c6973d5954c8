"""Memory that was freed goes back to the system."""

import os
import sys

import numpy as np
import pytest

from djx.core import give_memory_back


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="tells of Linux' C library")
def test_freed_pieces_go_back():
    # Small enough for the heap. Every second one is kept, so that its end is not free.
    pieces = [np.ones(8_000) for _ in range(4_000)]
    kept = pieces[::2]
    full = resident()
    del pieces
    give_memory_back()
    assert resident() < full - 60e6
    assert len(kept) == 2_000


def test_it_may_be_called_at_any_time():
    give_memory_back()
    give_memory_back()
