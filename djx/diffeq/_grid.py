"""Fixed steps whose number is known: a scan, which JAX differentiates in every mode."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import diffrax
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ._brownian import CHUNK
from ._methods import Method
from ._noise import controls
from ._problem import Tally
from ._setup import Span


RESIDUALS = 2**28  # bytes that a reverse pass may keep before it recomputes


class Trail(NamedTuple):
    """What a solve over a grid passed."""

    final: Any
    tally: Tally
    nodes: PyTree | None
    """States after each step."""
    stages: PyTree | None
    """Increments of each step's stages, where dense output needs them."""


def grid_of(controller: Any, whole: Span, steps: int) -> Any:
    """The times of a fixed grid.

    Args:
        controller: `ConstantStepSize` or `StepTo`.
        whole: the interval.
        steps: how many.

    Returns:
        Times, shape (steps + 1,).
    """
    if isinstance(controller, diffrax.StepTo):
        return whole.turned(jnp.asarray(controller.ts, whole.t0.dtype))
    t0, t1 = whole.t0, whole.t1
    share = jnp.arange(2, steps, dtype=t0.dtype) / steps
    inner = t0 + (t1 - t0) * share
    ends = [t0[None], inner, t1[None]]
    if steps > 1:  # the first step is dt0 itself, also where dt0 divides nothing
        ends.insert(1, jnp.minimum(t0 + whole.dt0, t1)[None])
    return jnp.concatenate(ends)


def scan_steps(
    step: Any,
    state: Any,
    term: Any,
    whole: Span,
    grid: Any,
    *,
    segments: int,
) -> tuple[Any, Any]:
    """Runs steps over a grid.

    Args:
        step: (state, (t0, t1, control)) to (state, what to keep).
        state: before the first step.
        term: what drives the steps.
        whole: the interval.
        grid: times, shape (n + 1,).
        segments: recomputed each for itself in reverse; 1 to keep everything.

    Returns:
        The last state, and what was kept with a leading axis of n.
    """
    steps = grid.shape[0] - 1
    length = -(-steps // segments)
    length = steps if segments == 1 else -(-length // CHUNK) * CHUNK

    def run(state, first, ends):
        t0, t1 = ends
        driven = controls(term, whole, first, t0, t1)
        return lax.scan(step, state, (t0, t1, driven))

    count = steps // length
    cut = count * length
    ends = (grid[:-1], grid[1:])
    if count == 1 and cut == steps:
        return run(state, 0, ends)
    parts = jax.tree.map(lambda x: x[:cut].reshape(count, length), ends)

    def segment(state, x):
        return jax.checkpoint(run)(state, *x)

    firsts = jnp.arange(count) * length
    state, kept = lax.scan(segment, state, (firsts, parts))
    kept = jax.tree.map(lambda x: x.reshape(cut, *x.shape[2:]), kept)
    if cut < steps:
        rest = jax.tree.map(lambda x: x[cut:], ends)
        state, more = jax.checkpoint(run, static_argnums=1)(state, cut, rest)
        kept = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), kept, more)
    return state, kept


def segments_of(adjoint: Any, y0: PyTree, method: Method | None, steps: int) -> int:
    """Into how many recomputed parts a grid is cut."""
    asked = getattr(adjoint, "checkpoints", None)
    if asked is not None:
        return max(1, min(asked, steps))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(y0))
    stages = 1 if method is None else method.stages
    if size * stages * steps * 8 < RESIDUALS:
        return 1
    return max(1, int(steps**0.5))


def at_times(
    ts: Any, grid: Any, y0: PyTree, trail: Trail, method: Method | None, dense: Any
) -> PyTree:
    """States at times inside a grid.

    Args:
        ts: times, shape (m,).
        grid: times of the steps, shape (n + 1,).
        y0: the state at the first.
        trail: what the solve passed.
        method: the Runge-Kutta method; None where output is linear between nodes.
        dense: (ts, t0, t1, y, k) to states.

    Returns:
        States with a leading axis of m.
    """
    index = jnp.searchsorted(grid, ts, side="left") - 1
    index = jnp.clip(index, 0, grid.shape[0] - 2)
    start, end = grid[index], grid[index + 1]
    before = jax.tree.map(
        lambda y, rows: jnp.concatenate([y[None], rows])[index], y0, trail.nodes
    )
    if method is not None and method.dense.shape[1] > 1:
        k = jax.tree.map(lambda s: s[index], trail.stages)
        return jax.vmap(
            lambda t, a, b, y, k: jax.tree.map(
                lambda x: x[0], dense(t[None], a, b, y, k)
            )
        )(ts, start, end, before, k)
    after = jax.tree.map(lambda rows: rows[index], trail.nodes)
    share = (ts - start) / (end - start)

    def between(a, b):
        wide = jnp.expand_dims(share, tuple(range(1, a.ndim))).astype(a.dtype)
        return a + wide * (b - a)

    return jax.tree.map(between, before, after)


def at_nodes(nodes: Sequence[int], y0: PyTree, trail: Trail) -> PyTree:
    """States at the ends of steps.

    Args:
        nodes: which, counted from the start.
        y0: the state at the start.
        trail: what the solve passed.

    Returns:
        States with a leading axis.
    """
    first = sum(node == 0 for node in nodes)
    rest = np.asarray(nodes[first:], int) - 1
    strides = np.unique(np.diff(rest))

    def pick(y, rows):
        start = jnp.broadcast_to(y, (first, *y.shape))
        if len(rest) > 1 and len(strides) == 1 and strides[0] > 0:
            # A strided slice has a cheaper transpose than a gather.
            later = rows[rest[0] : rest[-1] + 1 : strides[0]]
        else:
            later = rows[rest]
        return jnp.concatenate([start, later]) if first else later

    return jax.tree.map(pick, y0, trail.nodes)
