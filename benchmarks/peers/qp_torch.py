"""Layers of quadratic programs in torch: qpth and cvxpylayers."""

# Torch and the layers come with the bench extra only, or by hand.
# pyright: reportMissingImports=false, reportArgumentType=false
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable

import torch

from ..implicit_problems import Programs


def qpth_layer(Q, q, A, b, G, h):
    """OptNet's batched interior points."""
    from qpth.qp import QPFunction

    return QPFunction(verbose=-1, check_Q_spd=False)(Q, q, G, h, A, b)


def cvxpy_layer(programs: Programs) -> Callable:
    """Cvxpylayers over Q's Cholesky factor, as its rules of composition ask for."""
    import cvxpy as cp
    from cvxpylayers.torch import CvxpyLayer

    n, p, m = (len(part[0]) for part in (programs.q, programs.b, programs.h))
    x = cp.Variable(n)
    half, q = cp.Parameter((n, n)), cp.Parameter(n)
    A, b = cp.Parameter((p, n)), cp.Parameter(p)
    G, h = cp.Parameter((m, n)), cp.Parameter(m)
    objective = cp.Minimize(cp.sum_squares(half @ x) / 2 + q @ x)
    problem = cp.Problem(objective, [A @ x == b, G @ x <= h])
    solve = CvxpyLayer(problem, parameters=[half, q, A, b, G, h], variables=[x])

    def layer(Q, *rest):
        return solve(torch.linalg.cholesky(Q).mT, *rest)[0]

    return layer


def available(name: str) -> bool:
    """Whether a peer that pip cannot resolve beside the others was put in by hand."""
    from importlib.util import find_spec

    return find_spec(name) is not None
