import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray


def steer_end_time(
    t1: float | Array, half_width: float | Array, *, key: PRNGKeyArray
) -> Float[Array, ""]:
    """STEER: an end time drawn uniformly from (t1 - b, t1 + b) for one training step.

    Ghosh et al. 2020, equation 4. At prediction use t1 itself. Keep b below t1 - t0.

    Args:
        t1: the nominal end time.
        half_width: b, in units of time.
        key: source of the draw.

    Returns:
        An end time.
    """
    dtype = jnp.result_type(float)
    return t1 + half_width * jr.uniform(key, (), dtype, minval=-1, maxval=1)
