"""A second of the COBA network: `python -m benchmarks.brain_coba [--quick]`.

4000 and 40,000 cells, the same edges for all. Every contestant is a process of its own
on the same core; the first race makes the environments of Brian2, BrainPy and NEST.
"""

import functools
from collections.abc import Mapping
from typing import Any

from . import record
from .diffeq_calls import command_line, Options, Part, per_call
from .harness import Isolated, Numbers, race
from .peers.brain_brainpy import REQUIREMENTS as BRAINPY
from .peers.brain_brian import REQUIREMENTS as BRIAN
from .peers.brain_nest import REQUIREMENTS as NEST


DJX, DJX_EULER = "djx, native", "djx, native, Euler"
XLA, BUFFERED = "djx, XLA", "djx, XLA, rows at once"
LOOP, FLOOR = "C++ loop", "floor: its states, then its events"
BRIAN2, BRIAN2_EULER = "Brian2 2.9.0", "Brian2 2.9.0, Euler"
STATE, DYN = "BrainPy 2.8.2, state", "BrainPy 2.8.2, dyn"
NEST_NAME = "NEST 3.10.0"
DJX_ALL = (DJX, XLA, BUFFERED)

# The reference's windows of the rate in the first second, Hz.
SIZES = {
    # Name of a part: cells, least and largest rate, share of BrainPy's time, and the
    # turns of NEST that are a second.
    "small": (4000, 17.0, 24.3, 0.25, 1),
    "large": (40_000, 20.7, 22.3, 0.75, 5),
}
NOTES = (
    "{cells} cells, 80 synapses each on average, a second in steps of 0.1 ms from the "
    "same voltages over the same edges; exponential Euler but where Euler is said. "
    "NEST takes adaptive steps (RKF45). Brian2 and NEST compute in float64, the others "
    "in float32. Brian2: C++ standalone; its time is that of `run` inside the program, "
    "without reading and sorting edges, and its memory is not in the table. BrainPy: "
    "weights in siemens; state: with brainevent's rows, dyn: with its EventCSRLinear. "
    "{nest}Brian2 and NEST record all spikes, the others count them. Rate: spikes a "
    "second of a cell. CV: the mean over cells of that of their intervals, where there "
    "are three or more; for djx and BrainPy from another run, for NEST of the last "
    "second. C++ loop: compiled with -O3 -march=native -ffast-math. Floor: the same "
    "loop without sending any spike, then the same spikes alone, added up. Build: "
    "seconds to make the network. "
    "Compile: to trace and compile, or the first call less the second; djx's library, "
    "which `pip install` builds, is there. Set-up: both, and runs that are not timed. "
    "CPU: of the second alone."
)
PARTS_OF_NEST = (
    "NEST goes on from where it was, by {ms:g} ms a turn, whose time is multiplied by "
    "{turns}. "
)


def contestants(cells: int, parts: int) -> list[Isolated]:
    """Who races.

    Args:
        cells: how many.
        parts: turns of NEST that are a second.

    Returns:
        The contestants.
    """
    peers, size = "benchmarks.peers.brain_", str(cells)

    def djx(name, method, backend):
        return Isolated(name, f"{peers}djx:setup", (), (method, backend, size))

    return [
        djx(DJX, "exponential", "native"),
        djx(DJX_EULER, "euler", "native"),
        djx(XLA, "exponential", "serial"),
        djx(BUFFERED, "exponential", "buffered"),
        Isolated(LOOP, f"{peers}native:setup", (), ("exponential", size)),
        Isolated(FLOOR, f"{peers}native:floor", (), ("exponential", size)),
        Isolated(BRIAN2, f"{peers}brian:setup", BRIAN, ("exponential", size)),
        Isolated(BRIAN2_EULER, f"{peers}brian:setup", BRIAN, ("euler", size)),
        Isolated(STATE, f"{peers}brainpy:setup", BRAINPY, ("state", size)),
        Isolated(DYN, f"{peers}brainpy:setup", BRAINPY, ("dyn", size)),
        Isolated(NEST_NAME, f"{peers}nest:setup", NEST, (size, str(parts))),
    ]


def cpu_ratio(
    taken: Mapping[str, Numbers], over: str, under: str, what: str, **limit: float
) -> dict[str, Any]:
    """The bar of one contestant's CPU time over another's.

    Args:
        taken: what `race` returned.
        over: whose time is divided.
        under: by whose.
        what: says where, in front of the names.
        limit: `at_most` or `at_least`.

    Returns:
        The bar, of medians, of calls where a turn is calls, with the ratio turn by
        turn, and of wall times.
    """
    both = taken[over], taken[under]
    seconds = [per_call(one, "median_cpu") for one in both]
    turns = [[t["cpu"] / t.get("calls", 1) for t in one["turns"]] for one in both]
    return record.bar(
        f"{what}: {over} / {under}",
        seconds[0] / seconds[1],
        **limit,
        turn_by_turn=[a / b for a, b in zip(*turns, strict=True)],
        of_wall=per_call(both[0]) / per_call(both[1]),
    )


def coba_race(size: str, options: Options):
    """One size: the group and its bars."""
    cells, least_hz, most_hz, share, parts = SIZES[size]
    parts = 20 if options.quick else parts
    taken = race(contestants(cells, parts), options.turns)
    nest = PARTS_OF_NEST.format(ms=1000 / parts, turns=parts) if parts > 1 else ""
    group = {
        "title": f"{cells} cells",
        "notes": NOTES.format(cells=cells, nest=nest),
        "columns": ["rate", "CV", "build", "compile", "states", "events"],
        "contestants": taken,
    }
    what = f"{cells} cells"
    first = {name: one["turns"][0] for name, one in taken.items()}
    fastest = min((STATE, DYN), key=lambda name: taken[name]["median_cpu"])
    # Of NEST, a turn may be too short for either.
    whole = [t for n, t in first.items() if n not in (FLOOR, NEST_NAME)]
    rasters = {first[name]["raster"] for name in DJX_ALL}
    bars = [
        cpu_ratio(taken, DJX, BRIAN2, what, at_most=0.35),
        cpu_ratio(taken, DJX_EULER, BRIAN2_EULER, what, at_most=1.0),
        cpu_ratio(taken, DJX, fastest, what, at_most=share),
        cpu_ratio(taken, DJX, FLOOR, what, at_most=3.0),
        cpu_ratio(taken, XLA, DJX, what, at_most=3.0),
        record.bar(f"{what}: rasters of djx's ways", len(rasters), 1),
        *(
            record.bar(f"{what}: compile, s, {name}", first[name]["compile"], 3.0)
            for name in (DJX, XLA)
        ),
        record.bar(
            f"{what}: least rate, Hz", min(t["rate"] for t in whole), at_least=least_hz
        ),
        record.bar(f"{what}: largest rate, Hz", max(t["rate"] for t in whole), most_hz),
        # Cells that do not hear one another are clocks, of a CV near 0.
        record.bar(f"{what}: least CV", min(t["CV"] for t in whole), at_least=1.0),
    ]
    return [group], bars


def parts() -> dict[str, Part]:
    """What is raced."""
    return {size: functools.partial(coba_race, size) for size in SIZES}


if __name__ == "__main__":
    command_line("brain_coba", "A second of the COBA network", parts, ["small"])
