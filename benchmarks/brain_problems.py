"""What the races of spiking networks simulate: the same edges and voltages for all.

Benchmark 1 of Brette et al. 2007, with a constant current and closed synapses at first:
20 ms v' = -60 - v + 20 + g_e (0 - v) + g_i (-80 - v), in units of the leak; threshold
-50 mV, reset -60 mV, 5 ms refractory. Standard library and NumPy only at import, for
workers in other environments.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


FAN_IN = 80  # synapses of a cell on average, a fifth of them inhibitory
DT_MS = 0.1
SECOND = 10_000  # steps

TAU_MS, REFRACTORY_MS = 20.0, 5.0
REST_MV, RESET_MV, THRESHOLD_MV, DRIVE_MV = -60.0, -60.0, -50.0, 20.0
EXCITES_MV, INHIBITS_MV = 0.0, -80.0
EXCITATION_MS, INHIBITION_MS = 5.0, 10.0
EXCITATION, INHIBITION = 0.6, 6.7  # of the leak's conductance
LEAK_NS, C_PF = 10.0, 200.0

# Of gradients: 100 ms, and a triangle of this height, per mV, around the threshold.
SMALL, GRADIENT_STEPS, WIDTH_MV, HEIGHT = 4000, 1000, 1.0, 0.3

LEAST_INTERVALS = 3  # of a cell whose variation counts


class Edges(NamedTuple):
    """Who is connected to whom."""

    rows: np.ndarray
    """Where the targets of each sender begin, and where the last end, int32."""
    targets: np.ndarray
    """Sender by sender, ascending, int32."""

    @property
    def senders(self) -> np.ndarray:
        """Of each edge, int32."""
        degrees = np.diff(self.rows)
        return np.repeat(np.arange(len(degrees), dtype=np.int32), degrees)

    def of(self, first: int, last: int) -> "Edges":
        """Those of some senders, whose numbers then start at 0."""
        begin, end = self.rows[first], self.rows[last]
        return Edges(self.rows[first : last + 1] - begin, self.targets[begin:end])


def excitatory(cells: int) -> int:
    """How many of the cells excite: the first four of five."""
    return cells * 4 // 5


def random_edges(cells: int) -> Edges:
    """Every pair by chance, with 80 targets on average.

    Args:
        cells: how many.

    Returns:
        The edges, the same at every call.
    """
    rng, pairs, chance = np.random.default_rng(1), cells**2, FAN_IN / cells
    most = int(pairs * chance + 8 * (pairs * chance) ** 0.5)
    there = np.cumsum(rng.geometric(chance, most)) - 1
    senders, targets = np.divmod(there[there < pairs], cells)
    rows = np.concatenate([[0], np.cumsum(np.bincount(senders, minlength=cells))])
    return Edges(rows.astype(np.int32), targets.astype(np.int32))


def voltages_mv(cells: int) -> np.ndarray:
    """At the start, in float32."""
    rng = np.random.default_rng(2)
    return rng.normal(-55.0, 2.0, cells).astype(np.float32)


def weights_ns(cells: int) -> np.ndarray:
    """What a spike of each cell opens, in float32."""
    inhibits = np.arange(cells) >= excitatory(cells)
    return (LEAK_NS * np.where(inhibits, INHIBITION, EXCITATION)).astype(np.float32)


def rate_hz(spikes: float, cells: int, steps: int = SECOND) -> float:
    """Spikes a second of a cell, on average."""
    return float(spikes) / cells / (steps * DT_MS / 1000)


def variation(cells: np.ndarray, times: np.ndarray) -> float:
    """The mean coefficient of variation of the intervals of a cell.

    Args:
        cells: of each spike.
        times: of each spike, in any unit.

    Returns:
        The mean over the cells that have three intervals or more; 0 if none has.
    """
    order = np.lexsort((times, cells))
    cells, gaps = cells[order], np.diff(times[order].astype(np.float64))
    within = cells[1:] == cells[:-1]
    owner, gaps = cells[1:][within], gaps[within]
    if not len(owner):
        return 0.0
    counts = np.bincount(owner)
    means = np.bincount(owner, gaps) / np.maximum(counts, 1)
    squares = np.bincount(owner, (gaps - means[owner]) ** 2)
    enough = counts >= LEAST_INTERVALS
    each = np.sqrt(squares[enough] / counts[enough]) / means[enough]
    return float(each.mean()) if len(each) else 0.0


class Clock:
    """Seconds of a block: `wall`, and those that this process was busy, `cpu`."""

    def __enter__(self) -> "Clock":
        self.wall, self.cpu = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *_) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a call returns, and what it took."""
    with Clock() as clock:
        result = call()
    return result, {"wall": clock.wall, "cpu": clock.cpu}
