"""The loop: dispatch a chunk, read the one before, evaluate, save, stop."""

import collections
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ._checkpoint import CheckpointStore, from_host, Saved, to_host
from ._metrics import Recorder
from ._program import Program
from ._schema import EarlyStop


class Outcome(NamedTuple):
    """Where a program's lanes stand when the loop lets go of them."""

    leaves: list[np.ndarray]
    step: int
    finished: bool
    seconds: dict[str, float]
    step_seconds: float
    """Wall time of a step of one lane; NaN if none was taken."""


def run_program(
    program: Program,
    recorder: Recorder,
    store: CheckpointStore | None,
    saved: Saved | None,
    *,
    facts: dict[str, Any],
    stop_asked: Callable[[], bool],
    advanced: Callable[[int], None],
) -> Outcome:
    """Takes a program's lanes from their last checkpoint, or the start, to the end.

    Args:
        program: what to run.
        recorder: takes the metrics.
        store: where checkpoints are written; None keeps none.
        saved: the checkpoint to go on from, if any.
        facts: what checkpoints should say about the run.
        stop_asked: whether to save and let go at the next opportunity.
        advanced: is told how many steps are done and read back.

    Returns:
        The state, on the host, of the lanes proper.
    """
    config, lanes = program.config.train, program.lanes
    if saved is not None and saved.manifest["finished"]:
        advanced(saved.step)
        known = saved.manifest.get("step_seconds")
        known = float("nan") if known is None else known
        return Outcome(saved.leaves, saved.step, True, program.seconds, known)
    program.compile()
    if saved is not None:
        step = saved.step
        leaves = program.pad(from_host(saved.leaves, program.state_shapes))
    else:
        step, leaves = 0, program.start()
    stopping = Stopping(config.early_stop, lanes, recorder)
    pending: collections.deque[Callable[[], object]] = collections.deque()
    advanced(step)
    began = time.perf_counter()

    def flush() -> None:
        while pending:
            pending.popleft()()

    def save(finished: bool) -> list[np.ndarray]:
        flush()
        host = program.unpad(to_host(leaves))
        if store is not None:
            position = recorder.position()
            kept = facts | {"metrics_bytes": position, "finished": finished}
            kept["step_seconds"] = clock.per_step(step, len(lanes))
            store.save(step, host, program.state_shapes, kept)
        return host

    pace = _Pace(config.chunk, config.log_every, program.chunk)
    clock = _Clock(step)

    def next_boundary() -> int:
        ends = [step - step % pace.steps + pace.steps, config.steps]
        for every in (config.eval_every, config.checkpoint.every_steps):
            if every:
                ends.append(step - step % every + every)
        return min(ends)

    finished = step >= config.steps or not stopping.active.any()
    while not finished:
        end = next_boundary()
        counts = np.where(stopping.active, end - step, 0)
        leaves, metrics = program.advance(leaves, step, counts)
        flush()  # the chunk before, while this one runs
        pace.measure()
        clock.lap(step)
        last = end == config.steps
        read = _train_reader(recorder, lanes, step, counts, metrics, last)
        pending.append(lambda read=read, end=end: (read(), advanced(end)))
        step = end
        due = last or (config.eval_every and step % config.eval_every == 0)
        if due and program.evaluated_names:
            values = program.evaluate(leaves, step)
            active = stopping.active.copy()
            pending.append(_eval_reader(recorder, lanes, step, active, values))
            clock.skip()
            if stopping.rule is not None:
                flush()
                for index in stopping.update():
                    recorder.release(index, lanes[index])
        finished = last or not stopping.active.any()
        aligned = step % config.log_every == 0
        if aligned and not finished:
            if stop_asked():
                break
            if store is not None and store.due(step):
                save(finished=False)
    host = save(finished)
    seconds = program.seconds | {"run": time.perf_counter() - began}
    of_step = clock.per_step(step, len(lanes))
    return Outcome(host, step, finished, seconds, of_step)


class _Clock:
    """Times the calls between whose ends nothing but steps ran."""

    def __init__(self, step: int):
        self._first = time.perf_counter(), step
        self._laps: list[float] = []
        self._then: tuple[float, int] | None = None

    def lap(self, step: int) -> None:
        """All steps before this one have been read back."""
        now = time.perf_counter()
        if self._then is not None and step > self._then[1]:
            self._laps.append((now - self._then[0]) / (step - self._then[1]))
        self._then = now, step

    def skip(self) -> None:
        """What follows is no step."""
        self._then = None

    def per_step(self, step: int, lanes: int) -> float:
        """The median, shared out among the lanes.

        Where no two calls followed one another it is the mean over all, with what ran
        between them.
        """
        if self._laps:
            return float(np.median(self._laps)) / lanes
        began, first = self._first
        taken = time.perf_counter() - began
        return taken / (step - first) / lanes if step > first else float("nan")


class _Pace:
    """How many steps a call makes: long enough that the host's work is hidden.

    Neither the state nor metrics.jsonl depends on it. It grows by doubling from one
    block of metrics, and stays where the config says.
    """

    _SECONDS = 0.02  # short against the patience of a progress bar or a signal

    def __init__(self, fixed: int | None, block: int, capacity: int):
        self._fixed = fixed is not None
        self._capacity = capacity
        self.steps = min(fixed or block, capacity)
        self._then = time.perf_counter()

    def measure(self) -> None:
        """Takes note that another call was read back."""
        now = time.perf_counter()
        quick = now - self._then < self._SECONDS
        self._then = now
        if quick and not self._fixed and self.steps * 2 <= self._capacity:
            self.steps *= 2


class Stopping:
    """Which lanes still run: early stopping, replayed from the recorded evaluations."""

    def __init__(
        self, rule: EarlyStop | None, lanes: list[tuple[str, int]], recorder: Recorder
    ):
        self.rule = rule
        self.active = np.ones(len(lanes), bool)
        self._lanes = lanes
        self._recorder = recorder
        self.update()

    def update(self) -> list[int]:
        """Reads the evaluations so far; returns the lanes that have just stopped."""
        if self.rule is None:
            return []
        stopped = []
        series = self._recorder.series()
        for index, lane in enumerate(self._lanes):
            if self.active[index] and lane in series:
                values = series[lane].evaluated.get(self.rule.metric, np.empty(0))
                if _patience_spent(values, self.rule):
                    self.active[index] = False
                    stopped.append(index)
        return stopped


def _patience_spent(values: np.ndarray, rule: EarlyStop) -> bool:
    sign = 1.0 if rule.mode == "min" else -1.0
    best, waited = np.inf, 0
    for value in sign * np.asarray(values, float):
        if value < best - rule.min_delta:
            best, waited = value, 0
        else:
            waited += 1
        if waited >= rule.patience:
            return True
    return False


def _train_reader(recorder, lanes, step, counts, metrics, last) -> Callable[[], None]:
    def read():
        host = {k: np.asarray(v) for k, v in jax.device_get(metrics).items()}
        recorder.train(lanes, step + 1, counts, host, last=last)

    return read


def _eval_reader(recorder, lanes, step, active, values) -> Callable[[], None]:
    def read():
        host = {k: np.asarray(v) for k, v in jax.device_get(values).items()}
        recorder.evaluated(lanes, step, active, host)

    return read
