"""The states of linear systems, and their adjoint."""

import functools as ft

import jax
import jax.numpy as jnp

from ..core import bind
from ._recurrence import as_rows, before, by_samples, longest_turn, states_at_once
from ._rows import Lanes


class _States(Lanes):
    """s[n + 1] = A[n] s[n] + u[n]; or, as its adjoint, s[n - 1] = A[n]' s[n] + u[n].

    Of (..., samples, S, S) or (..., S, S), (..., samples, S) and (..., S) arrays.
    Results are the states before each sample, and that after the last.
    """

    def __init__(self, adjoint: bool):
        self.adjoint = adjoint

    def run(self, a, u, start):
        if u.size == 0:
            return [u, start]
        return jax.lax.platform_dependent(
            *(a, u, start),
            cpu=ft.partial(_states_one_by_one, adjoint=self.adjoint),
            default=ft.partial(scanned, adjoint=self.adjoint),
        )

    def linearised(self, active, primals):
        a, u, start = primals
        before, end = bind(self, *primals)

        def push(tangents):
            given = iter(tangents)
            da, du, dstart = (next(given) if one else None for one in active)
            du = jnp.zeros_like(u) if du is None else du
            if da is not None:
                du += product(_as_needed(da, self.adjoint), before)
            dstart = jnp.zeros_like(start) if dstart is None else dstart
            return bind(self, a, du, dstart)

        return [before, end], push

    def transposed(self, linear, cotangents, arguments):
        a, *given = arguments
        whole = [
            jnp.zeros(like.shape, like.dtype) if c is None else c
            for c, like in zip(cotangents, given, strict=True)
        ]
        d_u, d_start = bind(STATES if self.adjoint else ADJOINT, a, *whole)
        return [None, d_u if linear[1] else None, d_start if linear[2] else None]


STATES, ADJOINT = _States(False), _States(True)


def _as_needed(a, adjoint: bool):
    return jnp.swapaxes(a, -1, -2) if adjoint else a


def product(matrices, vectors):
    """Of each sample's matrix, or of one matrix, and each sample's vector."""
    if matrices.ndim == vectors.ndim:
        return vectors @ jnp.swapaxes(matrices, -1, -2)
    return jnp.sum(matrices * vectors[..., None, :], -1)


def run_by_samples(turn, matrices, series, start, results, backwards=False):
    """States of few numbers are held in registers, those of many in an array."""
    lead, states = start.shape[:-1], start.shape[-1]
    m, series, (start,) = (as_rows(lead, *p) for p in ([matrices], series, [start]))
    varying = matrices.ndim > len(lead) + 2
    few = states * start.dtype.itemsize <= 16
    numbers = matrices.shape[-1] * matrices.shape[-2]
    count = longest_turn(20 if varying else 40, numbers, start.dtype) if few else 1
    state = [start[:, k] for k in range(states)] if few else [start]
    series, fixed = ([*series, *m], []) if varying else (series, m)
    end, outs = by_samples(turn, state, series, fixed, results, count, backwards)
    end = jnp.stack(end, -1) if few else end[0]
    outs = [out.reshape(*lead, *out.shape[1:]) for out in outs]
    return [*outs, end.reshape(*lead, states)]


def _states_one_by_one(a, u, start, adjoint=False):
    turn = ft.partial(_states_turn, adjoint=adjoint)
    return run_by_samples(turn, a, [u], start, [(start.shape[-1],)], adjoint)


def _states_turn(fixed, given, state, adjoint):
    told = []
    for u, *a in given:
        (a,) = a or fixed
        a = _as_needed(a, adjoint)
        if state[0].ndim:
            (before,) = state
            state = [u + jnp.sum(a * before, -1)]
        else:
            before = jnp.stack(state)
            state = [
                sum((a[i, j] * s for j, s in enumerate(state)), start=u[i])
                for i in range(len(state))
            ]
        told.append((before,))
    return state, told


def scanned(a, u, start, adjoint=False):
    def of_row(a, u, start):
        a = jnp.broadcast_to(_as_needed(a, adjoint), (*u.shape, u.shape[-1]))
        states = states_at_once(a, u, start, adjoint)
        return [before(states, start, adjoint), states[0 if adjoint else -1]]

    lead = start.shape[:-1]
    outs = jax.vmap(of_row)(*as_rows(lead, a, u, start))
    return [out.reshape(*lead, *out.shape[1:]) for out in outs]
