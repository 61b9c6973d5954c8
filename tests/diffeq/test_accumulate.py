"""Accumulators along a solve: against a hand-written sum over the accepted steps."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

from djx import diffeq


TSIT5 = diffrax.Tsit5()
RTOL = ATOL = 1e-6


def field(t, y, args):
    """Van der Pol: rejects steps at its corners."""
    return jnp.array([y[1], args * (1 - y[0] ** 2) * y[1] - y[0]])


TERM = diffrax.ODETerm(field)
Y0 = jnp.array([2.0, 0.0])


def solve(accumulators, mu=5.0, t1=8.0, controller=None, dt0=None, **kwargs):
    solver = diffeq.AccumulatingSolver(TSIT5, accumulators) if accumulators else TSIT5
    saveat = diffrax.SaveAt(t0=True, steps=True, solver_state=bool(accumulators))
    return diffrax.diffeqsolve(
        TERM,
        solver,
        0.0,
        t1,
        dt0,
        Y0.astype(jnp.result_type(float)),
        mu,
        saveat=saveat,
        stepsize_controller=controller or diffrax.PIDController(rtol=RTOL, atol=ATOL),
        max_steps=kwargs.pop("max_steps", 600),
        **kwargs,
    )


def accepted_steps(solution):
    """Re-does every accepted step by itself."""
    times = np.asarray(solution.ts)
    times = times[np.isfinite(times)]
    for t0, t1, y in zip(times[:-1], times[1:], solution.ys, strict=False):
        state = TSIT5.init(TERM, t0, t1, y, 5.0)
        y1, error, info, _, _ = TSIT5.step(TERM, t0, t1, y, 5.0, state, False)
        yield diffeq.Step(jnp.asarray(t0), jnp.asarray(t1), y, y1, error, info)


def test_the_wrapped_solve_is_the_plain_solve(x64):
    plain = solve(None)
    wrapped = solve({"e": diffeq.ErrorIntegral(RTOL, ATOL)})
    np.testing.assert_array_equal(plain.ts, wrapped.ts)
    np.testing.assert_array_equal(plain.ys, wrapped.ys)
    assert plain.stats["num_rejected_steps"] > 3  # or rejection is not tested here


def test_integrals_are_sums_over_accepted_steps_only(x64):
    accumulators = {
        "error": diffeq.ErrorIntegral(RTOL, ATOL),
        "stiffness": diffeq.StiffnessIntegral(TSIT5),
    }
    solution = solve(accumulators)
    values = solution.solver_state[1]
    error = stiffness = 0.0
    for step in accepted_steps(solution):
        h = float(step.t1 - step.t0)
        error += float(diffeq.scaled_error(step, rtol=RTOL, atol=ATOL)) * h
        stiffness += float(diffeq.stiffness_estimate(step, TSIT5)) * h
    np.testing.assert_allclose(values["error"], error, rtol=1e-9)
    np.testing.assert_allclose(values["stiffness"], stiffness, rtol=1e-7)


def test_stiffness_integral_of_a_linear_field_is_rate_times_time(x64):
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: -3.0 * y),
        diffeq.AccumulatingSolver(TSIT5, {"s": diffeq.StiffnessIntegral(TSIT5)}),
        0.0,
        2.0,
        None,
        jnp.array([1.0, 2.0]),
        saveat=diffrax.SaveAt(t1=True, solver_state=True),
        stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-5),
    )
    np.testing.assert_allclose(solution.solver_state[1]["s"], 6.0, rtol=1e-6)


@pytest.mark.parametrize(
    "adjoint",
    [
        diffrax.RecursiveCheckpointAdjoint(),
        diffrax.RecursiveCheckpointAdjoint(checkpoints=3),
        diffrax.DirectAdjoint(),
    ],
    ids=["recursive", "few checkpoints", "direct"],
)
def test_gradient_at_fixed_steps_is_the_finite_difference(x64, adjoint):
    def penalty(mu):
        accumulators = {
            "error": diffeq.ErrorIntegral(RTOL, ATOL),
            "stiffness": diffeq.StiffnessIntegral(TSIT5),
        }
        grid = diffrax.StepTo(jnp.linspace(0.0, 1.0, 21))
        solution = solve(accumulators, mu, 1.0, grid, max_steps=20, adjoint=adjoint)
        values = solution.solver_state[1]
        return values["error"] + 0.1 * values["stiffness"]

    penalty = jax.jit(penalty)
    h = 1e-5
    expected = (penalty(2.0 + h) - penalty(2.0 - h)) / (2 * h)
    got = jax.grad(penalty)(2.0)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_step_lengths_are_constants_of_the_gradient(x64):
    """Adaptive steps: the gradient is that of the grid that was accepted."""

    def penalty(mu, controller):
        accumulators = {"error": diffeq.ErrorIntegral(RTOL, ATOL)}
        solution = solve(accumulators, mu, 1.0, controller)
        return solution.solver_state[1]["error"]

    adaptive = diffrax.PIDController(rtol=RTOL, atol=ATOL)
    grid = np.asarray(solve(None, 2.0, 1.0).ts)
    frozen = diffrax.StepTo(jnp.asarray(grid[np.isfinite(grid)]))
    got = jax.grad(penalty)(2.0, adaptive)
    np.testing.assert_allclose(got, jax.grad(penalty)(2.0, frozen), rtol=1e-7)


@pytest.mark.parametrize("time", [0.0, 1.2345, 7.999])
def test_unbiased_sample_is_the_bracketing_accepted_step(x64, time):
    accumulators = {"s": diffeq.UnbiasedSample(jnp.asarray(time), TSIT5)}
    solution = solve(accumulators)
    bracket = solution.solver_state[1]["s"]
    times = np.asarray(solution.ts)
    times = times[np.isfinite(times)]
    index = np.searchsorted(times, time, side="right") - 1
    np.testing.assert_allclose(bracket.h, times[index + 1] - times[index], rtol=1e-12)
    assert bracket.t == time
    exact = diffrax.diffeqsolve(
        TERM,
        diffrax.Dopri8(),
        0.0,
        max(time, 1e-9),
        None,
        Y0.astype(float),
        5.0,
        stepsize_controller=diffrax.PIDController(rtol=1e-11, atol=1e-11),
        max_steps=8000,
    )
    np.testing.assert_allclose(bracket.y, exact.ys[0], atol=2e-4)
    assert bracket.count == len(times) - 1


def test_biased_sample_is_uniform_over_accepted_steps(x64):
    times = np.asarray(solve(None, t1=2.0).ts)
    starts = times[np.isfinite(times)][:-1]

    @jax.jit
    @jax.vmap
    def draw(key):
        sample = diffeq.BiasedSample(key)
        return solve({"s": sample}, t1=2.0).solver_state[1]["s"]

    bracket = draw(jr.split(jr.key(0), 3000))
    chosen = np.abs(np.asarray(bracket.t)[:, None] - starts).argmin(1)
    np.testing.assert_allclose(bracket.t, starts[chosen], atol=1e-12)
    lengths = np.diff(times[np.isfinite(times)])
    np.testing.assert_allclose(bracket.h, lengths[chosen], rtol=1e-9)
    counts = np.bincount(chosen, minlength=len(starts))
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_local_penalty_is_one_step_and_only_parameters_feel_it(x64):
    accumulators = {"s": diffeq.UnbiasedSample(jnp.asarray(1.0), TSIT5)}

    def penalty(mu, y_shift):
        solution = solve(accumulators, mu, 2.0)
        bracket = solution.solver_state[1]["s"]
        bracket = bracket._replace(y=bracket.y + y_shift)
        return diffeq.local_penalty(TERM, TSIT5, bracket, mu, rtol=RTOL, atol=ATOL)

    bracket = solve(accumulators, 2.0, 2.0).solver_state[1]["s"]

    def one_step(mu):
        t0, h, y = float(bracket.t), float(bracket.h), bracket.y
        state = TSIT5.init(TERM, t0, t0 + h, y, mu)
        y1, error, info, _, _ = TSIT5.step(TERM, t0, t0 + h, y, mu, state, False)
        scale = ATOL + RTOL * jnp.maximum(jnp.abs(y), jnp.abs(y1))
        return jnp.sqrt(jnp.mean((error / scale) ** 2)) * h

    np.testing.assert_allclose(penalty(2.0, 0.0), one_step(2.0), rtol=1e-9)
    h = 1e-4  # the error is a difference of near numbers: rounding, over h
    expected = (one_step(2.0 + h) - one_step(2.0 - h)) / (2 * h)
    got = jax.grad(penalty, argnums=(0, 1))(2.0, 0.0)
    np.testing.assert_allclose(got[0], expected, rtol=1e-6)
    assert got[1] == 0.0


def test_field_evaluations_are_those_that_happened(x64):
    calls = []

    def counted(t, y, args):
        jax.debug.callback(lambda t: calls.append(float(t)), t)
        return field(t, y, args)

    for dt0 in (None, 0.01):
        calls.clear()
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(counted),
            TSIT5,
            0.0,
            3.0,
            dt0,
            Y0.astype(float),
            5.0,
            stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL),
        )
        jax.effects_barrier()
        count = diffeq.field_evaluations(solution, TSIT5)
        assert solution.stats["num_rejected_steps"] > 0
        assert int(count) == len(calls)


def test_field_evaluations_of_a_pair_without_first_same_as_last(x64):
    heun = diffrax.Heun()
    solution = diffrax.diffeqsolve(
        TERM, heun, 0.0, 1.0, 0.1, Y0.astype(float), 1.0, saveat=diffrax.SaveAt(t1=True)
    )
    count = diffeq.field_evaluations(solution, heun)
    assert int(count) == 2 * 10


def test_everything_batches_and_compiles_once(x64):
    traces = []

    @eqx.filter_jit
    def batch(mus):
        traces.append(None)

        def one(mu):
            accumulators = {"e": diffeq.ErrorIntegral(RTOL, ATOL)}
            return solve(accumulators, mu, 1.0).solver_state[1]["e"]

        return jax.vmap(one)(mus)

    mus = jnp.array([1.0, 2.0, 4.0])
    got = batch(mus)
    batch(mus + 1)
    single = [
        float(
            solve({"e": diffeq.ErrorIntegral(RTOL, ATOL)}, m, 1.0).solver_state[1]["e"]
        )
        for m in mus
    ]
    np.testing.assert_allclose(got, single, rtol=1e-8)
    assert len(traces) == 1


def test_steer_draws_uniformly_around_the_end():
    keys = jr.split(jr.key(1), 4000)
    ends = jax.vmap(lambda key: diffeq.steer_end_time(2.0, 0.5, key=key))(keys)
    assert ends.min() > 1.5 and ends.max() < 2.5
    assert scipy.stats.kstest(np.asarray(ends), "uniform", (1.5, 1.0)).pvalue > 1e-3


def test_sample_time_is_uniform_and_never_the_end():
    keys = jr.split(jr.key(2), 4000)
    times = np.asarray(jax.vmap(lambda k: diffeq.sample_time(1.0, 3.0, key=k))(keys))
    assert times.min() >= 1.0 and times.max() < 3.0
    assert scipy.stats.kstest(times, "uniform", (1.0, 2.0)).pvalue > 1e-3


def test_float32_stays_float32():
    accumulators = {
        "e": diffeq.ErrorIntegral(1e-3, 1e-3),
        "u": diffeq.UnbiasedSample(jnp.asarray(0.5), TSIT5),
    }
    controller = diffrax.PIDController(rtol=1e-3, atol=1e-3)
    values = solve(accumulators, 1.0, 1.0, controller).solver_state[1]
    leaves = jax.tree.leaves(values)
    assert {leaf.dtype for leaf in leaves if leaf.dtype != jnp.int32} == {
        jnp.dtype("float32")
    }


REFUSED = [diffrax.BacksolveAdjoint(), diffrax.ImplicitAdjoint()]


@pytest.mark.parametrize("adjoint", REFUSED, ids=["backsolve", "implicit"])
@pytest.mark.parametrize(
    "accumulators, names",
    [
        ({"e": diffeq.ErrorIntegral(RTOL, ATOL)}, "ErrorIntegral"),
        ([diffeq.StiffnessIntegral(TSIT5)], "StiffnessIntegral"),
        (
            (diffeq.BiasedSample(jr.key(0)), diffeq.ErrorIntegral(RTOL, ATOL)),
            "ErrorIntegral",
        ),
    ],
)
def test_adjoints_that_would_drop_the_gradient_are_refused(
    adjoint, accumulators, names
):
    solver = diffeq.AccumulatingSolver(TSIT5, accumulators)
    text = f"{type(adjoint).__name__} .*: {names} would .*RecursiveCheckpointAdjoint"
    with pytest.raises(ValueError, match=text):
        diffeq.check_adjoint(solver, adjoint)
    # Seen through other wrappers, on both sides.
    half = diffrax.HalfSolver(solver)
    twice = diffeq.AccumulatingSolver(half, diffeq.BiasedSample(jr.key(0)))
    for wrapped in (half, twice):
        with pytest.raises(ValueError, match=text):
            diffeq.check_adjoint(wrapped, adjoint)
    for good in (diffrax.RecursiveCheckpointAdjoint(), diffrax.DirectAdjoint()):
        diffeq.check_adjoint(solver, good)
    diffeq.check_adjoint(TSIT5, adjoint)


def test_samplers_serve_the_local_penalty_under_any_adjoint(x64):
    """The gradient through one step is the same; nothing else has one."""

    def penalty(mu, adjoint):
        samples = {
            "unbiased": diffeq.UnbiasedSample(jnp.asarray(0.6), TSIT5),
            "biased": diffeq.BiasedSample(jr.key(0)),
        }
        solver = diffeq.AccumulatingSolver(TSIT5, samples)
        diffeq.check_adjoint(solver, adjoint)
        solution = diffrax.diffeqsolve(
            TERM,
            solver,
            0.0,
            2.0,
            None,
            Y0.astype(float),
            mu,
            saveat=diffrax.SaveAt(t1=True, solver_state=True),
            stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL),
            adjoint=adjoint,
        )
        return sum(
            diffeq.local_penalty(TERM, TSIT5, found, mu, rtol=RTOL, atol=ATOL)
            for found in solution.solver_state[1].values()
        )

    gradient = jax.grad(penalty)
    expected = gradient(2.0, diffrax.RecursiveCheckpointAdjoint())
    got = gradient(2.0, diffrax.BacksolveAdjoint())
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert expected != 0
