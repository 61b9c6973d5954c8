"""What the races of the solvers share: one core, and many short calls in a turn.

Standard library only at import, so that a process is on its one core before any
library starts threads, which stay on the cores that they were started on.
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import record
from .harness import Contestant, Isolated, Numbers, race, Run, say


PEERS = ("scipy", "torch", "torchdiffeq", "torchode", "torchsde", "torchlpc")
NOTES = (
    "Every contestant is on the same single core, torch with one thread. A turn is as "
    "many calls as fit in about {seconds:g} s, and every call waits for its result. "
    "First: seconds of the first call (for JAX: tracing, compilation and the call)."
)

Make = Callable[[], tuple[Callable[[], Any], Callable[[Any], Numbers]]]
Part = Callable[["Options"], tuple[list[dict[str, Any]], list[dict[str, Any]]]]


@dataclass(frozen=True)
class Options:
    """How long to race.

    Args:
        quick: a trial.
        turns: of each contestant.
        seconds: that a turn's calls should take.
    """

    quick: bool
    turns: int
    seconds: float

    @property
    def notes(self) -> str:
        """What holds for every group of calls."""
        return NOTES.format(seconds=self.seconds)


def on_one_core() -> None:
    """Keeps this process, and the threads that it will start, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    else:  # libraries that look at no affinity are asked one by one
        os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false"


def repeated(name: str, make: Make, options: Options, stands_for: int = 1):
    """A contestant whose turn is a batch of calls.

    Args:
        name: of the contestant.
        make: builds; returns the call, which must wait for its result, and a function
            that reads numbers for the table off a result.
        options: how long a turn is.
        stands_for: how many such calls do the work of one call of the others; a call
            counts as that part of one.

    Returns:
        The contestant.
    """

    def setup() -> Run:
        call, read = make()
        began = time.perf_counter()
        result = call()
        told = {"first": time.perf_counter() - began} | read(result)
        began = time.perf_counter()
        call()
        count = max(1, int(options.seconds / (time.perf_counter() - began)))

        def turn() -> Numbers:
            for _ in range(count):
                call()
            return {"calls": count / stands_for} | told

        return turn

    return Contestant(name, setup)


def raced(
    makes: Mapping[str, Make],
    options: Options,
    title: str,
    notes: str,
    columns: Sequence[str],
) -> tuple[dict[str, Any], dict[str, Numbers]]:
    """A race of calls in this process, as a group of a table.

    Args:
        makes: by name, as `repeated` takes them.
        options: how long to race.
        title: of the group.
        notes: what holds for it, beside what holds for every group.
        columns: numbers to show, beside the first call.

    Returns:
        The group, and what `race` returned.
    """
    contestants: list[Contestant | Isolated] = [
        repeated(name, make, options) for name, make in makes.items()
    ]
    taken = race(contestants, options.turns)
    group = {
        "title": title,
        "notes": f"{notes}{options.notes}",
        "per": "call",
        "columns": ["first", *columns],
        "contestants": taken,
    }
    return group, taken


def per_call(taken: Numbers, which: str = "median_wall") -> float:
    """Seconds of a contestant's call."""
    return taken[which] / taken["turns"][0].get("calls", 1)


def ratio(
    taken: Mapping[str, Numbers],
    over: str,
    under: str,
    what: str,
    **limit: float,
) -> dict[str, Any]:
    """The bar of one contestant's time over another's.

    Args:
        taken: what `race` returned.
        over: whose time is divided.
        under: by whose.
        what: says where, in front of the names.
        limit: `at_most` or `at_least`.

    Returns:
        The bar, of medians, with the ratio turn by turn, of the least times, and of
        CPU times, which other processes on the core disturb least.
    """
    pairs = zip(taken[over]["turns"], taken[under]["turns"], strict=True)
    return record.bar(
        f"{what}: {over} / {under}",
        per_call(taken[over]) / per_call(taken[under]),
        **limit,
        turn_by_turn=[
            a["wall"] / a.get("calls", 1) / b["wall"] * b.get("calls", 1)
            for a, b in pairs
        ],
        of_least=per_call(taken[over], "min_wall") / per_call(taken[under], "min_wall"),
        of_cpu=per_call(taken[over], "median_cpu")
        / per_call(taken[under], "median_cpu"),
    )


def least(taken: Mapping[str, Numbers], *names: str) -> str:
    """Which of the contestants is the fastest."""
    return min(names, key=lambda name: per_call(taken[name]))


def agreement(
    taken: Mapping[str, Numbers], keys: tuple[str, ...], what: str, at_most: float
) -> dict[str, Any]:
    """The bar of how far the contestants' numbers lie apart.

    Args:
        taken: what `race` returned; a contestant without a number does not count.
        keys: which numbers.
        what: says where.
        at_most: the largest spread allowed, relative to the largest magnitude.

    Returns:
        The bar.
    """
    spread = {}
    for key in keys:
        values = [one["turns"][0].get(key) for one in taken.values()]
        values = [value for value in values if value is not None]
        largest = max(abs(value) for value in values)
        spread[key] = (max(values) - min(values)) / largest
    named = " and ".join(keys)
    return record.bar(f"{what}: spread of {named}", max(spread.values()), at_most)


def command_line(
    race: str, title: str, parts: Callable[[], dict[str, Part]], quick: list[str]
) -> None:
    """Runs a race: `python -m benchmarks.<race> [--quick] [--only PART ...]`.

    Args:
        race: name of the module and of the results.
        title: of the table.
        parts: imports what is raced, and returns the parts by name; each gives its
            groups and bars.
        quick: names of the parts of a trial.
    """
    on_one_core()
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{race}")
    parser.add_argument("--quick", action="store_true", help="a trial: nothing is kept")
    parser.add_argument("--turns", type=int, default=7, help="of each contestant")
    parser.add_argument("--only", nargs="*", help="some parts, kept under their names")
    args = parser.parse_args()

    environment = record.stamp(PEERS)
    options = Options(args.quick, args.turns, 0.3)
    if args.quick:
        options = Options(True, min(args.turns, 2), 0.2)
    known = parts()
    names = args.only or (quick if args.quick else list(known))
    groups, bars = [], []
    for name in names:
        say(f"{race}: {name}")
        own, own_bars = known[name](options)
        groups += own
        bars += own_bars
    whole = {
        "race": "-".join([race, *names] if len(names) < len(known) else [race]),
        "title": title,
        "environment": environment,
        "bars": bars,
        "groups": groups,
    }
    if args.quick:
        print(record.markdown(whole, "a trial, not kept"))
    else:
        print(record.write(whole).relative_to(Path.cwd()).as_posix())
