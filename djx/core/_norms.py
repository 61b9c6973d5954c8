import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


# Below any square that matters, above zero: keeps the square root's slope finite.
_TINY = 1e-30


def safe_rms(tree: PyTree[Float[Array, "..."]]) -> Float[Array, ""]:
    """Root mean square over all elements, with a finite gradient at zero.

    Args:
        tree: real arrays.

    Returns:
        A scalar; zero (to about 1e-15) for an empty or zero tree.
    """
    leaves = jax.tree.leaves(tree)
    count = sum(leaf.size for leaf in leaves)
    if count == 0:
        return jnp.asarray(0.0)
    total = sum(jnp.sum(jnp.square(leaf)) for leaf in leaves)
    return jnp.sqrt(total / count + _TINY)
