"""The neural SDE: its network, its equation and its stiffness."""

from typing import Any, cast

import diffrax
import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
from jaxtyping import Array

from djx import diffeq
from djx.core import safe_rms
from experiments._neural_sde_data import END


class Net(eqx.Module):
    """du = W2 tanh(W1 u^3 + b1) + b2 dt + (W3 u + b3) dW, elementwise noise, Ito."""

    hidden: eqx.nn.Linear
    field: eqx.nn.Linear
    noise: eqx.nn.Linear

    def __init__(self, width: int, *, key):
        keys = jr.split(key, 3)
        self.hidden = eqx.nn.Linear(2, width, key=keys[0])
        self.field = eqx.nn.Linear(width, 2, key=keys[1])
        self.noise = eqx.nn.Linear(2, 2, key=keys[2])

    def drift(self, u):
        """The Ito drift of a batch."""
        return _affine(self.field, jnp.tanh(_affine(self.hidden, u**3)))

    def diffusion(self, u):
        """What multiplies each component's own Brownian increment."""
        return _affine(self.noise, u)

    def stratonovich_drift(self, u):
        """The drift with which the Stratonovich equation has the same solutions."""
        slope = jnp.diagonal(self.noise.weight)  # of each component's own diffusion
        return self.drift(u) - slope * self.diffusion(u) / 2


def _affine(layer: eqx.nn.Linear, u):
    return u @ layer.weight.T + cast(Array, layer.bias)


class DriftStiffness(diffeq.AbstractAccumulator):
    """R_S of SRNODE for an SDE: the stiffness of the drift along accepted steps.

    Heun's method evaluates the drift at the predicted end of a step and, as the next
    step's first stage, at the corrected end: two states at the same time. The estimate
    is the ratio of the gaps, as in equation 10 of Pal et al. 2021; the diffusion stays
    out, as its increments have no rate. diffrax hands on only drift and noise together,
    so that this evaluates the drift anew, in training alone.
    """

    net: Net

    def init(self, y0):
        """Zero."""
        return jnp.zeros((), y0.dtype)

    def update(self, value, step):
        """Adds one step's estimate times its length."""
        predicted = step.y0 + step.dense_info["k"][0]
        drift = self.net.stratonovich_drift
        gap = safe_rms(drift(step.y1) - drift(predicted))
        return value + gap / safe_rms(step.y1 - predicted) * (step.t1 - step.t0)


class Accumulating(diffeq.AccumulatingSolver, diffrax.AbstractStratonovichSolver):
    """Accumulates along Heun's steps, and so solves the Stratonovich equation too."""


SOLVER = diffrax.Heun()


def equation(paths: int, finest: int, *, key: Any) -> diffrax.MultiTerm:
    """The terms of so many paths, each with its own noise; `args` is the network."""
    # Twice as fine as the shortest step.
    noise = diffrax.VirtualBrownianTree(0.0, END, 2.0 ** -(finest + 1), (paths, 2), key)
    return diffrax.MultiTerm(
        diffrax.ODETerm(lambda t, u, net: net.stratonovich_drift(u)),
        diffrax.ControlTerm(
            lambda t, u, net: lx.DiagonalLinearOperator(net.diffusion(u)), noise
        ),
    )
