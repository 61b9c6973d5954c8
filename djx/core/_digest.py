import hashlib
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PyTree

from ._tree import leaf_names


def leaf_digest(leaf: Array | np.ndarray) -> str:
    """SHA-256 of one array's type, shape and bits.

    Args:
        leaf: an array; a typed key counts by its implementation and data.

    Returns:
        The digest in hexadecimal.
    """
    kind = ""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        kind = str(jr.key_impl(leaf))
        leaf = jr.key_data(leaf)
    host = np.asarray(leaf)
    header = f"{kind}|{host.dtype.name}|{host.shape}|".encode()
    return hashlib.sha256(header + host.tobytes()).hexdigest()


def combine_digests(named: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over (name, digest) pairs.

    Args:
        named: the pairs, in order.

    Returns:
        The digest in hexadecimal.
    """
    text = "\n".join(f"{name} {digest}" for name, digest in named)
    return hashlib.sha256(text.encode()).hexdigest()


def tree_digest(tree: PyTree) -> str:
    """SHA-256 of a pytree of arrays: equal exactly when names, types and bits are.

    Args:
        tree: a pytree of arrays.

    Returns:
        The digest in hexadecimal.
    """
    leaves = jax.tree.leaves(tree)
    pairs = zip(leaf_names(tree), map(leaf_digest, leaves), strict=True)
    return combine_digests(pairs)
