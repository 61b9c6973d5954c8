"""Derivatives of an adaptive solve: its accepted steps, replayed.

The steps taken are constants, as in every library: a derivative is that of the fixed
grid. Both replays cost memory for one step, besides the record.
"""

from typing import Any, NamedTuple

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._adaptive import (
    compaction,
    evaluate_dense,
    put_row,
    Record,
    record_dims,
    SHARED,
    save_mask,
    TILE,
    times_first,
)
from ._lanes import choose, Lanes
from ._manual import varying_alike
from ._operation import bind, Operation
from ._problem import Problem, State, Tally


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
            state = _join(floats, rest)
            over = self.lanes.over(self.problem.advance, 3)
            new, k, _, tally = over(state, t0, t1, whole)
            floats, rest = _floats(new)
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

    def replay(self, values, flat, record) -> Outputs:
        """The outputs as a function of the active inputs that JAX can differentiate."""
        lanes, problem = self.lanes, self.problem
        whole = self.merged(flat, self.where, values)
        times = [lanes.spread(whole[i], i) for i in self.in_time]
        shift = jnp.stack([t - lax.stop_gradient(t) for t in times])
        state = lanes.over(problem.start)(whole)
        ts = self.dense_parts(whole)
        t0 = lax.stop_gradient(times[0])
        limit = record.t0.shape[0]
        shape = jax.eval_shape(self._tallies, whole, state, record)
        carry = (
            state,
            jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape),
            [
                jax.tree.map(
                    lambda y, n=t.shape[0]: jnp.zeros((n, *y.shape), y.dtype), state.y
                )
                for t in ts
            ],
        )

        def one(carry, slot):
            state, total, saved = carry
            start, end, mask = (
                record.t0[slot],
                record.t1[slot],
                record.mask[slot],
            )
            sees = save_mask(mask, start, end, t0)
            masks = [sees(lax.stop_gradient(t)) for t in ts]
            if record.slopes is not None:
                of_start, of_end = (s[slot] for s in record.slopes)
                of_end = choose(mask, of_end, of_start)
                start = start + jnp.sum(of_start * shift, 0)
                end = end + jnp.sum(of_end * shift, 0)
            over = lanes.over(problem.advance, 3)
            new, k, _, tally = over(state, start, end, whole)
            dense = evaluate_dense(problem, lanes)
            for part, (times, mask_of) in enumerate(zip(ts, masks, strict=True)):
                # Times outside of the step must not reach the interpolation.
                times = jnp.where(mask_of, times, start)
                states = dense(times, start, end, state.y, k, whole)
                saved[part] = self._put(mask_of, states, saved[part])
            total = jax.tree.map(lambda a, b: a + jnp.where(mask, b, 0), total, tally)
            new = choose(mask, new, state)
            return (new, total, saved), new.y if problem.save_steps else None

        def maybe(carry, slot):
            def skip(carry, slot):
                return carry, carry[0].y if problem.save_steps else None

            there = slot < jnp.minimum(record.slots, limit)
            return lax.cond(there, one, skip, carry, slot)

        @jax.checkpoint
        def chunk(carry, first):
            return lax.scan(maybe, carry, first + jnp.arange(CHUNK))

        def maybe_chunk(carry, first):
            def skip(carry, first):
                y = carry[0].y
                none = jax.tree.map(lambda x: jnp.broadcast_to(x, (CHUNK, *x.shape)), y)
                return carry, none if problem.save_steps else None

            return lax.cond(first < record.slots, chunk, skip, carry, first)

        firsts = jnp.arange(-(-limit // CHUNK)) * CHUNK
        carry = varying_alike(carry, whole, record)
        (state, total, saved), stepped = lax.scan(maybe_chunk, carry, firsts)
        counts = [problem_ts.shape[-1] for problem_ts in self._ts(whole)]
        saved = [
            jax.tree.map(lambda s, n=n: s[:n], one)
            for one, n in zip(saved, counts, strict=True)
        ]
        parts = []
        for index, there in self.slot_of_rows(record):

            def pick(rows, index=index, there=there):
                rows = rows.reshape(-1, *rows.shape[2:])
                got = jnp.take_along_axis(rows, lanes.wide(index, rows), 0)
                return jnp.where(lanes.wide(there, rows), got, 0)

            parts.append(jax.tree.map(pick, stepped))
        return lanes.to_front(Outputs(state, total, saved, parts))

    def _tallies(self, flat, state, record):
        over = self.lanes.over(self.problem.advance, 3)
        return over(state, record.t0[0], record.t1[0], flat)[3]

    def _ts(self, flat):
        return self.problem.inputs(flat).ts


class Tangent(Replay):
    """Tangents of the outputs from those of the inputs."""

    def run(self, *arrays):
        flat, record, tangents = self.split(arrays)
        push = lambda *t: jax.tree.leaves(self._push(flat, record, t))
        for _ in self.probes:
            push = jax.vmap(push)
        return push(*tangents)

    def _push(self, flat, record, tangents):
        primals = [flat[i] for i in self.where]
        return _jvp_of_loop(
            lambda *values: self._forward(values, flat, record), primals, tangents
        )

    def _forward(self, values, flat, record):
        """`replay` with a while-loop, so that it ends where the steps do."""
        lanes, problem = self.lanes, self.problem
        whole = self.merged(flat, self.where, values)
        times = [lanes.spread(whole[i], i) for i in self.in_time]
        shift = jnp.stack([t - lax.stop_gradient(t) for t in times])
        state = lanes.over(problem.start)(whole)
        ts = self.dense_parts(whole)
        t0 = lax.stop_gradient(times[0])
        shape = jax.eval_shape(self._tallies, whole, state, record)
        total = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape)
        saved = [
            jax.tree.map(
                lambda y, n=t.shape[0]: jnp.zeros((n, *y.shape), y.dtype), state.y
            )
            for t in ts
        ]
        limit = record.t0.shape[0]
        stepped = None
        if problem.save_steps:
            stepped = jax.tree.map(
                lambda y: jnp.zeros((limit, *y.shape), y.dtype), state.y
            )

        def body(carry):
            slot, state, total, saved, stepped = carry
            start, end, mask = record.t0[slot], record.t1[slot], record.mask[slot]
            sees = save_mask(mask, start, end, t0)
            if record.slopes is not None:
                of_start, of_end = (s[slot] for s in record.slopes)
                of_end = choose(mask, of_end, of_start)
                start = start + jnp.sum(of_start * shift, 0)
                end = end + jnp.sum(of_end * shift, 0)
            over = lanes.over(problem.advance, 3)
            new, k, _, tally = over(state, start, end, whole)
            saved = list(saved)
            for part, times in enumerate(ts):
                saved[part] = self._saved(
                    saved[part],
                    times,
                    record.position[part][slot],
                    sees,
                    (start, end, state.y, k),
                    whole,
                    record.t1[slot],
                    mask,
                )
            total = jax.tree.map(lambda a, b: a + jnp.where(mask, b, 0), total, tally)
            new = choose(mask, new, state)
            if stepped is not None:
                stepped = jax.tree.map(lambda r, v: put_row(r, v, slot), stepped, new.y)
            return slot + 1, new, total, saved, stepped

        carry = (jnp.zeros((), jnp.int32), state, total, saved, stepped)
        carry = varying_alike(carry, flat, record)
        carry = lax.while_loop(lambda c: c[0] < record.slots, body, carry)
        _, state, total, saved, stepped = carry
        saved = [
            jax.tree.map(
                lambda s, n=t.shape[-1]: s[:n], one
            )
            for one, t in zip(saved, self._ts(whole), strict=True)
        ]
        parts = []
        for index, there in self.slot_of_rows(record):

            def pick(rows, index=index, there=there):
                got = jnp.take_along_axis(rows, lanes.wide(index, rows), 0)
                return jnp.where(lanes.wide(there, rows), got, 0)

            parts.append(jax.tree.map(pick, stepped))
        return lanes.to_front(Outputs(state, total, saved, parts))

    def _saved(self, saved, ts, at, sees, step, flat, last, mask):
        problem, lanes = self.problem, self.lanes
        size, limit = TILE, ts.shape[0]
        last = jnp.max(jnp.where(mask, last, -jnp.inf))
        dense = evaluate_dense(problem, lanes)

        def more(c):
            return jnp.min(ts[jnp.minimum(c[0], limit - 1)]) <= last

        def tile(c):
            at, saved = c
            some = lax.dynamic_slice_in_dim(ts, at, size)
            inside = sees(lax.stop_gradient(some))
            some = jnp.where(inside, some, step[0])
            states = dense(some, *step, flat)

            def put(whole, new):
                old = lax.dynamic_slice_in_dim(whole, at, size)
                new = self._put(inside, new, old)
                return lax.dynamic_update_slice_in_dim(whole, new, at, 0)

            return at + size, jax.tree.map(put, saved, states)

        return lax.while_loop(more, tile, (at, saved))[1]

    def reference(self, *arrays):
        flat, record, tangents = self.split(arrays)

        def push(*tangents):
            primals = [flat[i] for i in self.where]
            return jax.tree.leaves(
                _jvp_of_loop(
                    lambda *values: self.replay(values, flat, record), primals, tangents
                )
            )

        for _ in self.probes:
            push = jax.vmap(push)
        return push(*tangents)

    def transposed(self, linear, cotangents, arguments):
        count = len(self.active) + self.record.num_leaves
        given = tuple(c is not None for c in cotangents)
        pull = Pull(
            self.problem, self.lanes, self.active, self.record, self.probes, given
        )
        cotangents = [c for c in cotangents if c is not None]
        found = bind(pull, *arguments[:count], *cotangents)
        return [*[None] * count, *found]


class Pull(Replay):
    """Cotangents of the inputs from those of the outputs: the reverse replay.

    Costs one evaluation of each stage and its reverse per accepted step, and once
    more the evaluations where the record kept fewer rows than there were steps.
    """

    def outputs(self, rest, shapes: Outputs):
        """The cotangents, None where there is none, as lists of leaves."""
        assert self.given is not None
        values = iter(rest)
        leaves = iter([next(values) if is_given else None for is_given in self.given])

        def take(part):
            return [next(leaves) for _ in jax.tree.leaves(part)]

        return (
            take(shapes.final),
            take(shapes.tally),
            [take(part) for part in shapes.saved],
            [take(part) for part in shapes.stepped],
        )

    def shapes(self, flat, record) -> Outputs:
        """Of the outputs."""
        lanes, problem = self.lanes, self.problem
        state = jax.eval_shape(lanes.over(problem.start), flat)
        tally = jax.eval_shape(self._tallies, flat, state, record)

        def front(x, rows=()):
            own = x.shape[: x.ndim - lanes.count]
            return jax.ShapeDtypeStruct((*lanes.sizes, *rows, *own), x.dtype)

        def rows(count):
            return jax.tree.map(lambda y: front(y, (count,)), state.y)

        saved = [rows(ts.shape[-1]) for ts in self._ts(flat)]
        limit = record.t0.shape[0]
        stepped = [rows(limit // n) for n in problem.save_steps]
        return Outputs(jax.tree.map(front, state), tally, saved, stepped)

    def run(self, *arrays):
        flat, record, rest = self.split(arrays)
        shapes = self.shapes(flat, record)
        of_final, of_tally, saved_parts, step_parts = self.outputs(rest, shapes)
        problem, lanes, index = self.problem, self.lanes, self.index
        parameters = [flat[i] for i in self.parameters]
        steps, limit = record.slots, record.t0.shape[0]
        wide = self.probes

        def zeros(x):
            return varying_alike(jnp.zeros((*wide, *x.shape), x.dtype), arrays)

        def or_zeros(value, shape):
            return zeros(shape) if value is None else value

        pairs = zip(of_final, jax.tree.leaves(shapes.final), strict=True)
        ct = [
            lanes.to_back(or_zeros(v, s), len(wide)) for v, s in pairs if _is_float(s)
        ]
        tallies = tuple(t is not None for t in of_tally)
        of_tally = [t for t in of_tally if t is not None]
        ts = self.dense_parts(flat)
        saves = [
            part
            for part, saved in enumerate(saved_parts)
            if any(leaf is not None for leaf in saved)
        ]
        of_saved = {}
        for part in saves:
            gap = ts[part].shape[0] - self._ts(flat)[part].shape[-1]

            def front(value, shape, gap=gap):
                value = lanes.to_back(or_zeros(value, shape), len(wide))
                pad = [(0, 0)] * value.ndim
                pad[len(wide)] = (0, gap)
                return jnp.pad(value, pad)

            of_saved[part] = _map_maybe(front, saved_parts[part], shapes.saved[part])
        of_steps = self._of_steps(step_parts, shapes.stepped, record, or_zeros)
        t_shape = jax.ShapeDtypeStruct(lanes.sizes, record.t0.dtype)
        in_time = zeros(jax.ShapeDtypeStruct((3, *lanes.sizes), record.t0.dtype))
        of_ts = {
            part: zeros(ts[part]) for part in saves if index.ts[part] in self.where
        }
        timed = self.moves_time
        t0 = self.t0_of(flat)
        dense = evaluate_dense(problem, lanes)
        run_step = self.step(flat, tallies)

        def reverse(slot, state, ct, of_parameters, in_time, of_ts):
            start, end, mask = record.t0[slot], record.t1[slot], record.mask[slot]
            floats, rest = _floats(state)
            arguments = (floats, start, end, parameters)

            def function(floats, start, end, parameters):
                return run_step(floats, rest, start, end, parameters)

            if timed:
                (new, k, tally), pull = jax.vjp(function, *arguments)
            else:
                (new, k, tally), pull = jax.vjp(
                    lambda floats, parameters: function(floats, start, end, parameters),
                    floats,
                    parameters,
                )
            masked = [jnp.where(mask, c, 0) for c in ct] if lanes.count else ct
            if of_steps is not None:
                extra = jax.tree.leaves(
                    jax.tree.map(lambda r: jnp.take(r, slot, len(wide)), of_steps)
                )
                masked = [c + e for c, e in zip(masked, extra, strict=False)] + masked[
                    len(extra) :
                ]
            of_k = jax.tree.map(zeros, k)
            of_y = jax.tree.map(zeros, state.y)
            of_start = of_end = zeros(t_shape)
            for part in saves:
                at = record.position[part][slot]
                of_ts_part = of_ts.get(part)
                found = self._pull_saves(
                    dense,
                    ts[part],
                    at,
                    of_saved[part],
                    mask,
                    (start, end, state.y, k),
                    t0,
                    flat,
                    (of_start, of_end, of_y, of_k),
                    of_ts_part,
                )
                (of_start, of_end, of_y, of_k), of_ts_part = found
                if of_ts_part is not None:
                    of_ts = of_ts | {part: of_ts_part}
            of_tally_now = [jnp.where(mask, t, 0) for t in of_tally]
            whole_pull = pull
            for _ in wide:
                whole_pull = jax.vmap(whole_pull)
            pulled = whole_pull((masked, of_k, of_tally_now))
            if timed:
                of_floats, a, b, more = pulled
                of_start, of_end = of_start + a, of_end + b
                of_t, of_t_end = (s[slot] for s in record.slopes)
                of_t_end = choose(mask, of_t_end, of_t)
                column = len(wide)
                moved = jnp.expand_dims(of_start, column) * of_t
                moved = moved + jnp.expand_dims(of_end, column) * of_t_end
                in_time = in_time + jnp.where(mask, moved, 0)
            else:
                of_floats, more = pulled
            count = len(jax.tree.leaves(of_y))
            of_floats = [
                c + e for c, e in zip(of_floats, jax.tree.leaves(of_y), strict=False)
            ] + of_floats[count:]
            if lanes.count:
                of_floats = choose(mask, of_floats, ct)
            of_parameters = [a + b for a, b in zip(of_parameters, more, strict=True)]
            return of_floats, of_parameters, in_time, of_ts

        of_parameters = [zeros(p) for p in parameters]
        carry = (ct, of_parameters, in_time, of_ts)
        rows = jax.tree.leaves(record.rows)[0].shape[0]
        if rows >= limit:

            def body(c):
                slot = c[0] - 1
                state = jax.tree.map(lambda r: r[slot], record.rows)
                return slot, reverse(slot, state, *c[1])

            carry = varying_alike((steps, carry), arrays)
            _, carry = lax.while_loop(lambda c: c[0] > 0, body, carry)
        else:
            carry = self._by_segments(flat, record, reverse, carry)
        ct, of_parameters, in_time, of_ts = carry
        return self._finish(flat, ct, of_parameters, in_time, of_ts)

    def _of_steps(self, parts, shapes, record, or_zeros):
        """Cotangents of saved steps, one row a slot."""
        total, lead = None, len(self.probes)
        for part, every in enumerate(self.problem.save_steps):
            given = parts[part]
            if all(leaf is None for leaf in given):
                continue
            count = jnp.cumsum(record.mask, 0)
            wanted = record.mask & (count % every == 0)
            row = jnp.clip(count // every - 1, 0)

            def spread(value, shape, wanted=wanted, row=row):
                value = self.lanes.to_back(or_zeros(value, shape), lead)
                index = self.lanes.wide(row, value, lead)
                got = jnp.take_along_axis(value, index, lead)
                return jnp.where(self.lanes.wide(wanted, value, lead), got, 0)

            one = _map_maybe(spread, given, shapes[part])
            total = one if total is None else jax.tree.map(jnp.add, total, one)
        return total

    def _pull_saves(self, dense, ts, at, of_saved, mask, step, t0, flat, sums, of_ts):
        size, limit, lead = TILE, ts.shape[0], len(self.probes)
        start, end = step[0], step[1]
        sees = save_mask(mask, start, end, t0)
        last = jnp.max(jnp.where(mask, end, -jnp.inf))
        timed = self.moves_time or of_ts is not None

        def transposed(times, t0, t1, rows, flat):
            return self.problem.dense_transposed(times, t0, t1, rows)

        dense_back = self.lanes.over(transposed, 4)

        def more(c):
            return jnp.min(ts[jnp.minimum(c[0], limit - 1)]) <= last

        def tile(c):
            at, sums, of_ts = c
            some = lax.dynamic_slice_in_dim(ts, at, size)
            inside = sees(some)
            # A time outside of the step must not overflow the polynomial.
            some = jnp.where(inside, some, start)

            def cut(value):
                value = lax.dynamic_slice_in_dim(value, at, size, lead)
                return jnp.where(self.lanes.wide(inside, value, lead), value, 0)

            rows = jax.tree.map(cut, of_saved)
            if not timed:
                pull = dense_back
                for _ in self.probes:
                    pull = jax.vmap(pull, in_axes=(None, None, None, 0, None))
                of_y, of_k = pull(some, start, end, rows, flat)
                of_y = jax.tree.map(jnp.add, sums[2], of_y)
                of_k = jax.tree.map(jnp.add, sums[3], of_k)
                return at + size, (sums[0], sums[1], of_y, of_k), of_ts
            _, pull = jax.vjp(lambda times, *s: dense(times, *s, flat), some, *step)
            for _ in self.probes:
                pull = jax.vmap(pull)
            of_some, *found = pull(rows)
            sums = jax.tree.map(jnp.add, sums, tuple(found))
            if of_ts is not None:
                old = lax.dynamic_slice_in_dim(of_ts, at, size, lead)
                new = old + jnp.where(inside, of_some, 0)
                of_ts = lax.dynamic_update_slice_in_dim(of_ts, new, at, lead)
            return at + size, sums, of_ts

        _, sums, of_ts = lax.while_loop(more, tile, (at, sums, of_ts))
        return sums, of_ts

    def _by_segments(self, flat, record, reverse, carry):
        """Where rows are scarce: steps forward from a row, then back over them."""
        limit = record.t0.shape[0]
        length = 1
        while length * self.problem.rows < limit:
            length *= 2
        over = self.lanes.over(self.problem.move, 3)
        scratch = jax.tree.map(
            lambda r: jnp.zeros((length, *r.shape[1:]), r.dtype), record.rows
        )

        def segment(c):
            row, scratch, carry = c
            row = row - 1
            first = row * record.stride
            count = jnp.minimum(record.stride, record.slots - first)
            state = jax.tree.map(lambda r: r[row], record.rows)

            def forward(c):
                i, state, scratch = c
                scratch = jax.tree.map(lambda r, v: put_row(r, v, i), scratch, state)
                slot = first + i
                new = over(state, record.t0[slot], record.t1[slot], flat)
                return i + 1, choose(record.mask[slot], new, state), scratch

            begin = (jnp.zeros((), jnp.int32), state, scratch)
            _, state, scratch = lax.while_loop(
                lambda c: c[0] < count - 1,
                forward,
                varying_alike(begin, flat, record),
            )
            scratch = jax.tree.map(
                lambda r, v: put_row(r, v, count - 1), scratch, state
            )

            def back(c):
                i, carry = c
                state = jax.tree.map(lambda r: r[i - 1], scratch)
                return i - 1, reverse(first + i - 1, state, *carry)

            _, carry = lax.while_loop(lambda c: c[0] > 0, back, (count, carry))
            return row, scratch, carry

        segments = -(-record.slots // record.stride)
        begin = varying_alike((segments, scratch, carry), flat, record)
        _, _, carry = lax.while_loop(lambda c: c[0] > 0, segment, begin)
        return carry

    def _finish(self, flat, ct, of_parameters, in_time, of_ts):
        """From the first state to the inputs."""
        lanes, index, lead = self.lanes, self.index, len(self.probes)
        early = set(jax.tree.leaves((index.y0, index.t0))) | set(self.parameters)
        wanted = [i for i in self.where if i in early]

        def begin(values):
            return _floats(self.begin(flat, wanted, values))[0]

        _, pull = jax.vjp(begin, [flat[i] for i in wanted])
        for _ in self.probes:
            pull = jax.vmap(pull)
        (found,) = pull(ct)
        total = dict(zip(wanted, found, strict=True))
        for i, value in zip(self.parameters, of_parameters, strict=True):
            total[i] = total[i] + value
        gather = lanes.gathered
        for _ in self.probes:
            gather = jax.vmap(gather, in_axes=(0, None))
        for column, i in enumerate(self.in_time):
            if i in self.where:
                own = gather(jnp.take(in_time, column, lead), i)
                total[i] = total[i] + own if i in total else own
        for part, i in enumerate(index.ts):
            if i in self.where:
                if part not in of_ts:
                    total[i] = jnp.zeros((*self.probes, *flat[i].shape), flat[i].dtype)
                    continue
                value = of_ts[part]
                count = self._ts(flat)[part].shape[-1]
                value = lax.slice_in_dim(value, 0, count, axis=lead)
                total[i] = gather(value, i)
        out = []
        for i in self.where:
            if i in total:
                out.append(total[i].astype(flat[i].dtype))
            else:  # the controller's own arrays decide steps, which are constants
                out.append(jnp.zeros((*self.probes, *flat[i].shape), flat[i].dtype))
        return out

    def reference(self, *arrays):
        flat, record, rest = self.split(arrays)
        values = [flat[i] for i in self.where]
        out, pull = jax.vjp(lambda values: self.replay(values, flat, record), values)
        shapes = jax.tree.leaves(out)

        def whole(*given):
            found = iter(given)
            flags = self.given
            assert flags is not None
            leaves = [
                (next(found) if is_given else jnp.zeros(s.shape, s.dtype))
                for is_given, s in zip(flags, shapes, strict=True)
            ]
            leaves = [
                jnp.zeros(s.shape, jax.dtypes.float0)
                if not jnp.issubdtype(s.dtype, jnp.inexact)
                else v
                for v, s in zip(leaves, shapes, strict=True)
            ]
            (values,) = pull(jax.tree.unflatten(jax.tree.structure(out), leaves))
            return values

        for _ in self.probes:
            whole = jax.vmap(whole)
        return whole(*rest)

    def transposed(self, linear, cotangents, arguments):
        count = len(self.active) + self.record.num_leaves
        if not any(linear[:count]):
            flat = arguments[: len(self.active)]
            values = [flat[i] for i in self.where]
            shapes = zip(cotangents, values, strict=True)
            tangents = [
                jnp.zeros((*self.probes, *v.shape), v.dtype) if c is None else c
                for c, v in shapes
            ]
            push = Tangent(
                self.problem, self.lanes, self.active, self.record, self.probes
            )
            found = bind(push, *arguments[:count], *tangents)
            assert self.given is not None
            pairs = zip(found, self.given, strict=False)
            return [*[None] * count, *[f for f, is_given in pairs if is_given]]
        return super().transposed(linear, cotangents, arguments)


def _map_maybe(function, values, shapes):
    leaves, structure = jax.tree.flatten(shapes)
    pairs = zip(values, leaves, strict=True)
    return jax.tree.unflatten(structure, [function(v, s) for v, s in pairs])


def _is_float(x) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


def _floats(state):
    """The leaves that have derivatives, and the tree with holes in their places."""
    leaves, structure = jax.tree.flatten(state)
    floats = [x for x in leaves if _is_float(x)]
    return floats, (structure, [None if _is_float(x) else x for x in leaves])


def _join(floats, rest):
    structure, others = rest
    given = iter(floats)
    leaves = [next(given) if x is None else x for x in others]
    return jax.tree.unflatten(structure, leaves)


def _jvp_of_loop(function, primals, tangents):
    _, out = jax.jvp(function, tuple(primals), tuple(tangents))
    return jax.tree.map(
        lambda t: jnp.zeros(t.shape) if t.dtype == jax.dtypes.float0 else t, out
    )


def _named(record: Record):
    parts = record._asdict().items()
    return [(name, leaf) for name, part in parts for leaf in jax.tree.leaves(part)]


def _front(array, dim, size):
    if dim is None:
        return jnp.broadcast_to(array, (size, *array.shape))
    return jnp.moveaxis(array, dim, 0)
