"""An equilibrium layer in torch: torchdeq."""

# Torch and the layer come with the bench extra only.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from collections.abc import Callable

import torch


def torchdeq_layer(tolerance: float) -> Callable:
    """Fixed-point iteration, forward and for the adjoint."""
    from torchdeq import get_deq

    deq = get_deq(
        ift=True,
        f_solver="fixed_point_iter",
        b_solver="fixed_point_iter",
        f_max_iter=1000,
        b_max_iter=1000,
        f_tol=tolerance,
        b_tol=tolerance,
        f_stop_mode="rel",
        b_stop_mode="rel",
    )

    def layer(W, x):
        found, _ = deq(lambda z: torch.tanh(z @ W.T + x), torch.zeros_like(x))
        return found[-1]

    return layer
