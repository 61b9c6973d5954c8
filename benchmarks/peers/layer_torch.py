"""Calls of a layer in torch, alone or with its gradients."""

# Torch comes with the bench extra only.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from collections.abc import Callable, Sequence

import numpy as np
import torch

from .torch_ode import one_thread


def layer_call(
    layer: Callable, given: Sequence[np.ndarray], gradient: bool, read: Callable
):
    """`make` of a layer of a batch; see `layer_jax.layer_call`."""

    def make():
        one_thread()
        parts = [torch.tensor(part, requires_grad=gradient) for part in given]

        def call():
            if not gradient:
                with torch.no_grad():
                    return layer(*parts).numpy()
            loss = torch.sum(torch.sin(layer(*parts)))
            return [g.numpy() for g in torch.autograd.grad(loss, parts)]

        return call, read if gradient else (lambda result: {})

    return make
