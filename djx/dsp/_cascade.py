"""A cascade of recursive filters, whose sections run in one loop."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import bind
from ._allpole import FORWARD, per_sample, sent
from ._poles import companion
from ._recurrence import as_rows, before, by_samples, longest_turn, states_at_once
from ._rows import Lanes


def cascade(
    audio: Float[Array, " samples"],
    sections: list[list[Array]],
    state: Float[Array, "sections order"],
) -> tuple[Float[Array, " samples"], Float[Array, "sections order"]]:
    """Sections of one order: y = z_1 + b_0 w, z_k' = z_(k+1) + b_k w - a_k y.

    Args:
        audio: the first section's w; the others' is the y before.
        sections: b_0, .., b_K, a_1, .., a_K of each: (samples,), or all ().
        state: z before the first sample.

    Returns:
        The last section's y, and z after the last sample.
    """
    # Two biquads are as many as XLA compiles as a whole on CPUs; see `longest_turn`.
    at_once = max(1, 16 // (state.shape[1] * audio.dtype.itemsize))
    ends = []
    for first in range(0, len(sections), at_once):
        some = slice(first, first + at_once)
        columns = [column for section in sections[some] for column in section]
        *_, audio, end = bind(_CASCADE, audio, state[some], *columns)
        ends.append(end)
    return audio, jnp.concatenate(ends) if ends else state


class _Cascade(Lanes):
    """Of inputs (..., samples), states (..., sections, order), and columns.

    Results are the outputs of all sections, which derivatives need, and the states.
    """

    def run(self, x, z, *c):
        if x.size == 0:
            return [*[x] * z.shape[-2], z]
        return jax.lax.platform_dependent(x, z, *c, cpu=_one_by_one, default=_at_once)

    def linearised(self, active, primals):
        """Section by section: what coefficients' tangents add is one more input."""
        x, z, *c = primals
        *ys, end = bind(self, *primals)
        order = z.shape[-1]

        def push(tangents):
            given = iter(tangents)
            dw, dz, *dc = (next(given) if one else None for one in active)
            dz = jnp.zeros_like(z) if dz is None else dz
            w, dys, dends = x, [], []
            for i, y in enumerate(ys):
                own = slice(i * (2 * order + 1), (i + 1) * (2 * order + 1))
                now, later = _added(c[own], dc[own], w, dw, y, order)
                a = jnp.stack(c[own][order + 1 :], -1)
                w, (dw, dend) = y, bind(FORWARD, a, now, dz[..., i, :])
                dys.append(dw)
                dends.append(dend + later)
            return [*dys, jnp.stack(dends, -2)]

        return [*ys, end], push


def _added(c, dc, w, dw, y, order: int):
    """b_k dw + db_k w - da_k y, sent k samples ahead."""
    parts = [jnp.zeros_like(w)] * (order + 1)
    for k in range(order + 1):
        if dw is not None:
            parts[k] += per_sample(c[k], w) * dw
        if dc[k] is not None:
            parts[k] += per_sample(dc[k], w) * w
        if k and dc[order + k] is not None:
            parts[k] -= per_sample(dc[order + k], w) * y
    return sent(parts)


def _one_by_one(x, z, *columns):
    """States of few numbers are held in registers, those of many in an array."""
    count, order = z.shape[-2:]
    x_, z_, *rows = as_rows(x.shape[:-1], x, z, *columns)
    varying = columns[0].ndim == x.ndim
    if count * order * x.dtype.itemsize <= 16:
        start = [z_[:, i, k] for i in range(count) for k in range(order)]
        turn = longest_turn(20 if varying else 40, len(columns), x.dtype)
    else:
        start, turn = [z_], 1
    series, fixed = ([x_, *rows], []) if varying else ([x_], rows)
    shapes = [()] * count
    end, outs = by_samples(_turn, start, series, fixed, shapes, turn)
    end = end[0] if end[0].ndim > 1 else jnp.stack(end, -1)
    return [*[out.reshape(x.shape) for out in outs], end.reshape(z.shape)]


def _turn(fixed, given, states):
    few = states[0].ndim == 0
    told = []
    for w, *c in given:
        c = c or fixed
        count, order = _sizes(c, states)
        heard, ahead = [], []
        for i in range(count):
            own = c[i * (2 * order + 1) : (i + 1) * (2 * order + 1)]
            b, a = own[: order + 1], own[order + 1 :]
            if few:
                first, *others = states[i * order : (i + 1) * order]
                y = first + b[0] * w
                ahead += [q + b[k] * w - a[k - 1] * y for k, q in enumerate(others, 1)]
                ahead += [b[order] * w - a[order - 1] * y]
            else:
                z = states[0][i]
                y = z[0] + b[0] * w
                sent = jnp.stack(b[1:]) * w - jnp.stack(a) * y
                ahead += [jnp.append(z[1:], 0) + sent]
            heard.append(y)
            w = y
        states = ahead if few else [jnp.stack(ahead)]
        told.append(tuple(heard))
    return states, told


def _sizes(c, states) -> tuple[int, int]:
    """Sections, and their order."""
    if states[0].ndim:
        return states[0].shape
    count = len(c) - 2 * len(states)
    return count, len(states) // count


def _at_once(x, z, *columns):
    """The states z[n] = A' z[n - 1] + (b - a b_0) w[n] of one section after another."""

    def of_row(w, z, *columns):
        count, order = z.shape
        c = jnp.stack([jnp.broadcast_to(column, w.shape) for column in columns], -1)
        outs, ends = [], []
        for own, start in zip(jnp.split(c, count, -1), z, strict=True):
            b, a = own[:, : order + 1], own[:, order + 1 :]
            matrices = jnp.swapaxes(companion(a), 1, 2)
            inputs = (b[:, 1:] - a * b[:, :1]) * w[:, None]
            states = states_at_once(matrices, inputs, start)
            w = before(states, start)[:, 0] + b[:, 0] * w
            outs.append(w)
            ends.append(states[-1])
        return [*outs, jnp.stack(ends)]

    *outs, end = jax.vmap(of_row)(*as_rows(x.shape[:-1], x, z, *columns))
    return [*[y.reshape(x.shape) for y in outs], end.reshape(z.shape)]


_CASCADE = _Cascade()
