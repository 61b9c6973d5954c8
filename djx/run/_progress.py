"""What a run says while it runs: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any, Protocol

import numpy as np


class Progress(Protocol):
    """Is told how far the run is."""

    def start(self, arms: list[str], lanes: int, steps: int) -> None: ...
    def advanced(self, step: int) -> None: ...
    def recorded(self, line: dict[str, Any]) -> None: ...
    def say(self, message: str) -> None: ...
    def stop(self) -> None: ...


def make_progress(enabled: bool) -> Progress:
    """Chooses how to report: silent, a bar, or plain lines.

    Args:
        enabled: False for silence.

    Returns:
        A listener for the loop.
    """
    if not enabled:
        return Silent()
    return Bar() if sys.stdout.isatty() else Lines()


class Silent:
    """Says nothing; damaged checkpoints are warned of."""

    def start(self, arms, lanes, steps): ...
    def advanced(self, step): ...
    def recorded(self, line): ...
    def stop(self): ...

    def say(self, message):
        import warnings

        warnings.warn(message, stacklevel=2)


class _Live:
    """The newest metrics, averaged over seeds."""

    def __init__(self):
        self._latest: dict[str, dict[tuple[str, int], float]] = {}

    def take(self, line: dict[str, Any]) -> None:
        lane = (line["arm"], line["seed"])
        for name, value in line.get("train", {}).items():
            self._latest.setdefault(name, {})[lane] = float(value[-1])
        for name, value in line.get("eval", {}).items():
            if np.ndim(value) == 0:
                self._latest.setdefault(f"eval {name}", {})[lane] = float(value)

    def text(self) -> str:
        means = {k: np.mean(list(v.values())) for k, v in self._latest.items()}
        return "  ".join(f"{name} {value:.4g}" for name, value in means.items())


class Lines:
    """A plain line every ten seconds, for logs."""

    def __init__(self, every_seconds: float = 10.0):
        self._every = every_seconds
        self._last = 0.0

    def start(self, arms, lanes, steps):
        self._live, self._arms, self._steps = _Live(), "+".join(arms), steps
        self._began, self._from, self._step = None, 0, 0
        self.say(f"{self._arms}: {lanes} lane(s), {steps} steps")

    def advanced(self, step):
        now = time.monotonic()
        if self._began is None:
            self._began, self._from = now, step
        elif now - self._last >= self._every or step == self._steps:
            rate = (step - self._from) / max(now - self._began, 1e-9)
            left = (self._steps - step) / rate if rate else float("inf")
            self.say(
                f"{self._arms}: step {step}/{self._steps}  {rate:.3g} steps/s  "
                f"{left:.0f} s left  {self._live.text()}"
            )
            self._last = now

    def recorded(self, line):
        self._live.take(line)

    def say(self, message):
        print(message, flush=True)

    def stop(self): ...


class Bar:
    """A rich progress bar with steps per second, time left and the live metrics."""

    def __init__(self):
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress as RichProgress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[live]}"),
        )
        self._task = None

    def start(self, arms, lanes, steps):
        self._live, self._began = _Live(), None
        name = f"{'+'.join(arms)} x{lanes}"
        self._bar.start()
        self._task = self._bar.add_task(name, total=steps, rate="compiling", live="")

    def advanced(self, step):
        now = time.monotonic()
        if self._began is None:
            self._began, self._from, self._shown = now, step, now
        elif now - self._shown < 0.1 and not self._bar.tasks[-1].total == step:
            return
        self._shown = now
        rate = (step - self._from) / max(now - self._began, 1e-9)
        text = f"{rate:.3g} steps/s" if step > self._from else "first steps"
        assert self._task is not None
        self._bar.update(self._task, completed=step, rate=text, live=self._live.text())

    def recorded(self, line):
        self._live.take(line)

    def say(self, message):
        self._bar.console.print(message, highlight=False)

    def stop(self):
        self._bar.stop()
