"""Layers of quadratic programs in JAX: djx, qpax and JAXopt's OSQP."""

# Peers come with the bench extra only.
# pyright: reportMissingImports=false, reportArgumentType=false

from collections.abc import Callable


def djx_layer(Q, q, A, b, G, h):
    """Interior points, polished."""
    from djx.implicit import qp

    return qp(Q, q, A, b, G, h).value.x


def qpax_layer(backend: str) -> Callable:
    """Interior points, with relaxed conditions for the derivative.

    Args:
        backend: "e" or "i".

    Returns:
        The layer.
    """
    import qpax

    def layer(Q, q, A, b, G, h):
        return qpax.solve_qp_primal(Q, q, A, b, G, h, backend=backend)

    return layer


def osqp_layer(Q, q, A, b, G, h):
    """Splitting, with implicit derivatives."""
    import jaxopt

    found = jaxopt.OSQP(tol=1e-6, maxiter=20000).run(
        params_obj=(Q, q), params_eq=(A, b), params_ineq=(G, h)
    )
    return found.params.primal
