"""The neural ODE and the Lorenz system in torch: torchdiffeq and torchode."""

# Torch comes with the bench extra only, and its solvers' annotations are their own.
# pyright: reportMissingImports=false, reportArgumentType=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false

import numpy as np
import torch
import torchdiffeq
import torchode

from ..diffeq_problems import (
    cubic_spiral,
    Layers,
    lorenz_columns,
    LORENZ_END,
    lorenz_starts,
    mlp_layers,
    TIMES,
    TOLERANCE,
)
from .jax_ode import SEED, SIZES


def one_thread() -> None:
    """Keeps torch to the thread that calls it."""
    torch.set_num_threads(1)


def network(layers: Layers, activation=torch.nn.Tanh):
    """The network that the others have, as torch's own layers."""
    modules: list[torch.nn.Module] = []
    for weight, bias in layers:
        linear = torch.nn.Linear(*weight.shape)
        linear.weight.data = torch.tensor(np.ascontiguousarray(weight.T))
        linear.bias.data = torch.tensor(bias)
        modules += [linear, activation()]
    return torch.nn.Sequential(*modules[:-1])


def value_and_gradient(modules: list[torch.nn.Module], loss):
    """A call that returns the loss and the gradient's norm squared, as tensors."""
    parameters = [p for module in modules for p in module.parameters()]

    def call():
        value = loss()
        gradient = torch.autograd.grad(value, parameters)
        return value.detach(), gradient

    return call


def read_step(result) -> dict[str, float]:
    """Loss and norm of the gradient."""
    loss, gradient = result
    squares = sum(float((g**2).sum()) for g in gradient)
    return {"loss": float(loss), "gradient": squares**0.5}


def neural_ode_torchdiffeq(batch: int):
    """`make` of a training step with `odeint` and dopri5, the batch as one system."""

    def make():
        one_thread()
        starts, paths = map(torch.tensor, cubic_spiral(batch))
        field = network(mlp_layers(SIZES, SEED))
        times = torch.tensor(TIMES, dtype=torch.float32)
        evaluations = 0

        def counting(t, y):
            nonlocal evaluations
            evaluations += 1
            return field(y)

        def loss():
            nonlocal evaluations
            evaluations = 0
            ys = torchdiffeq.odeint(
                counting, starts, times, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5"
            )
            return ((ys - paths) ** 2).mean()

        def read(result):
            return read_step(result) | {"evaluations": evaluations}

        return value_and_gradient([field], loss), read

    return make


def neural_ode_torchode(batch: int):
    """`make` of a training step with Tsit5, each sample with steps of its own."""

    def make():
        one_thread()
        starts, paths = map(torch.tensor, cubic_spiral(batch))
        field = network(mlp_layers(SIZES, SEED))
        times = torch.tensor(TIMES, dtype=torch.float32).expand(batch, -1)
        solver = _torchode_solver(lambda t, y: field(y))
        solution = None

        def loss():
            nonlocal solution
            problem = torchode.InitialValueProblem(y0=starts, t_eval=times)
            solution = solver.solve(problem)
            return ((solution.ys.transpose(0, 1) - paths) ** 2).mean()

        def read(result):
            assert solution is not None
            stats = solution.stats
            accepted, steps = stats["n_accepted"], stats["n_steps"]
            counted = {
                "accepted": float(accepted.float().mean()),
                "rejected": float((steps - accepted).float().mean()),
                "evaluations": int(stats["n_f_evals"].max()),
            }
            return read_step(result) | counted

        return value_and_gradient([field], loss), read

    return make


def _torchode_solver(field):
    term = torchode.ODETerm(field)
    return torchode.AutoDiffAdjoint(
        torchode.Tsit5(term=term),
        torchode.IntegralController(atol=TOLERANCE, rtol=TOLERANCE, term=term),
        # what the others do; the gradient of a step's size is no part of theirs
        backprop_through_step_size_control=False,
    )


def _lorenz_field(t, y):
    return torch.stack(lorenz_columns(*y.unbind(-1)), -1)


def lorenz_torchode(count: int, compiled: bool, read):
    """`make` of the Lorenz solves with torchode, each with steps of its own."""

    def make():
        one_thread()
        starts = torch.tensor(lorenz_starts(count))
        times = torch.tensor([0.0, LORENZ_END], dtype=starts.dtype).expand(count, -1)
        solve = _torchode_solver(_lorenz_field).solve
        solve = torch.compile(solve) if compiled else solve

        @torch.no_grad()
        def call():
            solution = solve(torchode.InitialValueProblem(y0=starts, t_eval=times))
            return solution.ys[:, -1].numpy(), solution.stats["n_steps"].numpy()

        return call, read

    return make


def lorenz_torchdiffeq(count: int, read):
    """`make` of the Lorenz solves with torchdiffeq's dopri5, as one system."""

    def make():
        one_thread()
        starts = torch.tensor(lorenz_starts(count))
        times = torch.tensor([0.0, LORENZ_END], dtype=starts.dtype)
        tolerances = {"rtol": TOLERANCE, "atol": TOLERANCE}

        @torch.no_grad()
        def call():
            ys = torchdiffeq.odeint(
                _lorenz_field, starts, times, method="dopri5", **tolerances
            )
            return ys[-1].numpy(), None

        return call, read

    return make
