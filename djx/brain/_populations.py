"""All to all between populations, with one weight for each pair of them."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Populations(eqx.Module):
    """Every sender of a population to every receiver of another, itself too.

    Edges are not stored: a step costs the sum over each population, whoever fires, as
    in Wang 2002, whose receptors of all senders are partly open at all times.
    Weights are a matrix, from a column's population to a row's.

    Attributes:
        sender_sizes: of the populations that send, in order.
        receiver_sizes: of those that receive.
    """

    sender_sizes: tuple[int, ...] = eqx.field(static=True)
    receiver_sizes: tuple[int, ...] = eqx.field(static=True)

    @property
    def delays(self) -> None:
        """Edges have none of their own."""
        return None

    @property
    def senders(self) -> int:
        """How many there are."""
        return sum(self.sender_sizes)

    @property
    def receivers(self) -> int:
        """How many there are."""
        return sum(self.receiver_sizes)

    @property
    def edges(self) -> int:
        """How many there are."""
        return self.senders * self.receivers

    def kind_of(self, shape: tuple[int, ...], per: str | None = None) -> str:
        """What weights are of.

        Args:
            shape: theirs.
            per: not to be told.

        Returns:
            "populations".

        Raises:
            ValueError: where they are not of each pair.
        """
        expected = len(self.receiver_sizes), len(self.sender_sizes)
        if shape != expected or per is not None:
            raise ValueError(
                f"weights: a matrix {expected}, from a column's population to a row's, "
                f"not {shape}"
            )
        return "populations"

    def pushed(
        self,
        spikes: Float[Array, " senders"],
        weights: Float[Array, "to since"],
        into: Float[Array, " receivers"],
    ) -> Float[Array, " receivers"]:
        """What arrives is added.

        Args:
            spikes: of senders, or how open what they released is.
            weights: of each pair of populations.
            into: what it is added to.

        Returns:
            The sum.
        """
        sums = spikes
        if max(self.sender_sizes) > 1:
            ends = np.cumsum(self.sender_sizes)[:-1]
            sums = jnp.stack([jnp.sum(some) for some in jnp.split(spikes, ends)])
        each = jnp.matmul(weights, sums, precision="highest")
        if max(self.receiver_sizes) > 1:
            sizes = enumerate(self.receiver_sizes)
            parts = [jnp.broadcast_to(each[k], (size,)) for k, size in sizes]
            each = jnp.concatenate(parts)
        return into + each


def of_single_cells(senders: int, receivers: int) -> Populations:
    """Every cell a population: weights are a matrix, a row for every receiver.

    What is dense and learned is best so: a batch of networks is a product of matrices,
    forward and back.

    Args:
        senders: how many.
        receivers: how many.

    Returns:
        The populations.
    """
    return Populations((1,) * senders, (1,) * receivers)
