"""Eight seeds in one program, against eight runs of one seed."""

import collections
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from .harness import Contestant, Numbers
from .loop_contestants import spec_of, timed_run


SEEDS = 8
SUBJECT = "spiral_ode"

_COMPILED = "/jax/core/compile/backend_compile_duration"
_counted: list[collections.Counter] = []


def contestants(steps: int) -> list[Contestant]:
    """In turn on two devices, batched on two devices, and one after the other."""
    return [
        _batched("map", steps),
        _batched("vmap", steps),
        Contestant("eight runs", lambda: lambda: _one_by_one(steps)),
    ]


def _batched(mode: str, steps: int) -> Contestant:
    spec = spec_of(
        SUBJECT,
        steps,
        seeds=SEEDS,
        seed_mode=mode,
        train={"shards": len(jax.devices())},
    )

    def turn() -> Numbers:
        with compilations() as compiled:
            seconds, results = timed_run(spec)
        state = {"steps": steps, "digests": results.arms["main"].digests}
        return seconds | state | {"compilations": dict(compiled)}

    return Contestant(f"one program, {mode}", lambda: turn)


def _one_by_one(steps: int) -> Numbers:
    whole: dict[str, Any] = collections.Counter()
    digests = {}
    for seed in range(SEEDS):
        seconds, results = timed_run(spec_of(SUBJECT, steps, seeds=[seed]))
        for name, spent in seconds.items():
            whole[name] += spent
        digests |= results.arms["main"].digests
    return dict(whole) | {"steps": steps, "digests": digests}


@contextmanager
def compilations() -> Iterator[collections.Counter]:
    """Counts what XLA was asked to compile, by the name of the function."""
    if not _counted:  # listeners cannot be taken off again: one, for good
        jax.monitoring.register_event_duration_secs_listener(_count)
    _counted.append(collections.Counter())
    yield _counted[-1]


def _count(event: str, duration_secs: float, **kwargs: Any) -> None:
    del duration_secs
    if event == _COMPILED:
        _counted[-1][kwargs.get("fun_name", "?")] += 1
