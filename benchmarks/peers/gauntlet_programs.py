"""The gauntlet's programs run by qpax, qpth and cvxpylayers."""

# Torch and the layers come with the bench extra only, or by hand.
# pyright: reportMissingImports=false, reportArgumentType=false
# pyright: reportAttributeAccessIssue=false

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Mapping

import jax
import numpy as np

from ..implicit_gauntlet import Answer, Ask
from ..implicit_gauntlet_cases import Case
from .gauntlet_problems import arrays
from .qp_torch import available


def differentiated(case: Case, layer: Callable, how: str) -> Answer:
    """A layer of JAX, by q.

    Args:
        case: the program.
        layer: of its six data, to the solution and whether something is reported.
        how: by what.

    Returns:
        The answer.
    """
    data, theta, axes = arrays(case)

    def loss(q, data):
        x, told = layer(data["Q"], q, *(data[key] for key in "AbGh"))
        return data["w"] @ x, (x, told)

    both = jax.grad(loss, has_aux=True)
    if case.lanes:
        both = jax.vmap(both, in_axes=(0, axes))
    gradient, (x, told) = jax.block_until_ready(jax.jit(both)(theta, data))
    return Answer(np.asarray(gradient), np.asarray(x), np.asarray(told), how)


def by_qpax(case: Case, **options) -> Answer | None:
    """Interior points; only the solution comes out of what can be differentiated."""
    if case.kind != "program":
        return None
    import qpax

    def layer(*program):
        return qpax.solve_qp_primal(*program, **options), False

    return differentiated(case, layer, "")


def by_torch(case: Case, make: Callable) -> Answer | None:
    """A layer of torch; what it prints and warns of counts as a report."""
    if case.kind != "program":
        return None
    import torch

    dtype = getattr(torch, case.dtype)
    parts = {k: torch.tensor(np.asarray(v), dtype=dtype) for k, v in case.data.items()}
    q = torch.tensor(case.theta, dtype=dtype, requires_grad=True)
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as warned, contextlib.ExitStack() as to:
        to.enter_context(contextlib.redirect_stdout(printed))
        warnings.simplefilter("always")
        x = make(case)(parts["Q"], q, *(parts[key] for key in "AbGh"))
        (x.reshape(q.shape) @ parts["w"].to(x.dtype)).sum().backward()
    said = [str(one.message) for one in warned if issubclass(one.category, UserWarning)]
    told = "warning" in printed.getvalue().lower() or any(
        "inaccurate" in text.lower() or "infeasible" in text.lower() for text in said
    )
    if q.grad is None:
        raise ValueError("no gradient came out")
    return Answer(
        q.grad.numpy(),
        x.detach().numpy().reshape(q.shape),
        np.asarray(told),
        "prints a warning",
    )


def _qpth(case: Case) -> Callable:
    import torch
    from qpth.qp import QPFunction

    def layer(Q, q, A, b, G, h):
        none = torch.tensor([], dtype=q.dtype)
        equal = (A, b) if A.shape[-2] else (none, none)
        return QPFunction()(Q, q, G, h, *equal)

    return layer


def _cvxpylayers(case: Case) -> Callable:
    """Over Q's square root, as its rules of composition ask for."""
    import cvxpy as cp
    import torch
    from cvxpylayers.torch import CvxpyLayer

    n, p, m = (case.data[k].shape[-1] for k in ("Q", "b", "h"))
    x, half, q = cp.Variable(n), cp.Parameter((n, n)), cp.Parameter(n)
    G, h = cp.Parameter((m, n)), cp.Parameter(m)
    rules, given = [G @ x <= h], [half, q, G, h]
    if p:
        A, b = cp.Parameter((p, n)), cp.Parameter(p)
        rules.append(A @ x == b)
        given += [A, b]
    goal = cp.Minimize(cp.sum_squares(half @ x) / 2 + q @ x)
    solve = CvxpyLayer(cp.Problem(goal, rules), parameters=given, variables=[x])

    def layer(Q, q, A, b, G, h):
        values, vectors = torch.linalg.eigh(Q)
        root = vectors * values.clamp(min=0).sqrt()[..., None, :]
        equal = (A, b) if p else ()
        return solve(root.mT, q, G, h, *equal)[0]

    return layer


def libraries() -> Mapping[str, Ask]:
    """Those that are there."""
    found: dict[str, Ask] = {
        "qpax e": functools.partial(by_qpax, backend="e"),
        "qpax i": functools.partial(by_qpax, backend="i"),
        "qpax e, kappa 1e-9": functools.partial(
            by_qpax, backend="e", target_kappa=1e-9
        ),
    }
    for name, make in (("qpth", _qpth), ("cvxpylayers", _cvxpylayers)):
        if available(name):
            found[name] = functools.partial(by_torch, make=make)
    return found
