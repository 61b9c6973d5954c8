"""An adaptive solve's accepted steps, walked again: what its derivatives share.

The steps taken are constants, as in every library: a derivative is that of the fixed
grid.
"""

from typing import Any, NamedTuple

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..core import Operation, varying_alike
from ._adaptive import (
    compaction,
    evaluate_dense,
    put_row,
    Record,
    record_dims,
    save_mask,
    SHARED,
    times_first,
)
from ._lanes import choose, Lanes
from ._problem import Problem, State, Tally
from ._setup import zeros_like


CHUNK = 64  # steps between the checkpoints of the differentiable replay


class Outputs(NamedTuple):
    """The results that have derivatives; None for one without a cotangent."""

    final: State
    tally: Tally
    saved: list[PyTree]
    stepped: list[PyTree]


class Replay(Operation):
    """What both directions share.

    Arguments are the solve's inputs, its record, then tangents or cotangents. Those
    may have probe axes in front of the lanes: several of them through one replay.
    """

    def __init__(
        self,
        problem: Problem,
        lanes: Lanes,
        active: tuple[bool, ...],
        record: Any,
        probes: tuple[int, ...],
        given: tuple[bool, ...] | None = None,
    ):
        self.problem, self.lanes, self.active = problem, lanes, active
        self.record, self.probes, self.given = record, probes, given
        index = problem.inputs(list(range(len(active))))
        groups = (index.constants, index.controller, index.accumulators)
        self.index = index
        self.where = [i for i, is_active in enumerate(active) if is_active]
        parameters = set(jax.tree.leaves(groups))
        self.parameters = [i for i in self.where if i in parameters]
        self.in_time = [index.t0, index.t1, index.first]
        self.moves_time = any(i in self.where for i in self.in_time)

    def split(self, arrays):
        """Inputs, record, and the rest."""
        count, kept = len(self.active), self.record.num_leaves
        record = jax.tree.unflatten(self.record, arrays[count : count + kept])
        return list(arrays[:count]), record, list(arrays[count + kept :])

    def expanded(self, size, dims, arrays):
        flat, record, rest = self.split(arrays)
        count, kept = len(flat), len(jax.tree.leaves(record))
        flat_dims, dims_kept, rest_dims = (
            dims[:count],
            dims[count : count + kept],
            dims[count + kept :],
        )
        if all(d is None for d in (*flat_dims, *dims_kept)):
            # Only the tangents have the axis: one replay serves them all.
            probes = (size, *self.probes)
            rest = [_front(a, d, size) for a, d in zip(rest, rest_dims, strict=True)]
            whole = type(self)(
                self.problem, self.lanes, self.active, self.record, probes, self.given
            )
            axes = [*[None] * (count + kept), *[0] * len(rest)]
            return whole, [*arrays[: count + kept], *rest], axes, 0
        has = [d is not None for d in flat_dims]
        for i in self.where:
            # One cotangent a lane, so one input a lane.
            flat[i], has[i] = _front(flat[i], flat_dims[i], size), True
        flat = [
            a if d is None or i in self.where else jnp.moveaxis(a, d, 0)
            for i, (a, d) in enumerate(zip(flat, flat_dims, strict=True))
        ]
        leaves = []
        for (name, array), dim in zip(_named(record), dims_kept, strict=True):
            if name in SHARED:
                # The same in every lane, unless solves of their own were stacked.
                leaves.append(array if dim is None else jnp.max(array, dim))
            else:
                front = _front(array, dim, size)
                axis = front.ndim - 1 - self.lanes.count
                leaves.append(jnp.moveaxis(front, 0, axis))
        shaped = jax.tree.unflatten(self.record, leaves)
        axes = record_dims(shaped, self.lanes.count + 1)
        at = len(self.probes)
        rest = [
            jnp.moveaxis(_front(a, d, size), 0, at)
            for a, d in zip(rest, rest_dims, strict=True)
        ]
        lanes = self.lanes.added(size, has)
        whole = type(self)(
            self.problem, lanes, self.active, self.record, self.probes, self.given
        )
        axes = [*[0 if h else None for h in has], *axes, *[at] * len(rest)]
        return whole, [*flat, *leaves, *rest], axes, at

    def _put(self, mask, new, old):
        """`new` where the mask over (times, lanes) holds."""

        def put(a, b):
            return jnp.where(self.lanes.wide(mask, a), a.astype(b.dtype), b)

        return jax.tree.map(put, new, old)

    def merged(self, flat, indices, values):
        """Inputs with some replaced."""
        flat = list(flat)
        for index, value in zip(indices, values, strict=True):
            flat[index] = value
        return flat

    def step(self, flat, tallies=(True, True)):
        """A slot's step as a function of what has derivatives."""

        def step(floats, rest, t0, t1, parameters):
            whole = self.merged(flat, self.parameters, parameters)
            state = join_floats(floats, rest)
            over = self.lanes.over(self.problem.advance, 3)
            new, k, _, tally = over(state, t0, t1, whole)
            floats, rest = floats_of(new)
            return (
                floats,
                k,
                [t for t, used in zip(tally, tallies, strict=True) if used],
            )

        return step

    def begin(self, flat, indices, values):
        """The state before the first step."""
        whole = self.merged(flat, indices, values)
        return self.lanes.over(self.problem.start)(whole)

    def dense_parts(self, flat):
        """The save times of each part, with their axis in front."""
        parts = range(len(self.index.ts))
        return [times_first(self.problem, self.lanes, p, flat) for p in parts]

    def slot_of_rows(self, record):
        """Which slot fills each row of the states saved by steps."""
        return [compaction(record.mask, every) for every in self.problem.save_steps]

    def t0_of(self, flat):
        """The solve's start on all lanes."""
        return self.lanes.spread(flat[self.index.t0], self.index.t0)

    def shift_of(self, flat):
        """Zero, with the derivatives of the solve's t0, t1 and first end."""
        times = [self.lanes.spread(flat[i], i) for i in self.in_time]
        return jnp.stack([t - lax.stop_gradient(t) for t in times])

    def walk(self, values, flat, record, *, loop, save) -> Outputs:
        """The outputs as a function of the active inputs, along the recorded steps.

        Args:
            values: the active inputs.
            flat: all inputs.
            record: the steps.
            loop: (body, carry) to carry, where body takes (slot, carry).
            save: (part, saved, which times belong to the step, step, inputs, slot) to
                saved.

        Returns:
            The outputs.
        """
        lanes, problem = self.lanes, self.problem
        whole = self.merged(flat, self.where, values)
        shift = self.shift_of(whole)
        t0 = lax.stop_gradient(self.t0_of(whole))
        state = lanes.over(problem.start)(whole)
        ts = self.dense_parts(whole)
        shape = jax.eval_shape(self._tallies, whole, state, record)
        total = jax.tree.map(zeros_like, shape)

        def rows(count):
            return jax.tree.map(
                lambda y: jnp.zeros((count, *y.shape), y.dtype), state.y
            )

        limit = record.t0.shape[0]
        stepped = rows(limit) if problem.save_steps else None
        advance = lanes.over(problem.advance, 3)

        def body(slot, carry):
            state, total, saved, stepped = carry
            start, end, mask = record.t0[slot], record.t1[slot], record.mask[slot]
            sees = save_mask(mask, start, end, t0)
            if record.slopes is not None:
                of_start, of_end = (s[slot] for s in record.slopes)
                of_end = choose(mask, of_end, of_start)
                start = start + jnp.sum(of_start * shift, 0)
                end = end + jnp.sum(of_end * shift, 0)
            new, k, _, tally = advance(state, start, end, whole)
            step = (start, end, state.y, k)
            saved = [
                save(part, one, sees, step, whole, slot)
                for part, one in enumerate(saved)
            ]
            total = jax.tree.map(lambda a, b: a + jnp.where(mask, b, 0), total, tally)
            new = choose(mask, new, state)
            if stepped is not None:
                stepped = jax.tree.map(lambda r, y: put_row(r, y, slot), stepped, new.y)
            return new, total, saved, stepped

        carry = (state, total, [rows(t.shape[0]) for t in ts], stepped)
        state, total, saved, stepped = loop(body, varying_alike(carry, whole, record))
        saved = [
            jax.tree.map(lambda rows, n=t.shape[-1]: rows[:n], one)
            for one, t in zip(saved, self._ts(whole), strict=True)
        ]
        parts = []
        for index, there in self.slot_of_rows(record):

            def pick(rows, index=index, there=there):
                got = jnp.take_along_axis(rows, lanes.wide(index, rows), 0)
                return jnp.where(lanes.wide(there, rows), got, 0)

            parts.append(jax.tree.map(pick, stepped))
        return lanes.to_front(Outputs(state, total, saved, parts))

    def replay(self, values, flat, record) -> Outputs:
        """`walk` by operations that JAX can differentiate to any order."""
        limit = record.t0.shape[0]
        dense = evaluate_dense(self.problem, self.lanes)

        def save(part, saved, sees, step, whole, slot):
            times = self.dense_parts(whole)[part]
            mask = sees(lax.stop_gradient(times))
            # Times outside of the step must not reach the interpolation.
            states = dense(jnp.where(mask, times, step[0]), *step, whole)
            return self._put(mask, states, saved)

        def loop(body, carry):
            def maybe(carry, slot):
                there = slot < jnp.minimum(record.slots, limit)
                return lax.cond(
                    there, lambda c: body(slot, c), lambda c: c, carry
                ), None

            @jax.checkpoint
            def chunk(carry, first):
                return lax.scan(maybe, carry, first + jnp.arange(CHUNK))[0]

            def maybe_chunk(carry, first):
                there = first < record.slots
                return lax.cond(there, chunk, lambda c, _: c, carry, first), None

            return lax.scan(maybe_chunk, carry, jnp.arange(0, limit, CHUNK))[0]

        return self.walk(values, flat, record, loop=loop, save=save)

    def _tallies(self, flat, state, record):
        over = self.lanes.over(self.problem.advance, 3)
        return over(state, record.t0[0], record.t1[0], flat)[3]

    def _ts(self, flat):
        return self.problem.inputs(flat).ts


def map_maybe(function, values, shapes):
    """A function of leaves, some of them None, and their shapes."""
    leaves, structure = jax.tree.flatten(shapes)
    pairs = zip(values, leaves, strict=True)
    return jax.tree.unflatten(structure, [function(v, s) for v, s in pairs])


def is_float(x) -> bool:
    """Whether an array has derivatives."""
    return jnp.issubdtype(x.dtype, jnp.inexact)


def floats_of(state):
    """The leaves that have derivatives, and the tree with holes in their places."""
    leaves, structure = jax.tree.flatten(state)
    floats = [x for x in leaves if is_float(x)]
    return floats, (structure, [None if is_float(x) else x for x in leaves])


def join_floats(floats, rest):
    """What `floats_of` took apart."""
    structure, others = rest
    given = iter(floats)
    leaves = [next(given) if x is None else x for x in others]
    return jax.tree.unflatten(structure, leaves)


def _named(record: Record):
    parts = record._asdict().items()
    return [(name, leaf) for name, part in parts for leaf in jax.tree.leaves(part)]


def _front(array, dim, size):
    if dim is None:
        return jnp.broadcast_to(array, (size, *array.shape))
    return jnp.moveaxis(array, dim, 0)
