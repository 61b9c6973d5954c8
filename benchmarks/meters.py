"""What a process and its machine have used. Standard library only."""

import os
import resource
import sys
from pathlib import Path


def peak_mib() -> float:
    """High-water mark of this process's resident memory since it started, in MiB.

    `ru_maxrss`, except on Linux: there a child process inherits that number from its
    parent, and the kernel's VmHWM is the same mark without the inheritance.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 1024
    mark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return mark / 2**20 if sys.platform == "darwin" else mark / 1024


def children_seconds() -> float:
    """CPU seconds of processes that this one started, and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def busy_seconds() -> float:
    """CPU seconds that the whole machine has worked; 0 where it does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    fields = [int(x) for x in stat.read_text().split("\n", 1)[0].split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")
