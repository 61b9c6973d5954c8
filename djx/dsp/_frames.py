"""Frames of controls."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.errors import did_you_mean


def floating(controls) -> Float[Array, "..."]:
    """Arrays of at least single precision: half of it could hold no phase."""
    controls = jnp.asarray(controls)
    return controls.astype(jnp.promote_types(controls.dtype, jnp.float32))


def joined(first, second) -> Array:
    """Frames, and those that follow them."""
    return jnp.concatenate([first.astype(second.dtype), second])


def fade_weights(fade: str, hop: int) -> Float[np.ndarray, " hop"]:
    """The weight of the next frame's control at the samples of a frame.

    Args:
        fade: "linear" or "hann".
        hop: samples in a frame.

    Returns:
        Weights from 0 up, below 1.

    Raises:
        ValueError: where the fade is unknown.
    """
    if fade not in ("linear", "hann"):
        raise ValueError(
            f"fade={fade!r}: choose from 'linear', 'hann'"
            f"{did_you_mean(fade, ('linear', 'hann'))}"
        )
    place = np.arange(hop) / hop
    if fade == "hann":
        place = (1 - np.cos(np.pi * place)) / 2
    return place


def check_rate(sample_rate: float, hop: int) -> None:
    """Whether frames and samples can be counted.

    Raises:
        ValueError: if not.
    """
    if not sample_rate > 0:
        raise ValueError(f"sample_rate={sample_rate}: has to be positive, in Hz")
    check_hop(hop)
    if hop + 1 >= 2 * sample_rate:
        raise ValueError(f"hop={hop}: a frame is shorter than two seconds")


def check_hop(hop: int) -> None:
    """Whether a frame has samples.

    Raises:
        ValueError: if not.
    """
    if hop < 1 or hop != int(hop):
        raise ValueError(f"hop={hop}: a frame has a whole number of samples")
