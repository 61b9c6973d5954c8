"""The network that learns to accumulate evidence."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Key

from djx.brain import (
    AdaptiveLIF,
    Currents,
    Instantaneous,
    Network,
    of_single_cells,
    Projection,
    Triangle,
)


DT_MS = 1.0
THRESHOLD = 0.6  # of the source, whose weights these are; the cell's is 10 mV


class Weights(eqx.Module):
    """All that is learned, in units in which the threshold is 0.6.

    Attributes:
        inputs: to the cells.
        recurrent: between them; no cell has one onto itself, whatever the diagonal is.
        readout: to the two answers, left and right.
    """

    inputs: Float[Array, "inputs cells"]
    recurrent: Float[Array, "cells cells"]
    readout: Float[Array, "cells 2"]

    def __init__(self, inputs: int, cells: int, *, key: Key[Array, ""]):
        """Random ones.

        Args:
            inputs: how many.
            cells: how many.
            key: of them.
        """
        one, two, three = jr.split(key, 3)
        self.inputs = jr.normal(one, (inputs, cells)) / math.sqrt(inputs)
        self.recurrent = jr.normal(two, (cells, cells)) / math.sqrt(cells)
        self.readout = jax.nn.initializers.glorot_uniform()(three, (cells, 2))


def network_of(
    weights: Weights, plain: int, adaptation: Float[Array, ""] | float, damping: float
) -> Network:
    """The network; weights are pulses of current that last a step.

    Args:
        weights: of its edges.
        plain: cells whose threshold stays; that of all others rises with each spike.
        adaptation: by how much: times (1 - e^(-1/2000)) / (1 - e^(-1/20)), where a
            threshold is 0.6 at first.
        damping: height of the surrogate slope, as wide as the threshold is high.

    Returns:
        It, without its state.
    """
    inputs, cells = weights.inputs.shape
    cell = AdaptiveLIF()
    height_mv = float(cell.threshold_mv - cell.e_leak_mv)
    forgets = [-math.expm1(-DT_MS / tau) for tau in (cell.tau_ms, cell.tau_excess_ms)]
    excess_mv = adaptation * forgets[1] / forgets[0] * height_mv / THRESHOLD
    adapts = jnp.arange(cells) >= plain
    cell = AdaptiveLIF(excess_mv=jnp.where(adapts, excess_mv, 0.0))
    # Over a step it raises the voltage by 1 of the source's units.
    pa = height_mv / THRESHOLD * cell.g_leak_ns / forgets[0]
    others = 1 - jnp.eye(cells)
    return Network(
        cell,
        cells,
        {"pulses": Currents(Instantaneous())},
        {
            "cues": _to_all(pa * weights.inputs, "cues"),
            "recurrent": _to_all(pa * others * weights.recurrent),
        },
        DT_MS,
        surrogate=Triangle(height_mv, damping),
    )


def _to_all(weights_pa: Float[Array, "senders cells"], source: str | None = None):
    everyone = of_single_cells(*weights_pa.shape)
    return Projection(everyone, weights_pa.T, "pulses", source=source)
