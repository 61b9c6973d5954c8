"""What the races of implicit layers solve, as numpy arrays, and the exact answers."""

# Clarabel comes with the bench extra only.
# pyright: reportMissingImports=false

from typing import NamedTuple

import numpy as np


class Programs(NamedTuple):
    """Quadratic programs: minimise x'Qx/2 + q'x where Ax = b and Gx <= h."""

    Q: np.ndarray
    q: np.ndarray
    A: np.ndarray
    b: np.ndarray
    G: np.ndarray
    h: np.ndarray


def quadratic_programs(batch: int, n: int) -> Programs:
    """Random strictly convex programs with points inside, in float64.

    Args:
        batch: how many.
        n: unknowns and inequalities; a fifth as many equalities.

    Returns:
        The programs, with the batch in front.
    """
    random = np.random.default_rng(0)
    half = random.standard_normal((batch, n, n))
    Q = half @ half.transpose(0, 2, 1) / n + 0.1 * np.eye(n)
    q = random.standard_normal((batch, n))
    A = random.standard_normal((batch, n // 5, n))
    G = random.standard_normal((batch, n, n))
    inside = random.standard_normal((batch, n))
    b = np.einsum("kij,kj->ki", A, inside)
    h = np.einsum("kij,kj->ki", G, inside) + random.random((batch, n))
    return Programs(Q, q, A, b, G, h)


def program_gradients(programs: Programs) -> np.ndarray:
    """The gradient of sum(sin(x)) by q, b and h, one row for each program.

    Clarabel's multipliers say which inequalities hold with equality; the solution and
    its derivative are then those of a linear system, solved directly. An answer that
    is not optimal is refused.

    Args:
        programs: with the batch in front.

    Returns:
        `(batch, n + p + m)`.
    """
    return np.stack([_gradient(*parts) for parts in zip(*programs, strict=True)])


def _gradient(Q, q, A, b, G, h) -> np.ndarray:
    n, p, m = len(q), len(b), len(h)
    for tolerance in (1e-8, 1e-10, 1e-12):  # it loses its way if asked for too much
        active = _active(Q, q, A, b, G, h, tolerance)
        C = np.vstack([A, G[active]])
        count = len(C)
        kkt = np.block([[Q, C.T], [C, np.zeros((count, count))]])
        x = np.linalg.solve(kkt, np.concatenate([-q, b, h[active]]))
        slack, multipliers = h - G @ x[:n], x[n + p :]
        if min(slack.min(), multipliers.min(initial=0)) > -1e-9:
            break
    else:
        raise ValueError("the reference found another active set than the optimum's")
    u = np.linalg.solve(kkt, np.concatenate([np.cos(x[:n]), np.zeros(count)]))
    of_h = np.zeros(m)
    of_h[active] = u[n + p :]
    return np.concatenate([-u[:n], u[n : n + p], of_h])


def _active(Q, q, A, b, G, h, tolerance: float) -> np.ndarray:
    import clarabel
    from scipy.sparse import csc_matrix

    p = len(b)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tolerance
    cones = [clarabel.ZeroConeT(p), clarabel.NonnegativeConeT(len(h))]
    rows, right = csc_matrix(np.vstack([A, G])), np.concatenate([b, h])
    found = clarabel.DefaultSolver(
        csc_matrix(np.triu(Q)), q, rows, right, cones, settings
    ).solve()
    return np.array(found.z[p:]) > np.array(found.s[p:])


class Equilibria(NamedTuple):
    """Fixed points of z = tanh(Wz + x), one for each row of x."""

    W: np.ndarray
    x: np.ndarray


RADIUS = 0.95  # of the weights; the layer contracts by somewhat less


def equilibria(batch: int, width: int, dtype: str) -> Equilibria:
    """A random layer and its inputs.

    Args:
        batch: rows of x.
        width: of the layer.
        dtype: of both.

    Returns:
        Weights of spectral radius `RADIUS`, and standard normal inputs times 0.3.
    """
    random = np.random.default_rng(0)
    W = random.standard_normal((width, width))
    W = W * (RADIUS / np.max(np.abs(np.linalg.eigvals(W))))
    x = 0.3 * random.standard_normal((batch, width))
    return Equilibria(W.astype(dtype), x.astype(dtype))


def equilibrium_gradients(layer: Equilibria) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of sum(sin(z)) by W and x, in float64.

    Newton's method on every row, and the transposed linear system solved directly.

    Args:
        layer: weights and inputs.

    Returns:
        Shaped as W and x.
    """
    W, x = (part.astype(np.float64) for part in layer)
    eye, of_W, of_x = np.eye(len(W)), np.zeros_like(W), np.zeros_like(x)
    for row, given in enumerate(x):
        z = np.zeros_like(given)
        for _ in range(200):
            image = np.tanh(W @ z + given)
            slope = (1 - image**2)[:, None] * W
            step = np.linalg.solve(eye - slope, image - z)
            z = z + step
            if np.max(np.abs(step)) < 1e-14:
                break
        else:
            raise ValueError("Newton's method did not find the equilibrium")
        weight = 1 - np.tanh(W @ z + given) ** 2
        adjoint = weight * np.linalg.solve((eye - weight[:, None] * W).T, np.cos(z))
        of_W += np.outer(adjoint, z)
        of_x[row] = adjoint
    return of_W, of_x
