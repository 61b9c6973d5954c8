"""The latent SDE's training step in torch: torchsde, with and without its adjoint."""

# Torch comes with the bench extra only, and its solvers' annotations are their own.
# pyright: reportMissingImports=false, reportArgumentType=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false

import numpy as np
import torch
import torchsde

from ..diffeq_problems import EVERY, latent_sde, Layers, SDE_STEP, SDE_STEPS
from .jax_latent import DRAWS
from .torch_ode import network, one_thread, read_step, value_and_gradient


class _Latent(torch.nn.Module):
    """Drifts and diffusion under the names that torchsde looks for."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, layers: dict[str, Layers]):
        super().__init__()
        self.posterior = network(layers["posterior"], torch.nn.Softplus)
        self.prior = network(layers["prior"], torch.nn.Softplus)
        (first, shift), (second, bias) = layers["diffusion"]
        self.first = torch.nn.Parameter(torch.tensor(first))
        self.shift = torch.nn.Parameter(torch.tensor(shift))
        self.second = torch.nn.Parameter(torch.tensor(second))
        self.bias = torch.nn.Parameter(torch.tensor(bias))
        self.context = torch.empty(0)

    def f(self, t, z):
        return self.posterior(torch.cat([z, self.context], 1))

    def h(self, t, z):
        return self.prior(z)

    def g(self, t, z):
        hidden = torch.nn.functional.softplus(z[..., None] * self.first + self.shift)
        return torch.sigmoid((hidden * self.second).sum(-1) + self.bias)


def latent(batch: int, hidden: int, adjoint: bool):
    """`make` of a training step of the latent SDE."""

    def make():
        one_thread()
        torch.manual_seed(0)
        layers, given = latent_sde(batch, hidden)
        sde = _Latent(layers)
        sde.context = torch.tensor(given["contexts"])
        decoder = network(layers["decoder"], torch.nn.Softplus)
        starts = torch.tensor(given["starts"])
        observations = torch.tensor(given["observations"])
        times = torch.arange(0, SDE_STEPS + 1, EVERY) * SDE_STEP
        solve = torchsde.sdeint_adjoint if adjoint else torchsde.sdeint

        def loss():
            zs, divergences = solve(
                sde, starts, times, dt=SDE_STEP, method="euler", logqp=True
            )
            decoded = decoder(zs[1:]).transpose(0, 1)
            likelihood = ((decoded - observations) ** 2).sum((1, 2)) / 2
            return (likelihood + divergences.sum(0)).mean()

        call = value_and_gradient([sde, decoder], loss)

        def read(result):
            losses = [float(call()[0]) for _ in range(DRAWS)]
            return read_step(result) | {"loss": float(np.mean(losses))}

        return call, read

    return make
