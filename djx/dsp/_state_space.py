"""Linear systems of several states, whose matrices may change at every sample."""

import functools as ft

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import bind
from ._frames import floating
from ._rows import Lanes
from ._states import product, run_by_samples, scanned, STATES


def state_space(
    audio: Float[Array, "samples inputs"],
    A: Float[Array, "*samples states states"],
    B: Float[Array, "*samples states inputs"],
    C: Float[Array, "*samples outputs states"],
    D: Float[Array, "*samples outputs inputs"],
    state: Float[Array, " states"] | None = None,
) -> tuple[Float[Array, "samples outputs"], Float[Array, " states"]]:
    """y[n] = C s[n] + D x[n], s[n + 1] = A s[n] + B x[n].

    The derivative is exact: the adjoint is the same recurrence, run backwards with the
    transposed matrices. On CPUs samples are taken one by one, and a stream in chunks of
    multiples of 64 samples gives the bits of the whole; elsewhere they are taken in
    parallel, by an associative scan.

    Args:
        audio: x.
        A: for every sample or for all, as are the others.
        B: how the input enters the states.
        C: how the output hears them.
        D: how it hears the input.
        state: s[0]; silence if None.

    Returns:
        The output, and the state after the last sample.

    Raises:
        ValueError: where shapes do not agree.
    """
    audio, A, B, C, D = (floating(part) for part in (audio, A, B, C, D))
    if audio.ndim != 2:
        raise ValueError(f"audio is (samples, inputs), not {audio.shape}")
    samples, inputs = audio.shape
    states, outputs = A.shape[-1], C.shape[-2]
    sizes = {
        "A": (A, (states, states)),
        "B": (B, (states, inputs)),
        "C": (C, (outputs, states)),
        "D": (D, (outputs, inputs)),
    }
    for name, (part, shape) in sizes.items():
        if part.shape not in (shape, (samples, *shape)):
            raise ValueError(
                f"{name} is {shape}, or that for each of {samples} samples, not "
                f"{part.shape}"
            )
    if state is None:
        state = jnp.zeros(states)
    if state.shape != (states,):
        raise ValueError(f"state has shape {state.shape}, and A has {states} states")
    lead = jnp.broadcast_shapes(*[part.shape[:-2] for part in (A, B, C, D)])
    parts = [jnp.broadcast_to(p, (*lead, *p.shape[-2:])) for p in (A, B, C, D)]
    above, below = jnp.concatenate(parts[:2], -1), jnp.concatenate(parts[2:], -1)
    return system(jnp.concatenate([above, below], -2), audio, state)


def system(
    matrices: Float[Array, "*samples states+outputs states+inputs"],
    audio: Float[Array, "samples inputs"],
    state: Float[Array, " states"],
) -> tuple[Float[Array, "samples outputs"], Float[Array, " states"]]:
    """`state_space` of (A, B; C, D) as one matrix."""
    dtype = jnp.result_type(matrices, audio)
    given = (part.astype(dtype) for part in (matrices, audio, state))
    y, _, end = bind(_SYSTEM, *given)
    return y, end


class _System(Lanes):
    """Of (A, B; C, D), (..., samples, S + O, S + I) or (..., S + O, S + I), x and s[0].

    Results are the outputs, the states before each sample, and that after the last.
    """

    def run(self, m, x, start):
        states = start.shape[-1]
        if x.shape[-2] == 0 or start.size == 0:
            y = product(m[..., states:, states:], x)
            return [y, jnp.zeros((*x.shape[:-1], states), x.dtype), start]
        return jax.lax.platform_dependent(
            m, x, start, cpu=_one_by_one, default=_at_once
        )

    def linearised(self, active, primals):
        m, x, start = primals
        y, before, end = bind(self, *primals)
        states = start.shape[-1]

        def push(tangents):
            given = iter(tangents)
            dm, dx, dstart = (next(given) if one else None for one in active)
            added = jnp.zeros((*x.shape[:-1], m.shape[-2]), x.dtype)
            if dm is not None:
                added += product(dm, jnp.concatenate([before, x], -1))
            if dx is not None:
                added += product(m[..., states:], dx)
            dstart = jnp.zeros_like(start) if dstart is None else dstart
            A, C = m[..., :states, :states], m[..., states:, :states]
            dbefore, dend = bind(STATES, A, added[..., :states], dstart)
            return [added[..., states:] + product(C, dbefore), dbefore, dend]

        return [y, before, end], push


def _one_by_one(m, x, start):
    states = start.shape[-1]
    results = [(m.shape[-2] - states,), (states,)]
    return run_by_samples(_turn, m, [x], start, results)


def _turn(fixed, given, state):
    told = []
    for x, *m in given:
        (m,) = m or fixed
        if state[0].ndim:
            (before,) = state
            out = jnp.sum(m * jnp.concatenate([before, x]), -1)
            state, y = [out[: before.size]], out[before.size :]
        else:
            heard = [*[x[k] for k in range(x.size)], *state]
            places = [*range(len(state), m.shape[1]), *range(len(state))]
            before = jnp.stack(state)
            out = []
            for row in range(m.shape[0]):
                parts = zip(places, heard, strict=True)
                out.append(ft.reduce(jnp.add, [m[row, j] * h for j, h in parts]))
            state, y = out[: len(state)], jnp.stack(out[len(state) :])
        told.append((y, before))
    return state, told


def _at_once(m, x, start):
    states = start.shape[-1]
    A, B = m[..., :states, :states], m[..., :states, states:]
    before, end = scanned(A, product(B, x), start)
    y = product(m[..., states:, :], jnp.concatenate([before, x], -1))
    return [y, before, end]


_SYSTEM = _System()
