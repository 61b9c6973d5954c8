"""How far mass has to be moved along a line."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def wasserstein(
    places: Float[Array, " points"],
    weights: Float[Array, " points"],
    target_places: Float[Array, " others"],
    target_weights: Float[Array, " others"],
    power: float = 1.0,
) -> Float[Array, ""]:
    """The p-Wasserstein distance of weighted points on a line, to the power p.

    Mass is moved in order: what the q-th part of the one is at goes to what the q-th
    part of the other is at. Both are steps in q, so the integral is a sum.

    Args:
        places: of the ones.
        weights: of the ones, not negative, of any sum.
        target_places: of the others, however many.
        target_weights: of the others.
        power: p, 1 or more.

    Returns:
        The integral of |difference|^p over q; 0 where either has no weight.

    Raises:
        ValueError: where the power is below 1.
    """
    check_power(power)
    if 0 in (len(places), len(target_places)):
        return jnp.zeros((), weights.dtype)
    ours, edges = _cumulated(places, weights)
    theirs, target_edges = _cumulated(target_places, target_weights)
    edges = jnp.concatenate([edges, target_edges])
    own = np.repeat([1, 0], [len(ours), len(theirs)])
    edges, own = jax.lax.sort((edges, jnp.asarray(own)), num_keys=1)
    before = jnp.cumsum(own) - own
    others = jnp.arange(len(own)) - before
    # Rounding may leave a last sliver to one side alone.
    left = ours[jnp.minimum(before, len(ours) - 1)]
    right = theirs[jnp.minimum(others, len(theirs) - 1)]
    cost = jnp.abs(left - right)
    cost = cost if power == 1 else cost**power
    both = (jnp.sum(weights) > 0) & (jnp.sum(target_weights) > 0)
    return jnp.where(both, jnp.sum(jnp.diff(edges, prepend=0) * cost), 0)


def check_power(power: float) -> None:
    """Whether a power is one of distances.

    Raises:
        ValueError: if not.
    """
    if not power >= 1:
        raise ValueError(f"power={power}: has to be 1 or more")


def _cumulated(places, weights):
    """Places in order, and the part of all weight up to each."""
    places, weights = jax.lax.sort((places, weights), num_keys=1)
    total = jnp.sum(weights)
    return places, jnp.cumsum(weights) / jnp.where(total > 0, total, 1)
