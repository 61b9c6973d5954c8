"""Derivatives of solves: against diffrax, closed forms and each other."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from djx import diffeq

from .systems import PID, solve, start


TS = np.linspace(0.2, 2.9, 9)
DIRECT = diffrax.DirectAdjoint()


def _loss(y0, args, t0, t1, dt0, ts, library=diffeq.diffeqsolve, **options):
    saveat = diffrax.SaveAt(ts=ts, t1=True)
    case = dict(y0=y0, args=args, t0=t0, t1=t1, dt0=dt0, saveat=saveat)
    ys = solve(library, **case, **options).ys
    return jnp.sum(jnp.sin(ys) * jnp.arange(1, 4))


def _arguments():
    y0, args = start()
    return y0, args, 0.0, 3.0, 0.3, jnp.asarray(TS)


@pytest.mark.parametrize(
    "controller", [PID, diffrax.ConstantStepSize()], ids=["adaptive", "fixed"]
)
def test_every_gradient_is_that_of_diffrax(x64, controller):
    """Of the state, the arguments, both ends, the first step and the times to save."""
    case = dict(stepsize_controller=controller)
    every = tuple(range(6))
    ours = jax.grad(_loss, every)(*_arguments(), **case)
    theirs = jax.grad(_loss, every)(
        *_arguments(), library=diffrax.diffeqsolve, adjoint=DIRECT, **case
    )
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert jnp.any(b != 0)
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_number_of_checkpoints_does_not_matter(x64):
    arguments = _arguments()
    expected = jax.grad(_loss, (0, 1))(*arguments)
    for count in (2, 4, 64):
        adjoint = diffrax.RecursiveCheckpointAdjoint(checkpoints=count)
        found = jax.grad(_loss, (0, 1))(*arguments, adjoint=adjoint)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_forward_and_reverse_mode_are_adjoint(x64):
    y0, args, *rest = _arguments()

    def states(y0, args):
        saveat = diffrax.SaveAt(ts=rest[-1], t1=True)
        solution = solve(y0=y0, args=args, saveat=saveat)
        return solution.ys, solution.stats["error_estimate"]

    keys = iter(jax.random.split(jax.random.key(5), 9))

    def noise(tree):
        return jax.tree.map(lambda x: jax.random.normal(next(keys), x.shape), tree)

    tangent = noise((y0, args))
    out, pushed = jax.jvp(states, (y0, args), tangent)
    cotangent = noise(out)
    pulled = jax.vjp(states, y0, args)[1](cotangent)

    def dot(a, b):
        return sum(
            jnp.vdot(x, y)
            for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        )

    np.testing.assert_allclose(dot(pushed, cotangent), dot(tangent, pulled), rtol=1e-10)
    # jacfwd and jacrev send several tangents through one replay
    columns = jax.jacfwd(lambda y0: states(y0, args)[0])(y0)
    rows = jax.jacrev(lambda y0: states(y0, args)[0])(y0)
    np.testing.assert_allclose(columns, rows, atol=1e-10)


def test_second_order_in_every_combination(x64):
    y0, args, *rest = _arguments()

    def function(y):
        return _loss(y, args, *rest)

    def theirs(y):
        return _loss(y, args, *rest, library=diffrax.diffeqsolve, adjoint=DIRECT)

    expected = jax.jit(jax.hessian(theirs))(y0)
    for outer in (jax.jacfwd, jax.jacrev):
        for inner in (jax.jacfwd, jax.jacrev):
            np.testing.assert_allclose(
                jax.jit(outer(inner(function)))(y0),
                expected,
                atol=1e-8,
                err_msg=str(inner),
            )
    v = jnp.array([1.0, -0.5, 0.3])
    product = jax.jit(lambda v: jax.jvp(jax.grad(function), (y0,), (v,))[1])(v)
    np.testing.assert_allclose(product, expected @ v, atol=1e-8)


def test_against_the_continuous_adjoint(x64):
    y0, args = start()
    tight = diffrax.PIDController(rtol=1e-10, atol=1e-10)
    found = []
    for adjoint in (diffrax.RecursiveCheckpointAdjoint(), diffrax.BacksolveAdjoint()):

        def loss(y, a, adjoint=adjoint):
            return jnp.sum(
                solve(
                    y0=y,
                    args=a,
                    adjoint=adjoint,
                    stepsize_controller=tight,
                    max_steps=4096,
                ).ys
            )

        found.append(jax.grad(loss, (0, 1))(y0, args))
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_linear_equation_in_closed_form(x64):
    """d/dA by the Frechet derivative of expm, d/dy0 by expm, d/dT by the field."""
    matrix = np.array([[-0.3, 1.0], [-1.2, -0.1]])
    y0, end, w = np.array([1.0, 0.5]), 1.7, np.array([0.4, -1.3])
    tight = diffrax.PIDController(rtol=1e-11, atol=1e-11)

    def value(matrix, y0, end):
        solution = diffeq.diffeqsolve(
            diffrax.ODETerm(lambda t, y, a: a @ y),
            diffrax.Dopri8(),
            0.0,
            end,
            0.1,
            y0,
            matrix,
            stepsize_controller=tight,
        )
        return w @ solution.ys[-1]

    of_matrix, of_y0, of_end = jax.grad(value, (0, 1, 2))(matrix, y0, end)
    flow = scipy.linalg.expm(end * matrix)
    np.testing.assert_allclose(of_y0, flow.T @ w, atol=1e-8)
    np.testing.assert_allclose(of_end, w @ matrix @ flow @ y0, atol=1e-8)
    expected = np.empty((2, 2))
    for i, j in np.ndindex(2, 2):
        unit = np.zeros((2, 2))
        unit[i, j] = end
        frechet = scipy.linalg.expm_frechet(end * matrix, unit, compute_expm=False)
        expected[i, j] = w @ frechet @ y0
    np.testing.assert_allclose(of_matrix, expected, atol=1e-8)


@pytest.mark.parametrize("name", ["error_estimate", "stiffness_estimate"])
def test_estimates_have_gradients(x64, name):
    y0, args = start()
    ours = jax.grad(lambda y: solve(y0=y, args=args).stats[name])(y0)
    key = name.removesuffix("_estimate")
    accumulator = {
        "error": diffeq.ErrorIntegral(rtol=1e-6, atol=1e-6),
        "stiffness": diffeq.StiffnessIntegral(diffrax.Tsit5()),
    }[key]
    solver = diffeq.AccumulatingSolver(diffrax.Tsit5(), {"value": accumulator})

    def theirs(y):
        solution = solve(
            diffrax.diffeqsolve,
            y0=y,
            args=args,
            solver=solver,
            saveat=diffrax.SaveAt(t1=True, solver_state=True),
        )
        return solution.solver_state[1]["value"]

    np.testing.assert_allclose(ours, jax.grad(theirs)(y0), rtol=1e-6)


def test_closed_over_parameters_and_saved_steps(x64):
    y0, (matrix, _) = start()

    def loss(matrix, library, **options):
        term = diffrax.ODETerm(lambda t, y, args: jnp.tanh(matrix @ y))
        solution = library(
            term,
            diffrax.Bosh3(),
            0.0,
            2.0,
            0.1,
            y0,
            saveat=diffrax.SaveAt(t0=True, steps=2, t1=True),
            stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-4),
            max_steps=64,
            **options,
        )
        saved = jnp.isfinite(solution.ts)[:, None]
        return jnp.sum(jnp.where(saved, solution.ys, 0) ** 2)

    ours = jax.grad(loss)(matrix, diffeq.diffeqsolve)
    theirs = jax.grad(loss)(matrix, diffrax.diffeqsolve, adjoint=DIRECT)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
