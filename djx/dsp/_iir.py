"""Recursive filters with numerators, and cascades of them."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._allpole import per_sample
from ._cascade import cascade
from ._frames import floating


def lfilter(
    audio: Float[Array, " samples"],
    b: Float[Array, "#samples zeros"] | Float[Array, " zeros"],
    a: Float[Array, "#samples poles"] | Float[Array, " poles"],
    state: Float[Array, " order"] | None = None,
) -> tuple[Float[Array, " samples"], Float[Array, " order"]]:
    """a_0 y[n] = sum_k b_k x[n - k] - sum_(k > 0) a_k y[n - k].

    In transposed direct form II, whose states are SciPy's `zi` and `zf`. Where
    coefficients are given for every sample, b_k and a_k of sample n are those of what
    it sends on to sample n + k: a state is a sum of what is on its way, which a change
    of coefficients does not touch. (`allpole` is of the other kind, direct form I: its
    coefficients belong to the sample that listens.)

    The derivative is exact; it runs the recurrence once more, backwards, and keeps
    nothing but input and output. On CPUs a stream in chunks of multiples of 64 samples
    gives the bits of the whole.

    Args:
        audio: x.
        b: numerator, for every sample or for all.
        a: denominator, likewise, with a_0.
        state: what waits for the first samples; silence if None.

    Returns:
        The output, and the state after it. The order is the larger of both.

    Raises:
        ValueError: where shapes do not agree.
    """
    audio, b, a = _of_one_type(audio, b, a)
    _check_series("b", b, audio, "zeros")
    _check_series("a", a, audio, "poles")
    order = max(b.shape[-1], a.shape[-1]) - 1
    state = _check_state(state, (order,), audio)
    section = _normal(b, a)
    if order == 0:
        return per_sample(section[0], audio) * audio, state
    y, state = cascade(audio, [section], state[None])
    return y, state[0]


def sosfilt(
    audio: Float[Array, " samples"],
    sections: Float[Array, "*samples sections 6"],
    state: Float[Array, "sections 2"] | None = None,
) -> tuple[Float[Array, " samples"], Float[Array, "sections 2"]]:
    """A cascade of second-order sections, each as in `lfilter`.

    States are those of SciPy's `sosfilt`.

    Args:
        audio: samples.
        sections: b_0, b_1, b_2, a_0, a_1, a_2 of each, for every sample or for all.
        state: of each section; silence if None.

    Returns:
        The last section's output, and the states after it.

    Raises:
        ValueError: where shapes do not agree.
    """
    audio, sections = _of_one_type(audio, sections)
    _check_series("sections", sections, audio, "sections, 6")
    if sections.shape[-1] != 6:
        raise ValueError(
            f"sections have 6 coefficients, b_0 to b_2 and a_0 to a_2, not "
            f"{sections.shape[-1]}"
        )
    count = sections.shape[-2]
    state = _check_state(state, (count, 2), audio)
    each = [sections[..., i, :] for i in range(count)]
    normal = [_normal(section[..., :3], section[..., 3:]) for section in each]
    return cascade(audio, normal, state)


def _normal(b: Array, a: Array) -> list[Array]:
    """b_0, .., b_K, a_1, .., a_K, where a_0 is 1."""
    count = max(b.shape[-1], a.shape[-1])
    zero = jnp.zeros_like(a[..., 0])
    both = [
        [part[..., k] if k < part.shape[-1] else zero for k in range(count)]
        for part in (b, a)
    ]
    return jnp.broadcast_arrays(
        *[part / a[..., 0] for part in (*both[0], *both[1][1:])]
    )


def _of_one_type(*arrays) -> list[Array]:
    arrays = [floating(array) for array in arrays]
    dtype = jnp.result_type(*arrays)
    return [array.astype(dtype) for array in arrays]


def _check_series(name: str, given, audio, shape: str) -> None:
    """Whether coefficients are those of all samples, or of each."""
    if audio.ndim != 1:
        raise ValueError(f"audio is (samples,), not {audio.shape}: see jax.vmap")
    axes = len(shape.split(", "))
    lead = given.shape[: given.ndim - axes] if given.ndim >= axes else None
    if lead not in ((), audio.shape) or given.shape[-1] == 0:
        raise ValueError(
            f"{name} is ({shape}), or that for each of {audio.shape[0]} samples, not "
            f"{given.shape}"
        )


def _check_state(state, shape: tuple[int, ...], audio):
    if state is None:
        return jnp.zeros(shape, audio.dtype)
    if state.shape != shape:
        raise ValueError(f"state has shape {state.shape}, and {shape} is needed")
    return state.astype(audio.dtype)
