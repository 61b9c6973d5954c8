"""Forward mode through an adaptive solve."""

import jax
import jax.lax as lax
import jax.numpy as jnp

from ..core import bind, varying_alike
from ._adaptive import evaluate_dense, TILE
from ._replay import Replay


class Tangent(Replay):
    """Tangents of the outputs from those of the inputs.

    Walks the accepted steps once with their tangents beside them: memory for one step.
    """

    def run(self, *arrays):
        return self._push(arrays, self._walk_once)

    def reference(self, *arrays):
        return self._push(arrays, self.replay)

    def _push(self, arrays, function):
        flat, record, tangents = self.split(arrays)
        primals = [flat[i] for i in self.where]

        def push(*tangents):
            _, out = jax.jvp(
                lambda *values: function(values, flat, record), primals, list(tangents)
            )
            # Whole numbers have no tangent that could be passed on.
            return [
                jnp.zeros(t.shape) if t.dtype == jax.dtypes.float0 else t
                for t in jax.tree.leaves(out)
            ]

        for _ in self.probes:
            push = jax.vmap(push)
        return push(*tangents)

    def _walk_once(self, values, flat, record):
        dense = evaluate_dense(self.problem, self.lanes)

        def save(part, saved, sees, step, whole, slot):
            ts = self.dense_parts(whole)[part]
            end, mask = record.t1[slot], record.mask[slot]
            last = jnp.max(jnp.where(mask, end, -jnp.inf))

            def more(c):
                return jnp.min(ts[jnp.minimum(c[0], ts.shape[0] - 1)]) <= last

            def tile(c):
                at, saved = c
                some = lax.dynamic_slice_in_dim(ts, at, TILE)
                inside = sees(lax.stop_gradient(some))
                states = dense(jnp.where(inside, some, step[0]), *step, whole)

                def put(rows, new):
                    old = lax.dynamic_slice_in_dim(rows, at, TILE)
                    new = self._put(inside, new, old)
                    return lax.dynamic_update_slice_in_dim(rows, new, at, 0)

                return at + TILE, jax.tree.map(put, saved, states)

            begin = (record.position[part][slot], saved)
            return lax.while_loop(more, tile, begin)[1]

        def loop(body, carry):
            def one(c):
                return c[0] + 1, body(c[0], c[1])

            begin = varying_alike((jnp.zeros((), jnp.int32), carry), flat, record)
            return lax.while_loop(lambda c: c[0] < record.slots, one, begin)[1]

        return self.walk(values, flat, record, loop=loop, save=save)

    def transposed(self, linear, cotangents, arguments):
        from ._pull import Pull

        count = len(self.active) + self.record.num_leaves
        given = tuple(c is not None for c in cotangents)
        pull = Pull(
            self.problem, self.lanes, self.active, self.record, self.probes, given
        )
        cotangents = [c for c in cotangents if c is not None]
        found = bind(pull, *arguments[:count], *cotangents)
        return [*[None] * count, *found]
