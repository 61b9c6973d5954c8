"""A loop of C++, compiled for this core, and the limit: its halves by themselves."""

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from .. import brain_problems as problems
from ..harness import Numbers, Run


SOURCE = Path(__file__).with_name("brain_native.cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
WIDE = "-mprefer-vector-width=512"  # where the compiler knows it
BURST = 1000  # steps of states alone: without input, conductances would soon underflow


WHOLE, REAL = ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_float)
ARRAYS = {
    "rows": WHOLE,
    "targets": WHOLE,
    "v": REAL,
    "excitation": REAL,
    "inhibition": REAL,
    "left": WHOLE,
}


class Network(ctypes.Structure):
    """As in the source."""

    _fields_ = [
        ("cells", ctypes.c_int),
        ("excitatory", ctypes.c_int),
        *ARRAYS.items(),
    ]


def library() -> ctypes.CDLL:
    """The compiled source.

    Raises:
        RuntimeError: where there is no compiler.
    """
    compiler = shutil.which("c++")
    if compiler is None:
        raise RuntimeError("the race of networks needs a C++ compiler, named c++")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "native.so"
        command = [compiler, *FLAGS, SOURCE, "-o", out]
        if subprocess.run([*command, WIDE], stderr=subprocess.DEVNULL).returncode:
            subprocess.run(command, check=True)
        compiled = ctypes.CDLL(str(out))
    compiled.simulate.restype = ctypes.c_long
    return compiled


class Native:
    """The network, from its start as often as wanted."""

    def __init__(self, method: str, cells: int):
        self.euler, self.cells = method == "euler", cells
        with problems.Clock() as clock:
            self.edges = problems.random_edges(cells)
        self.build = clock.wall
        with problems.Clock() as clock:
            self.library = library()
        self.compile = clock.wall
        self.sent = np.zeros(100 * cells, np.int32)
        self.ends = np.zeros(problems.SECOND, np.int64)

    def start(self) -> Network:
        """At rest; keeps the arrays."""
        cells = self.cells
        self.arrays = {
            "rows": self.edges.rows,
            "targets": self.edges.targets,
            "v": problems.voltages_mv(cells),
            "excitation": np.zeros(cells, np.float32),
            "inhibition": np.zeros(cells, np.float32),
            "left": np.zeros(cells, np.int32),
        }
        pointers = [self.arrays[k].ctypes.data_as(kind) for k, kind in ARRAYS.items()]
        return Network(cells, problems.excitatory(cells), *pointers)

    def simulate(self, network: Network) -> int:
        """A second; how many spikes."""
        count = self.library.simulate(
            ctypes.c_bool(self.euler),
            network,
            problems.SECOND,
            self.sent.ctypes,
            ctypes.c_long(len(self.sent)),
            self.ends.ctypes,
        )
        assert count >= 0, "more than 100 Hz"
        return count


def setup(method: str, cells: str) -> Run:
    """`setup` of the whole.

    Args:
        method: "exponential" or "euler".
        cells: how many.

    Returns:
        One turn: a second from the start.
    """
    native = Native(method, int(cells))
    told = {"build": native.build, "compile": native.compile}

    def turn() -> Numbers:
        network = native.start()
        count, took = problems.timed(lambda: native.simulate(network))
        times = np.searchsorted(native.ends, np.arange(count), side="right")
        rate = problems.rate_hz(count, native.cells)
        cv = problems.variation(native.sent[:count], times)
        return took | told | {"rate": rate, "CV": cv}

    return turn


def floor(method: str, cells: str) -> Run:
    """`setup` of the limit: states alone, then the same spikes alone.

    Args:
        method: "exponential" or "euler".
        cells: how many.

    Returns:
        One turn: the sum of both, and each.
    """
    native = Native(method, int(cells))
    network = native.start()
    count = native.simulate(network)
    after = {name: array.copy() for name, array in native.arrays.items()}
    euler, long = ctypes.c_bool(native.euler), ctypes.c_long

    def states() -> dict[str, float]:
        total = {"wall": 0.0, "cpu": 0.0}
        for _ in range(problems.SECOND // BURST):
            for name, array in after.items():
                native.arrays[name][:] = array
            _, took = problems.timed(
                lambda: native.library.states_alone(euler, network, BURST)
            )
            total = {name: total[name] + took[name] for name in total}
        return total

    def turn() -> Numbers:
        state = states()
        _, events = problems.timed(
            lambda: native.library.events_alone(
                network, native.sent.ctypes, long(count)
            )
        )
        both = {name: state[name] + events[name] for name in state}
        return both | {"states": state["cpu"], "events": events["cpu"]}

    return turn
