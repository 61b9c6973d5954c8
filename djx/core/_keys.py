import zlib
from collections.abc import Sequence

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Int, Key, PRNGKeyArray


def stream_key(
    root: PRNGKeyArray, stream: str, step: int | Int[Array, ""] = 0
) -> PRNGKeyArray:
    """Gives the key of one step of one named stream.

    A key is a function of the root, the stream's name and the step alone, so neither
    the length of a chunk, nor a restart, nor what is logged can change a result.

    Args:
        root: the key of one seed.
        stream: what the randomness is for, such as `"step"` or `"evaluate"`.
        step: the step's index, which may be traced.

    Returns:
        A key that is independent of those of other streams and steps.
    """
    return jr.fold_in(jr.fold_in(root, zlib.crc32(stream.encode())), step)


def seed_keys(seeds: Sequence[int]) -> Key[Array, " seeds"]:
    """Gives the root keys of several seeds.

    Args:
        seeds: the seeds, as whole numbers.

    Returns:
        One typed key per seed.
    """
    return jnp.stack([jr.key(seed) for seed in seeds])
