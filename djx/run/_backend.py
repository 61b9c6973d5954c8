"""Whether the installed XLA can be trusted."""

import jax
import jax.numpy as jnp

from ..core.errors import BackendError


def check_backend() -> None:
    """Refuses an XLA that gets sums of matrix products wrong on CPUs.

    jaxlib 0.10.2 hands a sum over a product with a constant to a fused kernel that
    reads memory which nobody wrote, without a word: https://github.com/jax-ml/jax has
    reports of it (39103, 40412). Tested for is what it does, not a list of versions.

    Raises:
        BackendError: where a small sum comes out wrong; it names the remedy.
    """
    if jax.default_backend() != "cpu":
        return
    # From 64 x 64 on; whole numbers, so that the sum is exact.
    side = 64
    matrix = jnp.arange(side**2, dtype=jnp.float32).reshape(side, side) % 7
    found = jax.jit(_sum_of_product)(matrix)
    if float(found) != side * float(matrix.sum()):
        raise BackendError(
            f"jaxlib {jax.lib.__version__} computes sums of matrix products wrongly on "
            "this CPU; install another (pip install 'jax!=0.10.2' 'jaxlib!=0.10.2') or "
            "set XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type="
        )


def _sum_of_product(matrix):
    return jnp.sum(matrix @ jnp.ones_like(matrix))
