"""Trials of evidence accumulation: cues left and right, a delay, a question."""

from typing import Annotated, NamedTuple, Self

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Int, Key
from pydantic import Field, model_validator

from djx.run import Section


Length = Annotated[int, Field(gt=0)]
GROUPS = ["left", "right", "recall", "noise"]


class Task(Section):
    """The trial of Bellec et al. 2020; times are in ms, each of which is a step."""

    cues: Length = 7
    """An odd number, so that one side has the majority."""
    cue_ms: Length = 100
    interval_ms: Length = 150
    """From one cue's end to the next one's; silence comes first."""
    tail_ms: Length = 1200
    """After the last cue, the recall included."""
    recall_ms: Length = 150
    """At the end: a group of its own fires, and the answer is read."""
    likelier: Annotated[float, Field(ge=0.5, le=1)] = 0.7
    """Chance of each cue to be on the side that the trial favours."""
    group: Length = 10
    """Inputs that fire together."""
    rate_hz: Annotated[float, Field(gt=0, le=1000)] = 40.0
    """Of a group in its time; the noise always has a quarter."""

    @model_validator(mode="after")
    def _is_a_trial(self) -> Self:
        if self.cues % 2 == 0:
            raise ValueError(f"cues = {self.cues}: an odd number has a majority")
        for part, whole in (("cue", "interval"), ("recall", "tail")):
            short, long = getattr(self, f"{part}_ms"), getattr(self, f"{whole}_ms")
            if short > long:
                raise ValueError(
                    f"{part}_ms = {short} is more than {whole}_ms = {long}"
                )
        return self

    @property
    def steps(self) -> int:
        """Of a trial."""
        return self.cues * self.interval_ms + self.tail_ms

    @property
    def recall(self) -> int:
        """The step at which it begins."""
        return self.steps - self.recall_ms

    @property
    def inputs(self) -> int:
        """Of the network."""
        return len(GROUPS) * self.group


class Trial(NamedTuple):
    """What a network is given, and what it is asked.

    Attributes:
        spikes: of the inputs, group by group.
        excess: cues on the right less those on the left.
    """

    spikes: Bool[Array, "*batch steps inputs"]
    excess: Int[Array, "*batch"]

    @property
    def right(self) -> Bool[Array, "*batch"]:
        """Whether most cues are on the right: the answer."""
        return self.excess > 0


def trial(task: Task, *, key: Key[Array, ""]) -> Trial:
    """Draws a trial.

    Args:
        task: the table.
        key: of the trial.

    Returns:
        The trial.
    """
    side_key, cue_key, cued_key, noise_key = jr.split(key, 4)
    chance = jnp.where(jr.bernoulli(side_key), task.likelier, 1 - task.likelier)
    right = jr.bernoulli(cue_key, chance, (task.cues,))
    # Of all groups but the noise only one fires at a time: one draw is enough.
    shape, chance = (task.steps, 1, task.group), task.rate_hz / 1000
    cued = jr.bernoulli(cued_key, chance, shape) & firing(task, right)[:, :, None]
    noise = jr.bernoulli(noise_key, chance / 4, shape)
    spikes = jnp.concatenate([cued, noise], axis=1).reshape(task.steps, task.inputs)
    return Trial(spikes, 2 * jnp.sum(right, dtype=jnp.int32) - task.cues)


def firing(task: Task, right: Bool[Array, " cues"]) -> Bool[Array, "steps 3"]:
    """When each group has its time: left, right, recall.

    Args:
        task: the table.
        right: the side of every cue.

    Returns:
        At most one group a step.
    """
    step = jnp.arange(task.steps)
    cue, since = step // task.interval_ms, step % task.interval_ms
    shown = (cue < task.cues) & (since >= task.interval_ms - task.cue_ms)
    on_right = right[jnp.minimum(cue, task.cues - 1)]
    return jnp.stack([shown & ~on_right, shown & on_right, step >= task.recall], axis=1)
