"""Diffrax's `SaveAt` to arrays, and back."""

from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import PyTree


class Part(NamedTuple):
    """One `SubSaveAt` and where its arrays come from."""

    sub: diffrax.SubSaveAt
    ts: int | None
    """Which of the arrays of times."""
    steps: int | None
    """Which of the outputs that save steps."""


def parts_of(saveat: diffrax.SaveAt) -> tuple[list[Part], Any]:
    """The parts of an output, numbered.

    Args:
        saveat: diffrax's.

    Returns:
        The parts, and the structure that they came in.
    """
    subs, structure = jax.tree.flatten(saveat.subs, is_leaf=is_sub)
    parts, ts, steps = [], 0, 0
    for sub in subs:
        parts.append(
            Part(
                sub,
                None if sub.ts is None else ts,
                None if sub.steps == 0 else steps,
            )
        )
        ts += sub.ts is not None
        steps += sub.steps != 0
    return parts, structure


def is_sub(x: Any) -> bool:
    """Whether this is one part of an output."""
    return isinstance(x, diffrax.SubSaveAt)


class Saved(NamedTuple):
    """States that a solve passed, in the engine's sense of time."""

    t0: Any
    y0: PyTree
    at_ts: list[tuple[Any, PyTree]]
    at_steps: list[tuple[Any, PyTree]]
    """Infinite where there are none."""
    t1: Any
    y1: PyTree
    accepted: Any


def assembled(part: Part, saved: Saved, turn: Any, args: Any, max_steps: int):
    """The times and values of one part, in diffrax's order and shapes.

    Args:
        part: which.
        saved: states passed.
        turn: from the engine's sense of time to the caller's.
        args: of the function that the part saves.
        max_steps: of the solve.

    Returns:
        Times and values; infinite where nothing was saved.
    """
    sub = part.sub
    times, states = [], []
    if sub.t0:
        times.append(saved.t0[None])
        states.append(_one(saved.y0))
    if part.ts is not None:
        ts, ys = saved.at_ts[part.ts]
        times.append(ts)
        states.append(ys)
    if part.steps is not None:
        ts, ys = saved.at_steps[part.steps]
        times.append(ts)
        states.append(ys)
    on_the_way = part.ts is not None or sub.steps > 1
    if sub.t1 and sub.steps == 0 and part.ts is None:
        times.append(saved.t1[None])
        states.append(_one(saved.y1))
    elif sub.t1 and on_the_way and (sub.steps == 0 or max_steps % sub.steps != 0):
        times.append(jnp.full_like(saved.t1, jnp.inf)[None])
        states.append(jax.tree.map(lambda x: jnp.full_like(x, jnp.inf)[None], saved.y1))
    t = jnp.concatenate(times)
    y = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states)
    if sub.t1 and on_the_way:
        t, y = _end_behind_last(part, saved, t, y)
    filled = jnp.isfinite(t)
    for leaf in jax.tree.leaves(y):
        filled = filled & (leaf.size == 0 or ~_unsaved(leaf))
    if sub.fn is not diffrax.SaveAt(t1=True).subs.fn:
        y = _values(sub.fn, jax.vmap(turn)(t), y, filled, saved, args)
    return jax.vmap(turn)(t), y


def _end_behind_last(part, saved, t, y):
    """Puts the end where the last state left off, unless it is that of a step.

    A solve that failed leaves rows unsaved between them, and those come last.
    """
    sub = part.sub
    row = jnp.asarray(int(sub.t0))
    needed = True
    if part.ts is not None:
        row += jnp.sum(jnp.isfinite(saved.at_ts[part.ts][0]))
    if sub.steps > 1:
        row += saved.accepted // sub.steps
        needed = saved.accepted % sub.steps != 0

    def put(rows, end):
        at = jnp.minimum(row, rows.shape[0] - 1)
        return rows.at[at].set(jnp.where(needed, end, rows[at]))

    return put(t, saved.t1), jax.tree.map(put, y, saved.y1)


def _unsaved(leaf):
    # A state that is infinite throughout was never written.
    return jnp.all(jnp.isposinf(jnp.real(leaf)).reshape(leaf.shape[0], -1), 1)


def _values(function, t, y, filled, saved, args):
    """The function of every saved state; what was not saved must not reach it."""

    def safe(rows, first):
        mask = jnp.expand_dims(filled, tuple(range(1, rows.ndim)))
        return jnp.where(mask, rows, first)

    y = jax.tree.map(safe, y, saved.y0)
    t = jnp.where(filled, t, 0)
    out = jax.vmap(lambda t, y: function(t, y, args))(t, y)

    def hide(rows):
        mask = jnp.expand_dims(filled, tuple(range(1, rows.ndim)))
        return jnp.where(mask, rows, jnp.asarray(jnp.inf, rows.dtype))

    return jax.tree.map(hide, out)


def _one(tree):
    return jax.tree.map(lambda x: x[None], tree)
