"""The gauntlet's fixed points run by torchdeq."""

# Torch comes with the bench extra only.
# pyright: reportMissingImports=false

import functools

import numpy as np

from ..implicit_gauntlet import Answer
from ..implicit_gauntlet_cases import Case


def by_torchdeq(case: Case, **options) -> Answer | None:
    """Fixed points only; its residual is compared with its tolerance."""
    if case.kind != "fixed_point":
        return None
    import torch
    from torchdeq import get_deq

    dtype = getattr(torch, case.dtype)
    W, w, start = (
        torch.tensor(case.data[key], dtype=dtype) for key in ("W", "w", "start")
    )
    theta = torch.tensor(case.theta, dtype=dtype, requires_grad=True)
    if case.data["steps"]:
        options = options | {"f_max_iter": case.data["steps"]}
    deq = get_deq(**options)
    found, info = deq(lambda z: torch.tanh(z @ W.T + theta), start[None])
    z = found[-1]
    (z[0] @ w).backward()
    left = info[f"{deq.f_stop_mode}_lowest"]
    told = ~(left.detach().numpy() <= deq.f_tol)
    gradient = np.zeros(0) if theta.grad is None else theta.grad.numpy()
    return Answer(gradient, z[0].detach().numpy(), told.ravel()[:1], "residual in info")


LIBRARIES = {
    "torchdeq": by_torchdeq,
    "torchdeq, ift": functools.partial(
        by_torchdeq, ift=True, f_tol=1e-8, f_max_iter=500, b_tol=1e-8, b_max_iter=500
    ),
}
