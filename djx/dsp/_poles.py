"""All-pole filters in both forms: sample by sample, and by an associative scan."""

import jax
import jax.numpy as jnp

from ._recurrence import as_rows, before, by_samples, longest_turn, states_at_once


def sequential(a, x, past, backwards=False):
    """Sample by sample; of any leading axes."""
    out, _ = _by_samples(_newest_last, 16, a, x, past, backwards)
    return out


def sequential_transposed(a, x, waiting, backwards=False):
    return _by_samples(_sending, 6, a, x, waiting, backwards)


def _by_samples(turn, limit: int, a, x, state, backwards):
    """A state of few numbers is held in registers, one of many in an array."""
    order = state.shape[-1]
    rows = as_rows(x.shape[:-1], a, x, state)
    fixed, series = ([rows[0]], rows[1:2]) if a.ndim == x.ndim else ([], rows[1::-1])
    size = order * x.dtype.itemsize // 4
    few = size <= limit
    start = [rows[2][:, k] for k in range(order)] if few else [rows[2]]
    count = longest_turn(16, order, x.dtype) if few else 1
    end, (out,) = by_samples(turn, start, series, fixed, [()], count, backwards)
    end = jnp.stack(end, -1) if few else end[0]
    return [out.reshape(x.shape), end.reshape(state.shape)]


def _newest_last(fixed, given, last):
    """The newest output last, so that what waits for it is one operation."""
    told = []
    for x, *a in given:
        (a,) = a or fixed
        if last[0].ndim:
            y = x - jnp.sum(a * last[0])
            last = [jnp.concatenate([y[None], last[0][:-1]])]
        else:
            y = x
            for k in reversed(range(len(last))):
                y = y - a[k] * last[k]
            last = [y, *last[:-1]]
        told.append((y,))
    return last, told


def _sending(fixed, given, waiting):
    """What the newest output sends comes last, to what waits and the input together."""
    if waiting[0].ndim:
        return _sending_many(fixed, given, waiting)
    told, near, newest = [], waiting[0], 0.0
    for x, *a in given:
        (a,) = a or fixed
        y = x + near - newest
        near, *others = *waiting[1:], jnp.zeros_like(y)
        waiting = [near, *[w - a[k] * y for k, w in enumerate(others, 1)]]
        newest = a[0] * y
        told.append((y,))
    return [near - newest, *waiting[1:]], told


def _sending_many(fixed, given, waiting):
    told, (waiting,) = [], waiting
    for x, *a in given:
        (a,) = a or fixed
        y = x + waiting[0]
        waiting = jnp.append(waiting[1:], 0) - a * y
        told.append((y,))
    return [waiting], told


def companion(a):
    """[-a; 1 0 ..; 0 1 ..] of each sample."""
    samples, order = a.shape
    below = jnp.eye(order - 1, order, dtype=a.dtype)
    below = jnp.broadcast_to(below, (samples, order - 1, order))
    return jnp.concatenate([-a[:, None, :], below], 1)


def parallel(a, x, past, backwards=False):
    """The states s[n] = A[n] s[n - 1] + (x[n], 0, ..)."""

    def of_row(a, x, past):
        a = jnp.broadcast_to(a, (*x.shape, a.shape[-1]))
        inputs = jnp.zeros_like(a).at[:, 0].set(x)
        return states_at_once(companion(a), inputs, past, backwards)[:, 0]

    rows = as_rows(x.shape[:-1], a, x, past)
    return jax.vmap(of_row)(*rows).reshape(x.shape)


def parallel_transposed(a, x, waiting, backwards=False):
    """The states s[n] = A[n]' s[n - 1] - a[n] x[n]."""

    def of_row(a, x, waiting):
        a = jnp.broadcast_to(a, (*x.shape, a.shape[-1]))
        matrices = jnp.swapaxes(companion(a), 1, 2)
        states = states_at_once(matrices, -a * x[:, None], waiting, backwards)
        y = x + before(states, waiting, backwards)[:, 0]
        return [y, states[0 if backwards else -1]]

    rows = as_rows(x.shape[:-1], a, x, waiting)
    y, end = jax.vmap(of_row)(*rows)
    return [y.reshape(x.shape), end.reshape(waiting.shape)]
