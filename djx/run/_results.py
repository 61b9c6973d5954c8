"""What a run returns."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ._claims import judge, Measured, Values
from ._load import Spec
from ._metrics import Series
from ._schema import Config


STEP_SECONDS = "step_seconds"  # what claims call it


@dataclasses.dataclass(frozen=True)
class ArmResult:
    """One arm: its config, final states and metrics.

    `state` has the structure of the experiment's state, as arrays on the host with a
    leading axis of seeds; `series` and `digests` are per seed. `step_seconds` is the
    wall time of one seed's step, the median over calls, compilation apart; a claim may
    name it, and compare arms by it.
    """

    config: Config
    state: PyTree
    series: dict[int, Series]
    digests: dict[int, str]
    step: int
    step_seconds: float = float("nan")

    def lane(self, index: int = 0) -> PyTree:
        """One seed's final state, without the axis of seeds."""
        return jax.tree.map(lambda leaf: leaf[index], self.state)

    def final(self) -> dict[str, np.ndarray]:
        """Per metric, one value per seed: the last evaluation's, and as `train.name`
        the mean of a step's metric over the last block of steps.
        """
        found: dict[str, np.ndarray] = {}
        seeds = [one for one in self.series.values() if one.train or one.evaluated]
        if not seeds:
            return found
        window = self.config.train.log_every
        for name in seeds[0].evaluated:
            if name != "step":
                found[name] = np.stack([s.evaluated[name][-1] for s in seeds])
        for name in seeds[0].train:
            if name != "step":
                tails = [np.mean(s.train[name][-window:].astype(float)) for s in seeds]
                found[f"train.{name}"] = np.stack(tails)
        return found


@dataclasses.dataclass(frozen=True)
class Results:
    """A run: arms by name, measured claims, timings.

    `status` is "done", or why the run let go early: "stopped" (asked to), or "limit"
    (wall time).
    """

    spec: Spec
    arms: dict[str, ArmResult]
    status: str
    seconds: dict[str, float]
    environment: dict[str, Any]
    out: Path | None
    report: Callable[[Any, Any], None] | None

    @property
    def values(self) -> Values:
        """Final metrics, and `step_seconds`: arm, metric, one value per seed."""
        return {
            name: {STEP_SECONDS: np.full(len(arm.series), arm.step_seconds)}
            | arm.final()
            for name, arm in self.arms.items()
        }

    @property
    def claims(self) -> list[Measured]:
        """The claims, measured; none for a run that is not done."""
        if self.status != "done":
            return []
        values = self.values
        return [judge(name, c, values) for name, c in self.spec.claims.items()]

    def __repr__(self):
        claims = [f"{c.name} {'holds' if c.holds else 'FAILS'}" for c in self.claims]
        return f"Results({self.spec.name!r}, {self.status}, {', '.join(claims)})"
