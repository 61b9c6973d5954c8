"""Deep equilibrium layers."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PyTree

from ._fixed_point import fixed_point
from ._gradient import Gradient
from ._receipt import Receipt
from ._solution import Solution


class DEQ(eqx.Module):
    """A layer whose output is the fixed point z = cell(z, x) (Bai et al. 2019).

    Attributes:
        cell: of (z, x) for one sample, to an array like z; arrays in it are trained.
        gradient: how to differentiate; "jacobian_free" and "phantom" are the cheap
            approximations of Fung et al. 2022 and Geng et al. 2021.
        solver: as of `fixed_point`.
        tolerance: as of `fixed_point`.
        max_steps: as of `fixed_point`.
    """

    cell: Callable[[Any, Any], Any]
    gradient: Gradient = eqx.field(static=True, default=Gradient())
    solver: Literal["anderson", "picard", "broyden"] | Any = eqx.field(
        static=True, default="anderson"
    )
    tolerance: float = eqx.field(static=True, default=1e-5)
    max_steps: int = eqx.field(static=True, default=50)

    def __call__(
        self,
        x: PyTree,
        z0: PyTree,
        *,
        receipt: Receipt | None = None,
        start: PyTree | None = None,
    ) -> Solution:
        """The fixed point for one input; `vmap` for a batch, whose lanes stop alone.

        Args:
            x: the input.
            z0: where to start; zeros, or the last fixed point for this input.
            receipt: zeros whose cotangent is the report of the backward solve.
            start: the last adjoint for this input: what its cotangent was then.

        Returns:
            The solution; its value is z.
        """
        return fixed_point(
            self.cell,
            z0,
            x,
            solver=self.solver,
            gradient=self.gradient,
            receipt=receipt,
            start=start,
            tolerance=self.tolerance,
            max_steps=self.max_steps,
        )


def jacobian_penalty(
    cell: Callable[[Array, Any], Array], z: Array, x: Any, *, key: Any
) -> Float[Array, ""]:
    """|dcell/dz|^2 / d in the Frobenius norm, from one random product.

    Keeps a deep equilibrium layer contracting (Bai et al. 2021).

    Args:
        cell: of (z, x).
        z: the fixed point; differentiable.
        x: the input.
        key: of the Rademacher probe.

    Returns:
        An unbiased estimate.
    """
    probe = jr.rademacher(key, z.shape, z.dtype)
    _, pull = jax.vjp(lambda z: cell(z, x), z)
    return jnp.sum(pull(probe)[0] ** 2) / z.size


class SpectralLinear(eqx.Module):
    """A linear map whose spectral norm is at most `limit` (Miyato et al. 2018).

    The norm comes from power iteration with the weight itself, from a fixed start, so
    that the layer has no state; its derivative is taken through the last iterate.

    Attributes:
        weight: the matrix before it is scaled.
        bias: added.
    """

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"]
    limit: float = eqx.field(static=True, default=0.9)
    iterations: int = eqx.field(static=True, default=15)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        limit: float = 0.9,
        iterations: int = 15,
        *,
        key: Any,
    ):
        bound = 1 / in_size**0.5
        self.weight = jr.uniform(key, (out_size, in_size), minval=-bound, maxval=bound)
        self.bias = jnp.zeros(out_size)
        self.limit, self.iterations = limit, iterations

    def scaled(self) -> Float[Array, "out in"]:
        """The matrix that is used: shrunk where its norm exceeds the limit."""
        frozen = jax.lax.stop_gradient(self.weight)

        def step(_, v):
            w = frozen.T @ (frozen @ v)
            return w / (jnp.linalg.norm(w) + 1e-30)

        n = self.weight.shape[1]
        v = 1 + 0.5 * jnp.sin(jnp.arange(n, dtype=self.weight.dtype) * 12.9898)
        v = jax.lax.fori_loop(0, self.iterations, step, v / jnp.linalg.norm(v))
        u = frozen @ v
        u = u / (jnp.linalg.norm(u) + 1e-30)
        norm = u @ (self.weight @ v)
        return self.weight / jnp.maximum(1.0, norm / self.limit)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        """The map."""
        return self.scaled() @ x + self.bias
