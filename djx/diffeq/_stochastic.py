"""One step of each stochastic method that djx's engine runs itself."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree


class Products(NamedTuple):
    """Field times control, as functions of (t, y, control)."""

    drift: Callable[[Any, PyTree, PyTree], PyTree]
    diffusion: Callable[[Any, PyTree, PyTree], PyTree]


Step = Callable[[Products, Any, Any, PyTree, Any], PyTree]


def euler_heun_step(p: Products, t0: Any, t1: Any, y: PyTree, control: Any) -> PyTree:
    """Euler for the drift, Heun for the diffusion: Stratonovich."""
    h, noise = control
    drift = p.drift(t0, y, h)
    first = p.diffusion(t0, y, noise)
    second = p.diffusion(t0, jax.tree.map(jnp.add, y, first), noise)
    return jax.tree.map(
        lambda y, f, a, b: y + f + 0.5 * (a + b), y, drift, first, second
    )


def stratonovich_milstein_step(
    p: Products, t0: Any, t1: Any, y: PyTree, control: Any
) -> PyTree:
    """Milstein's method for commutative noise in Stratonovich's sense."""
    h, noise = control
    drift = p.drift(t0, y, h)
    first, second = _along(p.diffusion, t0, y, noise)
    return jax.tree.map(lambda y, f, a, b: y + f + a + 0.5 * b, y, drift, first, second)


def ito_milstein_step(p: Products, t0: Any, t1: Any, y: PyTree, control: Any) -> PyTree:
    """Milstein's method for commutative noise in Ito's sense.

    The double integrals are (dW_i dW_j - delta_ij h) / 2. Their first part is the
    derivative of the noise along the noise; the second takes one more derivative for
    each dimension of the noise (Kloeden and Platen 1992, section 10.3).
    """
    h, noise = control
    diffusion = p.diffusion
    drift = p.drift(t0, y, h)
    first, second = _along(diffusion, t0, y, noise)
    flat, unflatten = ravel_pytree(noise)

    def one(direction):
        return _along(diffusion, t0, y, unflatten(direction))[1]

    each = jax.vmap(one)(jnp.eye(flat.size, dtype=flat.dtype))
    return jax.tree.map(
        lambda y, f, a, b, c: y + f + a + 0.5 * (b - h.astype(c.dtype) * jnp.sum(c, 0)),
        y,
        drift,
        first,
        second,
        each,
    )


def _along(diffusion, t, y, noise):
    """The noise g dW, and its derivative along itself, (g dW . grad) g dW."""
    first = diffusion(t, y, noise)
    _, second = jax.jvp(lambda y: diffusion(t, y, noise), (y,), (first,))
    return first, second


STEPS: dict[type, Step] = {
    diffrax.EulerHeun: euler_heun_step,
    diffrax.StratonovichMilstein: stratonovich_milstein_step,
    diffrax.ItoMilstein: ito_milstein_step,
}
