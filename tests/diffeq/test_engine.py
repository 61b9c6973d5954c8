"""djx's engine against diffrax's own: steps, values, saved times, estimates."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import diffeq

from .systems import PID, solve, start, stochastic, TERM


EXPLICIT = [
    diffrax.Euler(),
    diffrax.Heun(),
    diffrax.Midpoint(),
    diffrax.Ralston(),
    diffrax.Bosh3(),
    diffrax.Tsit5(),
    diffrax.Dopri5(),
    diffrax.Dopri8(),
]
IDS = [type(solver).__name__ for solver in EXPLICIT]
TS = np.linspace(0.0, 3.0, 23)


def _same(ours, theirs, atol):
    for a, b in zip(
        jax.tree.leaves((ours.ts, ours.ys)),
        jax.tree.leaves((theirs.ts, theirs.ys)),
        strict=True,
    ):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, atol=atol, rtol=0)
    for name in ("num_steps", "num_accepted_steps", "num_rejected_steps", "max_steps"):
        assert ours.stats[name] == theirs.stats[name], name
    assert ours.result == theirs.result


@pytest.mark.parametrize("dt0", [0.1, 0.13], ids=["divides", "does not divide"])
@pytest.mark.parametrize("solver", EXPLICIT, ids=IDS)
def test_fixed_steps(x64, solver, dt0):
    saveat = diffrax.SaveAt(
        subs={
            "times": diffrax.SubSaveAt(t0=True, ts=TS, t1=True),
            "steps": diffrax.SubSaveAt(t0=True, steps=3, t1=True),
            "function": diffrax.SubSaveAt(steps=1, fn=lambda t, y, a: t * y[0]),
        }
    )
    options = dict(
        solver=solver,
        dt0=dt0,
        saveat=saveat,
        stepsize_controller=diffrax.ConstantStepSize(),
    )
    _same(solve(**options), solve(diffrax.diffeqsolve, **options), 1e-12)


@pytest.mark.parametrize("solver", EXPLICIT[1:], ids=IDS[1:])
def test_adaptive_steps(x64, solver):
    options = dict(
        solver=solver,
        saveat=diffrax.SaveAt(ts=TS),
        stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-5),
    )
    # Rounding in an error estimate that cancels moves the ends of steps, by about 1e-9
    # of their length for Dopri8, and the values by that times the local error.
    _same(solve(**options), solve(diffrax.diffeqsolve, **options), 1e-8)
    if type(solver) is not diffrax.Dopri8:
        _same(solve(**options), solve(diffrax.diffeqsolve, **options), 1e-10)


@pytest.mark.parametrize(
    "options",
    [
        dict(pcoeff=0.3, icoeff=0.3, dcoeff=0.1),
        dict(dtmax=0.05),
        dict(dtmin=0.2, factormax=3.0, safety=0.8),
        dict(norm=lambda tree: jnp.max(jnp.abs(tree))),
    ],
    ids=["pid", "dtmax", "dtmin", "norm"],
)
def test_controller_options(x64, options):
    controller = diffrax.PIDController(rtol=1e-6, atol=1e-6, **options)
    case = dict(stepsize_controller=controller, saveat=diffrax.SaveAt(ts=TS))
    _same(solve(**case), solve(diffrax.diffeqsolve, **case), 1e-10)


def test_step_to_and_no_first_step(x64):
    steps = diffrax.StepTo(jnp.array([0.0, 0.3, 0.35, 1.2, 3.0]))
    case = dict(dt0=None, stepsize_controller=steps, saveat=diffrax.SaveAt(ts=TS))
    _same(solve(**case), solve(diffrax.diffeqsolve, **case), 1e-12)
    case = dict(dt0=None, saveat=diffrax.SaveAt(t0=True, t1=True, steps=True))
    _same(solve(**case), solve(diffrax.diffeqsolve, **case), 1e-8)


def test_backwards_in_time(x64):
    case = dict(t0=3.0, t1=0.0, dt0=-0.1)
    for controller in (PID, diffrax.ConstantStepSize()):
        more = dict(stepsize_controller=controller, saveat=diffrax.SaveAt(ts=TS[::-1]))
        _same(solve(**case, **more), solve(diffrax.diffeqsolve, **case, **more), 1e-10)


def test_controlled_equation_and_sums_of_terms(x64):
    times = jnp.linspace(0.0, 3.0, 7)
    values = jax.random.normal(jax.random.key(1), (7, 2))
    path = diffrax.CubicInterpolation(
        times, diffrax.backward_hermite_coefficients(times, values)
    )
    control = diffrax.ControlTerm(
        lambda t, y, a: jnp.tanh(jnp.outer(y, jnp.array([1.0, -0.5])) + t), path
    )
    decay = diffrax.ODETerm(lambda t, y, a: -y)
    y0 = jnp.array([1.0, 0.3])
    for term in (control, diffrax.MultiTerm(decay, control)):
        found = []
        for library in (diffeq.diffeqsolve, diffrax.diffeqsolve):

            def loss(y0, library=library, term=term):
                solution = library(
                    term, diffrax.Tsit5(), 0.0, 3.0, 0.1, y0, stepsize_controller=PID
                )
                return jnp.sum(solution.ys**2), solution

            found.append(jax.value_and_grad(loss, has_aux=True)(y0))
        (_, ours), gradient = found[0]
        (_, theirs), expected = found[1]
        _same(ours, theirs, 1e-10)
        np.testing.assert_allclose(gradient, expected, atol=1e-10)


def test_estimates_are_those_of_accumulators_on_diffrax(x64):
    ours = solve()
    solver = diffeq.AccumulatingSolver(
        diffrax.Tsit5(),
        {
            "error": diffeq.ErrorIntegral(rtol=1e-6, atol=1e-6),
            "stiffness": diffeq.StiffnessIntegral(diffrax.Tsit5()),
        },
    )
    saveat = diffrax.SaveAt(t1=True, solver_state=True)
    theirs = solve(diffrax.diffeqsolve, solver=solver, saveat=saveat)
    for name, value in theirs.solver_state[1].items():
        np.testing.assert_allclose(ours.stats[f"{name}_estimate"], value, rtol=1e-8)
    # and the same accumulators along djx's engine
    along = solve(solver=solver, saveat=saveat)
    for name, value in theirs.solver_state[1].items():
        np.testing.assert_allclose(along.solver_state[1][name], value, rtol=1e-8)
    np.testing.assert_allclose(
        along.solver_state[0][1], theirs.solver_state[0][1], atol=1e-10
    )
    # and of a solve that goes to diffrax
    dense = solve(saveat=diffrax.SaveAt(t1=True, dense=True))
    np.testing.assert_allclose(
        dense.stats["error_estimate"], ours.stats["error_estimate"], rtol=1e-8
    )


def test_samples_of_the_local_regulariser(x64):
    for sample in (
        diffeq.UnbiasedSample(jnp.asarray(1.234), diffrax.Tsit5()),
        diffeq.BiasedSample(jax.random.key(3)),
    ):
        case = dict(
            solver=diffeq.AccumulatingSolver(diffrax.Tsit5(), {"sample": sample}),
            saveat=diffrax.SaveAt(t1=True, solver_state=True),
        )
        ours = solve(**case).solver_state[1]["sample"]
        theirs = solve(diffrax.diffeqsolve, **case).solver_state[1]["sample"]
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-7)


def test_counts_of_evaluations(x64):
    counted = []

    def counting(t, y, args):
        jax.debug.callback(lambda: counted.append(None))
        return -y

    solution = diffeq.diffeqsolve(
        diffrax.ODETerm(counting),
        diffrax.Tsit5(),
        0.0,
        1.0,
        0.1,
        jnp.ones(2),
        stepsize_controller=PID,
    )
    jax.effects_barrier()
    assert solution.stats["num_field_evaluations"] == len(counted)
    assert solution.stats["num_backward_evaluations"] == (
        6 * solution.stats["num_accepted_steps"] + 1
    )


METHODS = [
    diffrax.Euler(),
    diffrax.Heun(),
    diffrax.EulerHeun(),
    diffrax.ItoMilstein(),
    diffrax.StratonovichMilstein(),
    diffrax.ReversibleHeun(),
]


CASES = [(solver, "diagonal") for solver in METHODS]
CASES += [
    (solver, "general") for solver in METHODS if "Milstein" in type(solver).__name__
]


@pytest.mark.parametrize(
    "solver, noise", CASES, ids=[f"{type(s).__name__}-{n}" for s, n in CASES]
)
def test_stochastic_methods_on_a_brownian_tree(x64, solver, noise):
    path = diffrax.VirtualBrownianTree(0.0, 1.0, 1e-3, (2,), jax.random.key(0))
    y0 = jnp.array([1.0, -0.4])

    def loss(y0, a, library):
        solution = library(
            stochastic(noise, path),
            solver,
            0.0,
            1.0,
            0.05,
            y0,
            a,
            saveat=diffrax.SaveAt(ts=jnp.linspace(0.0, 1.0, 4)),
            max_steps=20,
        )
        return jnp.sum(solution.ys**2), solution.ys

    found = [
        jax.value_and_grad(loss, (0, 1), has_aux=True)(y0, 0.5, library)
        for library in (diffeq.diffeqsolve, diffrax.diffeqsolve)
    ]
    for ours, theirs in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_equal_in_float32():
    ours, theirs = solve(), solve(diffrax.diffeqsolve)
    assert ours.ys.dtype == jnp.float32
    np.testing.assert_allclose(ours.ys, theirs.ys, rtol=1e-5)


def test_pytree_state(x64):
    y0, args = start()
    tree = {"a": y0[:1], "b": (y0[1], y0[2:])}

    def field_of_tree(t, tree, args):
        y = jnp.concatenate([tree["a"], tree["b"][0][None], tree["b"][1]])
        dy = TERM.vector_field(t, y, args)
        return {"a": dy[:1], "b": (dy[1], dy[2:])}

    solution = diffeq.diffeqsolve(
        diffrax.ODETerm(field_of_tree),
        diffrax.Tsit5(),
        0.0,
        3.0,
        0.1,
        tree,
        args,
        stepsize_controller=PID,
        saveat=diffrax.SaveAt(ts=TS),
    )
    ys = solution.ys
    flat = jnp.concatenate([ys["a"], ys["b"][0][:, None], ys["b"][1]], 1)
    expected = solve(saveat=diffrax.SaveAt(ts=TS)).ys
    np.testing.assert_allclose(flat, expected, atol=1e-12)


def test_complex_state_goes_to_diffrax_and_turns():
    term = diffrax.ODETerm(lambda t, y, a: 1j * y)
    with pytest.warns(UserWarning, match="Complex"):
        solution = diffeq.diffeqsolve(
            term, diffrax.Tsit5(), 0.0, 1.0, 0.01, jnp.array(1.0 + 0j)
        )
    np.testing.assert_allclose(solution.ys[0], np.exp(1j), atol=1e-5)
