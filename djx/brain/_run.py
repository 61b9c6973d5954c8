"""Many steps of a network, as one program."""

import functools as ft
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._damping import damped
from ._network import Network, NetworkState


def run(
    network: Network,
    state: NetworkState,
    steps: int,
    monitors: Any = (),
    *,
    each: dict[str, Any] | None = None,
    segment: int | None = None,
    damp: Float[Array, ""] | float = 1.0,
    truncate: int | None = None,
    **inputs: Any,
) -> tuple[NetworkState, Any]:
    """Many steps, of which monitors keep what they want to know.

    Gradients through a chaotic network grow without bound: `damp` and `truncate` bound
    them, and have no influence on what happens.

    Args:
        network: which.
        state: before.
        steps: how many.
        monitors: a pytree of monitors, which have a method `see(spiked, step, state)`.
        each: inputs that change, with an axis of as many as there are steps in front.
        segment: steps between states that are kept for a gradient; the square root of
            all if None. It has no influence on any result.
        damp: factor of what flows back through one step, per step.
        truncate: steps after whose multiples nothing flows back any further.
        **inputs: of every step, as `Network.step` takes them.

    Returns:
        The state after them, and the monitors.

    Raises:
        ValueError: where what changes is not there for every step.
    """
    each = each or {}
    for leaf in jax.tree.leaves(each):
        if jnp.shape(leaf)[:1] != (steps,):
            raise ValueError(
                f"each: a row for each of {steps} steps, not {jnp.shape(leaf)}"
            )
    if truncate is not None and truncate < 1:
        raise ValueError(f"truncate={truncate}: has to be a step or more")

    def one(carry, changing):
        state, monitors = carry
        number = state.step
        if truncate is not None:
            state = damped(state, jnp.where(number % truncate == 0, 0.0, damp))
        elif not (isinstance(damp, (int, float)) and damp == 1):
            state = damped(state, damp)
        state, spiked = network.step(state, **{**inputs, **changing})
        seen = jax.tree.map(
            lambda m: m.see(spiked, number, state), monitors, is_leaf=_is_monitor
        )
        return (state, seen), None

    return _checkpointed(one, (state, monitors), each, steps, segment)


def _checkpointed(one, carry, each, steps: int, segment: int | None):
    """A scan whose gradient keeps a state a segment, and those of one segment."""
    segment = max(1, min(segment or _near_root(steps), max(steps, 1)))

    def scanned(carry, xs, length):
        return jax.lax.scan(one, carry, xs, length=length)[0]

    @ft.partial(jax.checkpoint, prevent_cse=False)
    def of_segment(carry, xs):
        return scanned(carry, xs, segment), None

    whole, rest = divmod(steps, segment)
    kept = whole * segment
    head = jax.tree.map(
        lambda x: x[:kept].reshape(whole, segment, *jnp.shape(x)[1:]), each
    )
    carry = jax.lax.scan(of_segment, carry, head, length=whole)[0]
    tail = jax.tree.map(lambda x: x[kept:], each)
    return scanned(carry, tail, rest) if rest else carry


def _near_root(steps: int) -> int:
    """A divisor, if there is one near the square root: no second loop is compiled."""
    root = max(1.0, steps**0.5)
    near = [n for n in range(int(root / 1.5), int(root * 1.5) + 2) if n > 0]
    whole = [n for n in near if steps % n == 0]
    return min(whole, key=lambda n: abs(n - root)) if whole else math.ceil(root)


def _is_monitor(node: Any) -> bool:
    return hasattr(node, "see")
