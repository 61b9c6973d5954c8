"""What a backward solve says of itself."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Receipt(eqx.Module):
    """An all-zero argument whose cotangent reports the linear solves behind it.

    Pass `Receipt.zeros()` to a solve and differentiate with respect to it as well: what
    comes out where its gradient would be is not a derivative but these figures. Under
    `vmap` a receipt with a batch axis reports every lane; one that is shared, or used
    by several solves, holds sums over them, which `mean` divides by their number.

    Attributes:
        solves: linear solves, so 1 for one lane of one solve.
        failed: those whose `error` is above the tolerance, or not finite.
        iterations: products with the operator's transpose; 0 for a direct solve.
        residual: |v - A' u| / |v| for the cotangent v and its adjoint u, measured with
            one more product.
        condition: of A in the 1-norm, estimated where A was factored, else NaN.
        error: estimated relative error of u.
        kinks: solutions at a kink, where the derivative is one of several.
    """

    solves: Float[Array, "..."]
    failed: Float[Array, "..."]
    iterations: Float[Array, "..."]
    residual: Float[Array, "..."]
    condition: Float[Array, "..."]
    error: Float[Array, "..."]
    kinks: Float[Array, "..."]

    @classmethod
    def zeros(cls, shape: tuple[int, ...] = ()) -> "Receipt":
        """Receipts that say nothing yet.

        Args:
            shape: of the batch, one receipt a lane.

        Returns:
            Zeros in the default precision.
        """
        return cls(*[jnp.zeros(shape)] * 7)

    def mean(self) -> dict[str, Array]:
        """The figures by solve, for a log.

        In training: `supervised(..., probe=Receipt.zeros(), read_probe=Receipt.mean)`.

        Returns:
            "solves", "failed" and "kinks" as totals; the rest as means over solves.
        """
        total = jax.tree.map(jnp.sum, self)
        solves = jnp.maximum(total.solves, 1)
        return {
            "solves": total.solves,
            "failed": total.failed,
            "iterations": total.iterations / solves,
            "residual": total.residual / solves,
            "condition": total.condition / solves,
            "error": total.error / solves,
            "kinks": total.kinks,
        }
