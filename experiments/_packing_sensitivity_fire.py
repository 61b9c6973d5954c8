"""FIRE, the fast inertial relaxation engine of Bitzek et al. 2006."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


# The constants that its authors recommend.
PATIENCE, FASTER, SLOWER, MIXING, CALMER = 5, 1.1, 0.5, 0.1, 0.99


class Fire(NamedTuple):
    """Everything that one step hands to the next."""

    x: Float[Array, "n 2"]
    velocity: Float[Array, "n 2"]
    force: Float[Array, "n 2"]
    step: Float[Array, ""]
    """Of time, masses being 1."""
    mixing: Float[Array, ""]
    """How far velocities are turned towards the force."""
    downhill: Float[Array, ""]
    """Steps since the last one that went uphill."""


def rest(x: Float[Array, "n 2"], force: Float[Array, "n 2"], step: float) -> Fire:
    """Particles at rest.

    Args:
        x: where.
        force: on them.
        step: the first step of time.

    Returns:
        The state.
    """
    zero = jnp.zeros((), x.dtype)
    return Fire(x, jnp.zeros_like(x), force, zero + step, zero + MIXING, zero)


def advance(
    force_at: Callable[[Float[Array, "n 2"]], Float[Array, "n 2"]],
    state: Fire,
    longest: float,
) -> Fire:
    """One step: velocity Verlet, then the turn towards the force, or a halt.

    Args:
        force_at: positions to forces.
        state: of now.
        longest: step of time.

    Returns:
        The state after it.
    """
    x, velocity, force, dt, mixing, downhill = state
    x = x + dt * velocity + dt**2 / 2 * force
    new_force = force_at(x)
    velocity = velocity + dt / 2 * (force + new_force)
    forward = jnp.sum(new_force * velocity) > 0
    speed, strength = _length(velocity), _length(new_force)
    ratio = speed / jnp.where(strength > 0, strength, 1)
    turned = (1 - mixing) * velocity + mixing * ratio * new_force
    sure = forward & (downhill > PATIENCE)
    return Fire(
        x,
        jnp.where(forward, turned, 0),
        new_force,
        jnp.where(
            forward,
            jnp.where(sure, jnp.minimum(FASTER * dt, longest), dt),
            SLOWER * dt,
        ),
        jnp.where(forward, jnp.where(sure, CALMER * mixing, mixing), MIXING),
        jnp.where(forward, downhill + 1, 0),
    )


def _length(v):
    """With a derivative at zero as well."""
    square = jnp.sum(v**2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
