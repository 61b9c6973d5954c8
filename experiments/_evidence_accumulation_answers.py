"""What a network says of the evidence, and what happens on the way."""

import functools as ft
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from djx.brain import Network, NetworkState, run
from experiments._evidence_accumulation_network import DT_MS, Weights
from experiments._evidence_accumulation_task import Task, Trial


TAU_OUT_MS = 20.0


class Answer(eqx.Module):
    """A monitor: leaky sums of spikes, of which those of the recall count.

    Attributes:
        readout: weights of the sums.
        right: the trial's answer.
        first: step at which the recall begins.
        logits: of left and right at this step.
        total: of the logits that counted.
        entropy: sum of their cross-entropies with the trial's answer, in nats.
        spikes: of each cell so far.
    """

    readout: Float[Array, "cells 2"]
    right: Bool[Array, ""]
    first: int = eqx.field(static=True)
    logits: Float[Array, " 2"]
    total: Float[Array, " 2"]
    entropy: Float[Array, ""]
    spikes: Float[Array, " cells"]

    @classmethod
    def of(cls, readout: Float[Array, "cells 2"], right, first: int) -> "Answer":
        """Before any step.

        Args:
            readout: weights of the sums.
            right: the trial's answer.
            first: step at which the recall begins.

        Returns:
            The monitor.
        """
        none = jnp.zeros_like(readout)
        return cls(readout, right, first, none[0], none[0], none[0, 0], none[:, 0])

    def see(self, spiked, step, state: NetworkState) -> "Answer":
        """After a step.

        Args:
            spiked: who.
            step: its number.
            state: of the network, whose spikes have derivatives.

        Returns:
            The monitor.
        """
        assert state.sent is not None
        spikes, kept = state.sent.spikes, math.exp(-DT_MS / TAU_OUT_MS)
        logits = kept * self.logits + spikes @ self.readout
        counts = (step >= self.first).astype(logits.dtype)
        entropy = optax.softmax_cross_entropy_with_integer_labels(
            logits, self.right.astype(jnp.int32)
        )
        return Answer(
            self.readout,
            self.right,
            self.first,
            logits,
            self.total + counts * logits,
            self.entropy + counts * entropy,
            self.spikes + spikes,
        )

    @property
    def is_right(self) -> Bool[Array, "*batch"]:
        """Whether right is what it says."""
        return self.total[..., 1] > self.total[..., 0]


class Course(NamedTuple):
    """One trial, step by step."""

    spiked: Bool[Array, "steps cells"]
    excess_mv: Float[Array, "steps cells"]
    logits: Float[Array, "steps 2"]


def answers(network: Network, weights: Weights, task: Task, given: Trial) -> Answer:
    """What the network says in many trials.

    Args:
        network: of these weights.
        weights: whose readout is used.
        task: the trial.
        given: trials, on a leading axis.

    Returns:
        Of each trial.
    """
    start = jax.vmap(ft.partial(_start, network, weights, task))
    return start(given.spikes, given.right)[1]


def exchanged(network: Network, weights: Weights, task: Task, given: Trial) -> Answer:
    """What it says, and would say if thresholds were those of another trial.

    As the recall begins, each trial gets the excesses of the one before it in the
    batch, and keeps voltages, pulses and readouts.

    Args:
        network: of these weights.
        weights: whose readout is used.
        task: the trial.
        given: trials, on a leading axis.

    Returns:
        Two of each trial, without the exchange and with it, on a leading axis.
    """
    early, late = jnp.split(given.spikes, [task.recall], axis=1)
    start = jax.vmap(ft.partial(_start, network, weights, task))
    state, seen = start(early, given.right)

    def recall(excess_mv):
        changed = state._replace(cells=state.cells._replace(excess_mv=excess_mv))
        return jax.vmap(ft.partial(_on, network))(changed, seen, late)[1]

    own_mv = state.cells.excess_mv
    return jax.lax.map(recall, jnp.stack([own_mv, jnp.roll(own_mv, 1, axis=0)]))


def _start(network, weights, task, spikes, right):
    seen = Answer.of(weights.readout, right, task.recall)
    return _on(network, network.init(), seen, spikes)


def _on(network, state, seen, spikes):
    each = {"spikes": {"cues": spikes}}
    return run(network, state, spikes.shape[0], seen, each=each)


def course(network: Network, weights: Weights, task: Task, given: Trial) -> Course:
    """One trial, step by step.

    Args:
        network: of these weights.
        weights: their readout is used.
        task: the trial.
        given: the trial.

    Returns:
        What happens in it.
    """

    def one(carry, spikes):
        state, seen = carry
        state, spiked = network.step(state, spikes={"cues": spikes})
        seen = seen.see(spiked, state.step, state)
        return (state, seen), Course(spiked, state.cells.excess_mv, seen.logits)

    seen = Answer.of(weights.readout, given.right, task.recall)
    return jax.lax.scan(one, (network.init(), seen), given.spikes)[1]
