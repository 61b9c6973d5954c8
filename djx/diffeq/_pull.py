"""Reverse mode through an adaptive solve."""

import jax
import jax.lax as lax
import jax.numpy as jnp

from ..core import bind, Operation, varying_alike
from ._adaptive import evaluate_dense, put_row, save_mask, TILE
from ._lanes import choose
from ._replay import floats_of, is_float, map_maybe, Outputs, Replay


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
        ct = [lanes.to_back(or_zeros(v, s), len(wide)) for v, s in pairs if is_float(s)]
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

            of_saved[part] = map_maybe(front, saved_parts[part], shapes.saved[part])
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
            floats, rest = floats_of(state)
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
        if problem.rows >= limit:

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

            one = map_maybe(spread, given, shapes[part])
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
            return floats_of(self.begin(flat, wanted, values))[0]

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

    def linearised(self, active, primals):
        # The record is a function of the inputs: its derivative is found by walking.
        again = PullAgain(
            self.problem, self.lanes, self.active, self.record, self.probes, self.given
        )
        _, push = Operation.linearised(again, active, primals)
        return bind(self, *primals), push

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
            from ._tangent import Tangent

            push = Tangent(
                self.problem, self.lanes, self.active, self.record, self.probes
            )
            found = bind(push, *arguments[:count], *tangents)
            assert self.given is not None
            pairs = zip(found, self.given, strict=False)
            return [*[None] * count, *[f for f, is_given in pairs if is_given]]
        return super().transposed(linear, cotangents, arguments)


class PullAgain(Pull):
    """The same, with the record's times and states made from the inputs.

    What forward mode over reverse mode differentiates.
    """

    def run(self, *arrays):
        flat, record, rest = self.split(arrays)
        record = self._walked(flat, record)
        return super().run(*flat, *jax.tree.leaves(record), *rest)

    def _walked(self, flat, record):
        problem, lanes = self.problem, self.lanes
        if record.slopes is not None:
            shift = self.shift_of(flat)
            of_t0, of_t1 = record.slopes
            of_t1 = choose(jnp.expand_dims(record.mask, 1), of_t1, of_t0)
            record = record._replace(
                t0=record.t0 + jnp.sum(of_t0 * shift, 1),
                t1=record.t1 + jnp.sum(of_t1 * shift, 1),
            )
        advance = lanes.over(problem.advance, 3)

        def one(c):
            slot, state, rows = c
            row = slot
            if problem.rows < problem.max_steps:
                at_row = slot % record.stride == 0
                row = jnp.where(at_row, slot // record.stride, problem.rows)
            rows = jax.tree.map(lambda r, v: put_row(r, v, row), rows, state)
            new, *_ = advance(state, record.t0[slot], record.t1[slot], flat)
            return slot + 1, choose(record.mask[slot], new, state), rows

        begin = (jnp.zeros((), jnp.int32), lanes.over(problem.start)(flat), record.rows)
        begin = varying_alike(begin, flat, record)
        *_, rows = lax.while_loop(lambda c: c[0] < record.slots, one, begin)
        return record._replace(rows=rows)
