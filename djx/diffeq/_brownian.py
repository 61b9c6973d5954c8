from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree


CHUNK = 50  # steps whose noise is drawn in one go


class BulkBrownianPath(diffrax.AbstractBrownianPath):
    """Brownian increments drawn many steps at a time, for fixed steps.

    The increment over step `k` is a function of the key, the path's number and `k`
    alone: `sqrt(t1 - t0)` times a standard normal. Refining the grid therefore gives
    another path; use `diffrax.VirtualBrownianTree` where steps adapt or where one path
    is wanted on several grids. Solves differentiate through it in every mode: the
    noise is a constant.

    Args:
        shape: of one increment, a tuple or a pytree of `jax.ShapeDtypeStruct`.
        key: source of the noise.
        path: number of the path under that key, may be traced or batched.
    """

    shape: PyTree[jax.ShapeDtypeStruct] = eqx.field(static=True)
    key: PRNGKeyArray
    levy_area: Any = eqx.field(static=True, default=diffrax.BrownianIncrement)

    def __init__(
        self,
        shape: tuple[int, ...] | PyTree[jax.ShapeDtypeStruct],
        key: PRNGKeyArray,
        *,
        path: int | Int[Array, ""] | None = None,
    ):
        if isinstance(shape, tuple) and all(isinstance(n, int) for n in shape):
            shape = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
        self.shape = shape
        self.key = key if path is None else jr.fold_in(key, path)
        self.levy_area = diffrax.BrownianIncrement

    @property
    def t0(self):
        return -jnp.inf

    @property
    def t1(self):
        return jnp.inf

    def normals(self, chunk: int | Int[Array, ""]) -> PyTree[Float[Array, "chunk ..."]]:
        """The standard normals of steps `chunk * CHUNK` to `(chunk + 1) * CHUNK - 1`.

        Args:
            chunk: which run of steps.

        Returns:
            Arrays with a leading axis of `CHUNK` steps.
        """
        leaves, structure = jax.tree.flatten(self.shape)
        keys = jr.split(jr.fold_in(self.key, chunk), len(leaves))
        drawn = [
            jr.normal(key, (CHUNK, *leaf.shape), leaf.dtype)
            for key, leaf in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, drawn)

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        """Not defined: increments belong to steps, not to times.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "BulkBrownianPath has no value at a time: it serves fixed steps in "
            "djx.diffeq.diffeqsolve; use diffrax.VirtualBrownianTree here"
        )
