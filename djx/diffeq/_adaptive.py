"""The adaptive engine's forward pass: one while-loop, whole batches in it."""

from typing import Any, NamedTuple

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..core import bind, Operation, varying_alike
from ._lanes import any_lane, choose, in_one_pass, Lanes
from ._problem import Problem, State, Tally


LEAST = 16  # lanes that are not worth parting with
TILE = 8  # save times that are looked at together

SHARED = ("slots", "stride", "position")  # parts of a record without lanes

OKAY, GAVE_UP, UNDERFLOW, OUT_OF_STEPS, NOT_FINITE = range(5)


class Results(NamedTuple):
    """What a solve returns. Saved states have their own axis behind the lanes."""

    final: State
    tally: Tally
    saved: list[PyTree]
    """States at the times to save at."""
    stepped: list[PyTree]
    """States after accepted steps."""
    t: Any
    attempts: Any
    accepted: Any
    code: Any
    ends: list[Any]
    """Times of the states after accepted steps; infinite where there are none."""


class Record(NamedTuple):
    """What replaying a solve needs. A slot is a step that some lane accepted."""

    slots: Any
    stride: Any
    """Slots from one kept state to the next."""
    t0: Any
    t1: Any
    """Of each slot; equal to t0 where a lane does not take part."""
    mask: Any
    position: list[Any]
    """First save time that a slot looks at."""
    rows: PyTree
    """The states kept."""
    slopes: Any
    """Derivatives of t0 and t1 by the solve's t0, t1 and first end; or None."""


class _Carry(NamedTuple):
    state: State
    t: Any
    end: Any
    control: PyTree
    tally: Tally
    attempts: Any
    accepted: Any
    code: Any
    saved: list[PyTree]
    next_save: list[Any]
    stepped: list[PyTree]
    step_ends: Any
    slopes: Any
    record: Record | None
    slot: Any


class Forward(Operation):
    """Solves, and records what its derivatives need if asked to."""

    def __init__(self, problem: Problem, lanes: Lanes, record: bool, slopes: bool):
        self.problem, self.lanes = problem, lanes
        self.record, self.slopes = record, slopes

    def run(self, *flat):
        return jax.tree.leaves(self.solve(list(flat)))

    def expanded(self, size, dims, arrays):
        has = [d is not None for d in dims]
        moved = [
            a if d is None else jnp.moveaxis(a, d, 0)
            for a, d in zip(arrays, dims, strict=True)
        ]
        lanes = self.lanes.added(size, has)
        whole = Forward(self.problem, lanes, self.record, self.slopes)
        return whole, moved, [0 if h else None for h in has], None

    def result_dims(self, flat):
        results, record = jax.eval_shape(self.solve, list(flat))
        dims = [0] * len(jax.tree.leaves(results))
        if record is None:
            return dims
        return [*dims, *record_dims(record, self.lanes.count)]

    def linearised(self, active, primals):
        from ._tangent import Tangent

        problem, given = self.problem, self.problem.inputs(list(range(len(primals))))
        in_time = {given.t0, given.t1, given.first}
        slopes = any(a and i in in_time for i, a in enumerate(active))
        whole = Forward(problem, self.lanes, True, slopes)
        shape = jax.eval_shape(whole.solve, list(primals))
        out = jax.tree.unflatten(jax.tree.structure(shape), bind(whole, *primals))
        results, record = out
        kept = jax.tree.leaves(record)
        tangent = Tangent(
            problem, self.lanes, tuple(active), jax.tree.structure(record), ()
        )
        own = jax.tree.leaves(out if self.record else (results, None))

        def push(tangents):
            moved = bind(tangent, *primals, *kept, *tangents)
            moved = [*moved, *[None] * (len(own) - len(moved))]
            return moved

        return own, push

    def solve(self, flat: list[Any]) -> tuple[Results, Record | None]:
        """Results and, if asked for, the record."""
        problem, lanes = self.problem, self.lanes
        given = problem.inputs(flat)
        first = varying_alike(self._first(flat), flat)
        final = self._loop(first, flat)
        code = jnp.where(
            (final.code == OKAY) & (final.t < self._t1(flat)), OUT_OF_STEPS, final.code
        )
        saved = [
            jax.tree.map(lambda s, n=ts.shape[-1]: s[:n], one)
            for one, ts in zip(final.saved, given.ts, strict=True)
        ]
        stepped, ends = self._compacted(final)
        results = Results(
            final.state,
            final.tally,
            saved,
            stepped,
            final.t,
            final.attempts,
            final.accepted,
            code,
            ends,
        )
        results = lanes.to_front(results)
        record = final.record
        if record is not None:
            record = record._replace(slots=final.slot)
        return results, record

    def _t1(self, flat):
        index = self.problem.inputs(list(range(len(flat)))).t1
        return self.lanes.spread(flat[index], index)

    def _first(self, flat) -> _Carry:
        problem, lanes = self.problem, self.lanes
        shape, limit = lanes.sizes, problem.max_steps

        def begin(flat):
            given = problem.inputs(flat)
            state = problem.start(flat)
            return state, given.t0, given.first, given.controller_state

        state, t, end, control = lanes.over(begin)(flat)
        *_, tally = jax.eval_shape(lanes.over(problem.advance, 3), state, t, end, flat)
        tally = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), tally)
        count, slot = jnp.zeros(shape, jnp.int32), jnp.zeros((), jnp.int32)
        saved = [
            jax.tree.map(
                lambda y, n=ts.shape[-1] + TILE: jnp.full(
                    (n, *y.shape), jnp.inf, y.dtype
                ),
                state.y,
            )
            for ts in problem.inputs(flat).ts
        ]
        stepped = [
            jax.tree.map(
                lambda y: jnp.full((limit, *y.shape), jnp.inf, y.dtype), state.y
            )
            for _ in problem.save_steps[:1]
        ]
        step_ends = jnp.full((limit, *shape), jnp.inf, t.dtype) if stepped else None
        slopes = None
        if self.slopes:
            unit = jnp.eye(3, dtype=t.dtype).reshape(3, 3, *[1] * lanes.count)
            unit = jnp.broadcast_to(unit, (3, 3, *shape))
            slopes = (unit[0], unit[2])
        record = None
        if self.record:
            times = jnp.zeros((limit, *shape), t.dtype)
            rows = problem.rows + (problem.rows < limit)
            record = Record(
                slot,
                jnp.ones((), jnp.int32),
                times,
                times,
                jnp.zeros((limit, *shape), bool),
                [jnp.zeros(limit, jnp.int32) for _ in saved],
                jax.tree.map(lambda y: jnp.zeros((rows, *y.shape), y.dtype), state),
                None
                if slopes is None
                else tuple(jnp.zeros((limit, *s.shape), s.dtype) for s in slopes),
            )
        return _Carry(
            state,
            t,
            end,
            control,
            tally,
            count,
            count,
            count,
            saved,
            [count for _ in saved],
            stepped,
            step_ends,
            slopes,
            record,
            slot,
        )

    def _loop(self, first: _Carry, flat) -> _Carry:
        problem, t1 = self.problem, self._t1(flat)

        def active(carry):
            running = (carry.t < t1) & (carry.code == OKAY)
            return running & (carry.attempts < problem.max_steps)

        def body(carry):
            return self._attempt(carry, active(carry), flat)

        if problem.compaction and not self.record and self._can_shrink():
            return self._compacting(active, body, first, flat)
        if not self.record or problem.rows >= problem.max_steps:
            return lax.while_loop(lambda c: any_lane(active(c)), body, first)

        # Rows run out: every other one goes, and the stride doubles.
        def full(carry):
            return carry.slot >= problem.rows * carry.record.stride

        def thin(record):
            def halve(rows):
                kept = rows[: problem.rows : 2]
                return rows.at[: problem.rows // 2].set(kept)

            rows = jax.tree.map(halve, record.rows)
            return record._replace(rows=rows, stride=2 * record.stride)

        def fill(carry):
            record = lax.cond(full(carry), thin, lambda r: r, carry.record)

            def go_on(carry):
                return any_lane(active(carry)) & ~full(carry)

            return lax.while_loop(go_on, body, carry._replace(record=record))

        return lax.while_loop(lambda c: any_lane(active(c)), fill, first)

    def _can_shrink(self) -> bool:
        return self.lanes.count == 1 and self.lanes.sizes[0] >= 4 * LEAST

    def _compacting(self, active, body, first: _Carry, flat) -> _Carry:
        """The loop while many lanes run, and then the same over the rest of them."""
        few = self.lanes.sizes[0] // 4

        def many(carry):
            return jnp.sum(active(carry)) > few

        carry = lax.while_loop(many, body, first)
        order = jnp.argsort(~active(carry), stable=True)[:few]
        slot = carry.slot
        lanes_of = carry._replace(slot=None)
        some = jax.tree.map(lambda x: jnp.take(x, order, -1), lanes_of)
        inputs = [
            jnp.take(x, order, 0) if has[0] else x
            for x, has in zip(flat, self.lanes.flags, strict=True)
        ]
        lanes = Lanes((few,), self.lanes.flags)
        rest = Forward(self.problem, lanes, False, self.slopes)
        some = rest._loop(some._replace(slot=slot), inputs)
        lanes_of = jax.tree.map(
            lambda x, new: x.at[..., order].set(new),
            lanes_of,
            some._replace(slot=None),
        )
        return lanes_of._replace(slot=some.slot)

    def _attempt(self, carry: _Carry, active, flat) -> _Carry:
        problem, lanes = self.problem, self.lanes
        t, end, state = carry.t, carry.end, carry.state
        new, k, error, tally = lanes.over(problem.advance, 3)(state, t, end, flat)
        if problem.separate:
            used = k if carry.saved else []
            new, error, used = in_one_pass((new, error, used))
            k = used or k
        ask = lanes.over(problem.times, 6)
        keep, start, next_end, control, gave_up, broken, hopeless = ask(
            t, end, state, new.y, error, carry.control, flat
        )
        slopes = carry.slopes
        if slopes is not None:
            slopes = self._slopes(carry, new, error, flat)
        accept = keep
        stuck = (next_end <= start) & (start < self._t1(flat))
        stuck = jnp.where(broken, NOT_FINITE, UNDERFLOW) * stuck
        code = jnp.where(gave_up, GAVE_UP, stuck)
        code = jnp.where(hopeless & broken, NOT_FINITE, code)
        if lanes.count:  # a lone solve is active, or the loop would have ended
            accept = keep & active
            code = jnp.where(active, code, carry.code)
            start, next_end = (
                jnp.where(active, start, t),
                jnp.where(active, next_end, end),
            )
            control = choose(active, control, carry.control)
            if slopes is not None:
                slopes = choose(active, slopes, carry.slopes)
        moved = choose(accept, new, state), start, next_end, code.astype(jnp.int32)
        if problem.separate:
            moved = in_one_pass(moved)
        state, start, next_end, code = moved
        took = accept.astype(jnp.int32)
        saved, next_save, positions = self._save(carry, accept, k, flat)
        slot = carry.slot
        record = carry.record
        if record is not None:
            record = self._recorded(record, carry, accept, positions)
        stepped, step_ends = carry.stepped, carry.step_ends
        if stepped:
            # An attempt that no lane accepts leaves its slot to the next one.
            stepped = [
                jax.tree.map(lambda s, y: put_row(s, y, slot), one, new.y)
                for one in stepped
            ]
            step_ends = put_row(step_ends, jnp.where(accept, end, jnp.inf), slot)
        ones = jnp.ones_like(took) if not lanes.count else active.astype(jnp.int32)
        return _Carry(
            state,
            start,
            next_end,
            control,
            jax.tree.map(
                lambda total, one: total + jnp.where(accept, one, 0), carry.tally, tally
            ),
            carry.attempts + ones,
            carry.accepted + took,
            code,
            saved,
            next_save,
            stepped,
            step_ends,
            slopes,
            record,
            slot + any_lane(accept).astype(jnp.int32),
        )

    def _slopes(self, carry, new, error, flat):
        """Derivatives of the next attempt's ends by (t0, t1, first end)."""
        index = self.problem.inputs(list(range(len(flat))))
        whole = (index.t0, index.t1)

        def lane(t, end, slope_t, slope_end, state, y1, error, control, flat):
            def ends(t, end, *given):
                inputs = list(flat)
                for i, value in zip(whole, given, strict=True):
                    inputs[i] = value
                out = self.problem.times(t, end, state, y1, error, control, inputs)
                return out[1], out[2]

            def along(*slopes):
                return jax.jvp(ends, (t, end, *[flat[i] for i in whole]), slopes)[1]

            unit = jnp.eye(3, dtype=t.dtype)
            return jax.vmap(along)(slope_t, slope_end, unit[0], unit[1])

        over = self.lanes.over(lane, 8)
        return over(
            carry.t,
            carry.end,
            *carry.slopes,
            carry.state,
            new.y,
            error,
            carry.control,
            flat,
        )

    def _save(self, carry: _Carry, accept, k, flat):
        problem, lanes, end = self.problem, self.lanes, carry.end
        t0 = problem.inputs(list(range(len(flat)))).t0
        out, positions, counts = [], [], []
        for part, saved in enumerate(carry.saved):
            ts = times_first(problem, lanes, part, flat)
            done = carry.next_save[part]
            none = jnp.iinfo(jnp.int32).max
            first = jnp.min(jnp.where(accept, done, none)) if lanes.count else done
            last = jnp.max(jnp.where(accept, end, -jnp.inf))
            size, limit = TILE, ts.shape[0]
            sees = save_mask(accept, carry.t, end, lanes.spread(flat[t0], t0))

            def more(c, ts=ts, last=last, limit=limit):
                # The padding is infinite, so that the end is never behind it.
                return jnp.min(ts[jnp.minimum(c[0], limit - 1)]) <= last

            def tile(c, ts=ts, size=size, sees=sees):
                at, done, saved = c
                some = lax.dynamic_slice_in_dim(ts, at, size)
                mask = sees(some)
                states = evaluate_dense(problem, lanes)(
                    some, carry.t, end, carry.state.y, k, flat
                )

                def put(whole, new):
                    old = lax.dynamic_slice_in_dim(whole, at, size)
                    wide = lanes.wide(mask, new)
                    new = jnp.where(wide, new.astype(old.dtype), old)
                    return lax.dynamic_update_slice_in_dim(whole, new, at, 0)

                saved = jax.tree.map(put, saved, states)
                return at + size, done + jnp.sum(mask, 0, dtype=jnp.int32), saved

            # Where nothing is accepted, the loop must see the end.
            at = jnp.minimum(first, limit) if lanes.count else first
            _, done, saved = lax.while_loop(more, tile, (at, done, saved))
            out.append(saved)
            positions.append(at)
            counts.append(done)
        return out, counts, positions

    def _recorded(self, record: Record, carry: _Carry, accept, positions) -> Record:
        slot, problem = carry.slot, self.problem
        row = slot
        if problem.rows < problem.max_steps:
            at_row = slot % record.stride == 0
            row = jnp.where(at_row, slot // record.stride, problem.rows)

        return Record(
            record.slots,
            record.stride,
            put_row(record.t0, carry.t, slot),
            put_row(record.t1, jnp.where(accept, carry.end, carry.t), slot),
            put_row(record.mask, accept, slot),
            [
                put_row(p, v, slot)
                for p, v in zip(record.position, positions, strict=True)
            ],
            jax.tree.map(lambda r, v: put_row(r, v, row), record.rows, carry.state),
            None
            if record.slopes is None
            else jax.tree.map(
                lambda r, v: put_row(r, v, slot), record.slopes, carry.slopes
            ),
        )

    def _compacted(self, carry: _Carry):
        """States after every n-th accepted step, without gaps."""
        out, ends = [], []
        if not carry.stepped:
            return out, ends
        for every in self.problem.save_steps:
            index, there = compaction(jnp.isfinite(carry.step_ends), every)

            def pick(rows, index=index, there=there):
                got = jnp.take_along_axis(rows, self.lanes.wide(index, rows), 0)
                return jnp.where(self.lanes.wide(there, rows), got, jnp.inf)

            out.append(jax.tree.map(pick, carry.stepped[0]))
            ends.append(pick(carry.step_ends))
        return out, ends


def put_row(rows, value, index):
    """Rows with one replaced."""
    value = jnp.asarray(value, rows.dtype)
    return lax.dynamic_update_index_in_dim(rows, value, index, 0)


def record_dims(record: Record, count: int) -> list[Any]:
    """Where a record's arrays have the outermost of so many lane axes.

    Args:
        record: arrays or their shapes.
        count: lane axes.

    Returns:
        An axis for each array; None for those that all lanes share.
    """
    return [
        None if name in SHARED else leaf.ndim - count
        for name, part in record._asdict().items()
        for leaf in jax.tree.leaves(part)
    ]


def compaction(mask, every: int):
    """Which slot fills each row of an output, and whether one does."""
    count = jnp.cumsum(mask, 0)
    wanted = mask & (count % every == 0)
    rows = mask.shape[0] // every
    order = jnp.argsort(~wanted, axis=0, stable=True)[:rows]
    return order, jnp.take_along_axis(wanted, order, 0)


def times_first(problem: Problem, lanes: Lanes, part: int, flat):
    """Save times with their axis in front, one infinite tile behind, on all lanes."""
    index = problem.inputs(list(range(len(flat)))).ts[part]
    ts = lanes.spread(flat[index], index)
    padding = jnp.full((TILE, *ts.shape[1:]), jnp.inf, ts.dtype)
    return jnp.concatenate([ts, padding])


def save_mask(accept, t, end, t0):
    """Which times of a tile belong to a step: (t, end], and t0 to the first one."""

    def mask(ts):
        return accept & (ts <= end) & ((ts > t) | (t == t0))

    return mask


def evaluate_dense(problem: Problem, lanes: Lanes):
    """`Problem.dense` over lanes, with the axis of times in front."""

    def dense(ts, t0, t1, y, k, flat):
        return problem.dense(ts, t0, t1, y, k)

    return lanes.over(dense, 5)
