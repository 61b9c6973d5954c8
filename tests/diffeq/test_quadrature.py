"""Integrals along a solution: against closed forms, SciPy and finite differences."""

import itertools
import math

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

from djx import diffeq
from djx.core import safe_rms


TSIT5 = diffrax.Tsit5()
MATRIX = np.array([[-0.5, 1.2, 0.1], [-0.9, -0.3, 0.4], [0.2, -0.6, -0.8]])
Y0 = np.array([1.0, -0.5, 0.3])
LINEAR = diffrax.ODETerm(lambda t, y, a: a @ y)


def bent(t, y, args):
    """Nonlinear, and time is in it twice."""
    return jnp.tanh(args * jnp.roll(y, 1) + jnp.sin(t)) - t * y


BENT = diffrax.ODETerm(bent)


def solve(terms, integrands, y0, args=None, t1=1.0, tolerance=1e-10, **kwargs):
    terms, state = diffeq.with_integrals(terms, jnp.asarray(y0), integrands)
    norm = kwargs.pop("norm", diffeq.state_norm())
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance, norm=norm)
    return diffeq.diffeqsolve(
        terms,
        kwargs.pop("solver", TSIT5),
        0.0,
        t1,
        kwargs.pop("dt0", None),
        state,
        args,
        stepsize_controller=kwargs.pop("controller", controller),
        **kwargs,
    )


def total(solution, name="value"):
    return solution.ys[1][name][-1]


def quadratic_integral(weight, t1):
    """Of y' W y along y' = A y: z' A + A' z = e^(A't) W e^(At) - W, by SciPy."""
    end = scipy.linalg.expm(MATRIX * t1)
    change = end.T @ weight @ end - weight
    z = scipy.linalg.solve_continuous_lyapunov(MATRIX.T, change)
    return Y0 @ z @ Y0


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_integrals_of_a_linear_field_solve_lyapunov_equations(x64, order):
    """The K-th derivative of e^(At) y0 is A^K e^(At) y0."""
    power = np.linalg.matrix_power(MATRIX, order)
    expected = quadratic_integral(power.T @ power, 2.0)
    integrands = {"value": diffeq.TaylorDerivative(order)}
    if order == 1:
        integrands["kinetic"] = diffeq.KineticEnergy()
    solution = solve(LINEAR, integrands, Y0, MATRIX, 2.0)
    for name in integrands:
        np.testing.assert_allclose(total(solution, name), expected, rtol=1e-8)


def test_integral_backwards_in_time_is_signed(x64):
    solution = solve(LINEAR, {"value": diffeq.KineticEnergy()}, Y0, MATRIX, -2.0)
    expected = quadratic_integral(MATRIX.T @ MATRIX, -2.0)
    assert expected < 0
    np.testing.assert_allclose(total(solution), expected, rtol=1e-8)


def test_jacobian_over_all_signs_is_its_frobenius_norm(x64):
    def one(signs):
        probe = diffeq.JacobianFrobenius(jnp.asarray(signs))
        return total(solve(LINEAR, {"value": probe}, Y0, MATRIX, 1.5))

    every = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))
    got = jax.vmap(one)(every)
    np.testing.assert_allclose(got, 1.5 * np.sum((every @ MATRIX) ** 2, 1), rtol=1e-10)
    np.testing.assert_allclose(got.mean(), 1.5 * np.sum(MATRIX**2), rtol=1e-10)


@pytest.mark.parametrize("distribution", ["rademacher", "normal"])
def test_probes_have_unit_covariance_and_the_state_s_shapes(x64, distribution):
    state = {"a": jnp.zeros(2), "b": jnp.zeros((3, 1), jnp.float32)}

    def draw(key):
        return diffeq.hutchinson_probe(state, key=key, distribution=distribution)

    one = draw(jr.key(0))
    assert jax.tree.map(lambda e: (e.shape, e.dtype), one) == jax.tree.map(
        lambda s: (s.shape, s.dtype), state
    )
    many = jax.vmap(draw)(jr.split(jr.key(1), 40_000))
    flat = np.concatenate([many["a"], many["b"][..., 0]], 1)
    np.testing.assert_allclose(np.cov(flat.T), np.eye(5), atol=0.04)
    np.testing.assert_allclose(flat.mean(0), 0, atol=0.03)
    if distribution == "rademacher":
        assert set(np.unique(flat)) == {-1.0, 1.0}


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_derivatives_of_a_cubic_in_time(x64, order):
    """y' = t^3: y^(K) = 3!/(4-K)! t^(4-K), and zero from K = 5."""
    term = diffrax.ODETerm(lambda t, y, args: t**3 * jnp.ones_like(y))
    # y alone would need one step: the integral's own accuracy asks for more.
    grid = diffrax.StepTo(jnp.linspace(0.0, 1.5, 31))
    integrands = {"value": diffeq.TaylorDerivative(order)}
    solution = solve(term, integrands, [2.0], t1=1.5, controller=grid)
    power = 4 - order
    expected = 0.0
    if power >= 0:
        scale = math.factorial(3) / math.factorial(power)
        expected = scale**2 * 1.5 ** (2 * power + 1) / (2 * power + 1)
    np.testing.assert_allclose(total(solution), expected, rtol=1e-9, atol=1e-14)


def test_derivatives_of_a_field_without_time_and_without_state(x64):
    term = diffrax.ODETerm(lambda t, y, args: jnp.array([1.0, 2.0]))
    at = (term.vf, jnp.array([1.0, 2.0]), jnp.asarray(0.0), jnp.zeros(2), None)
    assert diffeq.TaylorDerivative(1)(*at) == 5.0
    assert diffeq.TaylorDerivative(3)(*at) == 0.0


@pytest.mark.parametrize("order", [2, 3, 4])
def test_derivatives_are_those_of_the_dense_solution(x64, order):
    """SciPy's solution around one time, and the derivatives of a fit through it."""
    t, width, degree = 0.4, 0.1, 12
    nodes = np.cos(np.pi * (np.arange(24) + 0.5) / 24)
    field = lambda t, y: np.tanh(1.3 * np.roll(y, 1) + np.sin(t)) - t * y  # noqa: E731
    kwargs = {"method": "DOP853", "rtol": 1e-13, "atol": 1e-14}
    ends = [
        scipy.integrate.solve_ivp(
            field, (t, t + sign * width), Y0, t_eval=t + width * part, **kwargs
        ).y
        for sign, part in ((1, np.sort(nodes[nodes > 0])), (-1, nodes[nodes < 0]))
    ]
    times = np.concatenate([np.sort(nodes[nodes > 0]), nodes[nodes < 0]])
    fit = np.polynomial.chebyshev.chebfit(times, np.concatenate(ends, 1).T, degree)
    slopes = np.polynomial.chebyshev.chebder(fit, order) / width**order
    expected = np.sum(np.polynomial.chebyshev.chebval(0.0, slopes) ** 2)
    now, y = jnp.asarray(t), jnp.asarray(Y0)
    got = diffeq.TaylorDerivative(order)(BENT.vf, bent(now, y, 1.3), now, y, 1.3)
    np.testing.assert_allclose(got, expected, rtol=1e-7)


def test_loops_in_a_field_can_be_differentiated_along_the_flow(x64):
    def field(t, y, args):
        return jax.lax.fori_loop(0, 3, lambda _, z: jnp.sin(z + t), y)

    y, step = jnp.ones(2), 1e-5
    value = field(0.3, y, None)
    ahead = field(0.3 + step, y + step * value, None)
    behind = field(0.3 - step, y - step * value, None)
    expected = jnp.sum(((ahead - behind) / (2 * step)) ** 2)
    got = diffeq.TaylorDerivative(2)(field, value, jnp.asarray(0.3), y, None)
    np.testing.assert_allclose(got, expected, rtol=1e-8)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_compiled_derivatives_of_a_wide_batch_are_right(x64, order):
    """Sizes where jaxlib 0.10.2 has fused products and sums into wrong numbers."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(64, 128))
    matrix = rng.normal(size=(128, 128)) / 12

    def field(t, y, args):
        return y @ args

    @jax.jit
    def value(y, matrix):
        integrand = diffeq.TaylorDerivative(order, mean=True)
        at = field(0.0, y, matrix)
        return integrand(field, at, jnp.asarray(0.0), y, matrix)

    powers = [np.linalg.matrix_power(matrix, k) for k in range(order + 1)]
    end = y @ powers[order]
    np.testing.assert_allclose(value(y, matrix), np.mean(end**2), rtol=1e-12)
    slope = sum((y @ powers[k]).T @ end @ powers[order - 1 - k].T for k in range(order))
    got = jax.jit(jax.grad(value, argnums=1))(y, matrix)
    scale = np.abs(slope).max()
    np.testing.assert_allclose(got, 2 * slope / y.size, atol=1e-12 * scale / y.size)


def test_a_pytree_state_is_its_vector_and_the_mean_divides_by_its_size(x64):
    key = jr.key(0)
    probe = diffeq.hutchinson_probe(jnp.asarray(Y0), key=key)

    def tree_field(t, y, args):
        out = bent(t, jnp.concatenate([y["a"], y["b"][0]]), args)
        return {"a": out[:1], "b": out[None, 1:]}

    def split(x):
        return {"a": jnp.asarray(x)[:1], "b": jnp.asarray(x)[None, 1:]}

    def integrands(probe, mean):
        return {
            "kinetic": diffeq.KineticEnergy(mean=mean),
            "jacobian": diffeq.JacobianFrobenius(probe, mean=mean),
            "taylor": diffeq.TaylorDerivative(3, mean=mean),
        }

    flat = solve(BENT, integrands(probe, False), Y0, 1.3)
    terms, state = diffeq.with_integrals(
        diffrax.ODETerm(tree_field), split(Y0), integrands(split(probe), True)
    )
    tree = diffeq.diffeqsolve(
        terms,
        TSIT5,
        0.0,
        1.0,
        None,
        state,
        1.3,
        stepsize_controller=diffrax.PIDController(1e-10, 1e-10),
    )
    for name in ("kinetic", "jacobian", "taylor"):
        expected = total(flat, name) / 3
        np.testing.assert_allclose(total(tree, name), expected, rtol=1e-7)


def test_every_integral_against_scipy_s_quadrature(x64):
    """One system of SciPy's own solver, Jacobian by hand."""
    probe = np.array([1.0, -1.0, 1.0])

    def right_hand_side(t, state):
        y = state[:3]
        bend = np.tanh(1.3 * np.roll(y, 1) + np.sin(t))
        f = bend - t * y
        jacobian = np.roll(np.diag(1.3 * (1 - bend**2)), -1, axis=1) - t * np.eye(3)
        partial = (1 - bend**2) * np.cos(t) - y
        second = partial + jacobian @ f
        row = probe @ jacobian
        return np.concatenate([f, [f @ f, row @ row, second @ second]])

    exact = scipy.integrate.solve_ivp(
        right_hand_side, (0, 1), [*Y0, 0, 0, 0], "DOP853", rtol=1e-12, atol=1e-12
    )
    integrands = {
        "kinetic": diffeq.KineticEnergy(),
        "jacobian": diffeq.JacobianFrobenius(jnp.asarray(probe)),
        "taylor": diffeq.TaylorDerivative(2),
    }
    solution = solve(BENT, integrands, Y0, 1.3)
    got = [total(solution, name) for name in integrands]
    np.testing.assert_allclose(got, exact.y[3:, -1], rtol=1e-8)


@pytest.mark.parametrize(
    "adjoint",
    [
        diffrax.RecursiveCheckpointAdjoint(),
        diffrax.DirectAdjoint(),
        diffrax.BacksolveAdjoint(),
    ],
    ids=["recursive", "direct", "backsolve"],
)
def test_gradient_is_the_finite_difference(x64, adjoint):
    def penalty(mu, y0, backwards):
        integrands = {
            "kinetic": diffeq.KineticEnergy(),
            "jacobian": diffeq.JacobianFrobenius(jnp.array([1.0, -1.0, 1.0])),
            "taylor": diffeq.TaylorDerivative(2),
        }
        # Backwards the controller sees the adjoint too: the whole state then.
        norm = diffrax.PIDController(1, 1).norm if backwards else diffeq.state_norm()
        solution = solve(
            BENT, integrands, y0, mu, adjoint=adjoint, norm=norm, max_steps=400
        )
        parts = [total(solution, name) for name in integrands]
        return parts[0] + 0.1 * parts[1] + 0.01 * parts[2]

    backwards = isinstance(adjoint, diffrax.BacksolveAdjoint)
    y0, h = jnp.asarray(Y0), 1e-4

    @jax.jit
    def both(mu, y0):
        return jax.value_and_grad(penalty, argnums=(0, 1))(mu, y0, backwards)

    def slope(d_mu, d_y):
        ahead = both(1.3 + h * d_mu, y0 + h * d_y)[0]
        return (ahead - both(1.3 - h * d_mu, y0 - h * d_y)[0]) / (2 * h)

    direction = jnp.array([0.3, 1.0, -0.2])
    _, got = both(1.3, y0)
    np.testing.assert_allclose(got[0], slope(1.0, 0 * y0), rtol=1e-6)
    np.testing.assert_allclose(got[1] @ direction, slope(0.0, direction), rtol=1e-6)


def test_steps_are_those_of_the_plain_solve(x64):
    """Integrals large enough that the default norm would see them."""
    integrands = {"value": lambda field, value, t, y, args: 1e4 * jnp.cos(40 * t)}
    saveat = diffrax.SaveAt(steps=True, t1=True)
    plain = diffeq.diffeqsolve(
        BENT,
        TSIT5,
        0.0,
        1.0,
        None,
        jnp.asarray(Y0),
        1.3,
        saveat=saveat,
        stepsize_controller=diffrax.PIDController(1e-6, 1e-6),
    )
    blind = solve(BENT, integrands, Y0, 1.3, tolerance=1e-6, saveat=saveat)
    np.testing.assert_allclose(plain.ts, blind.ts, rtol=1e-12)
    np.testing.assert_allclose(plain.ys, blind.ys[0], rtol=1e-12)
    norm = diffrax.PIDController(1, 1).norm
    seeing = solve(BENT, integrands, Y0, 1.3, tolerance=1e-6, norm=norm)
    assert seeing.stats["num_steps"] > 2 * blind.stats["num_steps"]


def test_error_estimates_can_leave_integrals_out(x64):
    def accumulated(terms, y0, **kwargs):
        accumulators = {
            "error": diffeq.ErrorIntegral(1e-6, 1e-6, **kwargs),
            "stiffness": diffeq.StiffnessIntegral(TSIT5, **kwargs),
        }
        solution = diffrax.diffeqsolve(
            terms,
            diffeq.AccumulatingSolver(TSIT5, accumulators),
            0.0,
            1.0,
            None,
            y0,
            1.3,
            saveat=diffrax.SaveAt(t1=True, solver_state=True),
            stepsize_controller=diffrax.StepTo(jnp.linspace(0, 1, 6)),
        )
        return solution.solver_state[1]

    y0 = jnp.asarray(Y0)
    fast = {"value": lambda field, value, t, y, args: 1e4 * jnp.cos(40 * t)}
    plain = accumulated(BENT, y0)
    whole = diffeq.with_integrals(BENT, y0, fast)
    got = accumulated(*whole, norm=diffeq.state_norm(safe_rms))
    seen = accumulated(*whole)
    for name in ("error", "stiffness"):
        np.testing.assert_allclose(got[name], plain[name], rtol=1e-9)
        assert abs(seen[name] / plain[name] - 1) > 0.1


def test_kinetic_energy_costs_no_evaluation():
    calls = []

    def counted(t, y, args):
        calls.append(None)
        return bent(t, y, args)

    integrands = {"value": diffeq.KineticEnergy(), "same": diffeq.TaylorDerivative(1)}
    terms, state = diffeq.with_integrals(
        diffrax.ODETerm(counted), jnp.ones(3), integrands
    )
    terms.vf(jnp.asarray(0.0), state, 1.3)
    assert len(calls) == 1


def test_an_ode_stays_an_ode_term_of_the_fast_engine():
    terms, (y, totals) = state = diffeq.with_integrals(
        BENT, jnp.ones(3), {"a": diffeq.KineticEnergy(), "b": diffeq.KineticEnergy()}
    )
    assert type(terms) is diffrax.ODETerm
    controller = diffrax.PIDController(1e-3, 1e-3, norm=diffeq.state_norm())
    choice = diffeq.explain(
        terms, TSIT5, 0.0, 1.0, None, state[1], stepsize_controller=controller
    )
    assert choice.engine == "adaptive"
    assert y.shape == (3,) and totals == {"a": 0.0, "b": 0.0}
    assert totals["a"].dtype == jnp.float32


class Curve(diffrax.AbstractPath):
    """A control that is smooth everywhere."""

    t0: float = 0.0
    t1: float = 1.0

    def evaluate(self, t0, t1=None, left=True):
        if t1 is not None:
            return self.evaluate(t1) - self.evaluate(t0)
        return jnp.stack([t0, jnp.sin(3 * t0)])


def test_a_controlled_equation_has_the_integrals_of_its_ode_form(x64):
    """And takes increments of its control for the solution, as before."""
    integrands = {
        "kinetic": diffeq.KineticEnergy(),
        "jacobian": diffeq.JacobianFrobenius(jnp.array([1.0, -1.0, -1.0])),
        "taylor": diffeq.TaylorDerivative(2),
    }

    def field(t, y, args):
        return jnp.stack([jnp.tanh(args * y), jnp.cos(jnp.roll(y, 1))], -1)

    term, grid = diffrax.ControlTerm(field, Curve()), jnp.linspace(0.0, 1.0, 201)
    kwargs = {"solver": diffrax.Heun(), "controller": diffrax.StepTo(grid)}
    got = solve(term, integrands, Y0, 0.7, **kwargs)
    ode = solve(term.to_ode(), integrands, Y0, 0.7)
    for name in integrands:
        np.testing.assert_allclose(total(got, name), total(ode, name), rtol=2e-4)
    plain = diffrax.diffeqsolve(
        term,
        diffrax.Heun(),
        0.0,
        1.0,
        None,
        jnp.asarray(Y0),
        0.7,
        stepsize_controller=diffrax.StepTo(grid),
    )
    np.testing.assert_allclose(got.ys[0], plain.ys, rtol=1e-12)


def noisy(diffusion, shape=(3,)):
    noise = diffeq.BulkBrownianPath(shape, jr.key(0))
    return diffrax.MultiTerm(BENT, diffrax.ControlTerm(diffusion, noise))


def test_without_diffusion_an_sde_has_the_integrals_of_its_drift(x64):
    integrands = {
        "kinetic": diffeq.KineticEnergy(),
        "taylor": diffeq.TaylorDerivative(2),
    }
    constant = diffrax.ConstantStepSize()
    kwargs = {"solver": diffrax.Heun(), "controller": constant, "dt0": 0.01}
    terms = noisy(lambda t, y, args: jnp.zeros((3, 3)))
    sde = solve(terms, integrands, Y0, 1.3, **kwargs)
    ode = solve(BENT, integrands, Y0, 1.3, **kwargs)
    for name in integrands:
        np.testing.assert_allclose(total(sde, name), total(ode, name), rtol=1e-12)


@pytest.mark.parametrize("solver", [diffrax.Euler(), diffrax.ItoMilstein()])
def test_integrals_do_not_disturb_an_sde_and_sum_the_drift(x64, solver):
    def diffusion(t, y, args):
        return lx.DiagonalLinearOperator(0.3 * jnp.cos(y))

    terms = noisy(diffusion)
    saveat = diffrax.SaveAt(t0=True, steps=True)
    kwargs = {"controller": diffrax.ConstantStepSize(), "dt0": 0.01, "saveat": saveat}
    integrands = {"value": diffeq.KineticEnergy()}
    got = solve(terms, integrands, Y0, 1.3, solver=solver, **kwargs)
    plain = diffeq.diffeqsolve(
        terms, solver, 0.0, 1.0, 0.01, jnp.asarray(Y0), 1.3, saveat=saveat
    )
    np.testing.assert_allclose(got.ys[0], plain.ys, rtol=1e-12)
    rate = sum(0.01 * np.sum(bent(0.01 * i, plain.ys[i], 1.3) ** 2) for i in range(100))
    np.testing.assert_allclose(got.ys[1]["value"][100], rate, rtol=1e-10)


def test_drift_energy_of_ornstein_uhlenbeck_in_expectation(x64):
    """dx = -a x dt + s dW: the mean of (a x)^2 is known at every time."""
    rate, noise, x0, count = 1.5, 0.8, 1.0, 4000
    drift = diffrax.ODETerm(lambda t, y, args: -rate * y)

    @jax.jit
    @jax.vmap
    def path(key):
        bulk = diffeq.BulkBrownianPath((1,), key)
        diffusion = diffrax.ControlTerm(lambda t, y, args: jnp.array([[noise]]), bulk)
        return total(
            solve(
                diffrax.MultiTerm(drift, diffusion),
                {"value": diffeq.KineticEnergy()},
                [x0],
                solver=diffrax.Heun(),
                controller=diffrax.ConstantStepSize(),
                dt0=0.02,
            )
        )

    values = np.asarray(path(jr.split(jr.key(3), count)))
    still = noise**2 / (2 * rate)
    decay = (1 - np.exp(-2 * rate)) / (2 * rate)
    expected = rate**2 * (still + (x0**2 - still) * decay)
    error = values.std() / np.sqrt(count)
    assert abs(values.mean() - expected) < 4 * error < 0.05 * expected


def test_compiles_once_and_batches(x64):
    traces = []

    @eqx.filter_jit
    def batch(y0s, key):
        traces.append(None)

        def one(y0):
            probe = diffeq.hutchinson_probe(y0, key=key)
            integrands = {
                "kinetic": diffeq.KineticEnergy(),
                "jacobian": diffeq.JacobianFrobenius(probe),
                "taylor": diffeq.TaylorDerivative(2),
            }
            return solve(BENT, integrands, y0, 1.3, tolerance=1e-8).ys[1]

        return jax.vmap(one)(y0s), [one(y0) for y0 in y0s]

    y0s = jnp.stack([jnp.asarray(Y0), 2 * jnp.asarray(Y0), -jnp.asarray(Y0)])
    together, single = batch(y0s, jr.key(0))
    batch(y0s + 1, jr.key(1))
    assert len(traces) == 1
    for name, values in together.items():
        expected = np.stack([one[name] for one in single])
        np.testing.assert_allclose(values, expected, rtol=1e-8)


def test_float32_stays_float32_even_in_a_world_of_doubles(x64):
    y0 = jnp.asarray(Y0, jnp.float32)
    integrands = {
        "jacobian": diffeq.JacobianFrobenius(
            diffeq.hutchinson_probe(y0, key=jr.key(0))
        ),
        "taylor": diffeq.TaylorDerivative(3),
    }
    terms, (_, totals) = diffeq.with_integrals(BENT, y0, integrands)
    t = jnp.asarray(0.2, jnp.float32)
    _, rates = terms.vf(t, (y0, totals), jnp.asarray(1.3, jnp.float32))
    assert {rate.dtype for rate in rates.values()} == {jnp.dtype("float32")}


@pytest.mark.parametrize("order", [0, -1, 2.0])
def test_an_order_below_one_is_refused(order):
    with pytest.raises(ValueError, match="whole number from 1"):
        diffeq.TaylorDerivative(order)


def test_noise_without_drift_is_refused():
    noise = diffrax.VirtualBrownianTree(0.0, 1.0, 1e-3, (1,), jr.key(0))
    term = diffrax.ControlTerm(lambda t, y, args: jnp.ones((1, 1)), noise)
    integrands = {"value": diffeq.KineticEnergy()}
    with pytest.raises(ValueError, match="noise alone"):
        diffeq.with_integrals(term, jnp.ones(1), integrands)
    for parts in ((term, term), (BENT, BENT, term)):
        with pytest.raises(ValueError, match="exactly one"):
            diffeq.with_integrals(diffrax.MultiTerm(*parts), jnp.ones(1), integrands)


def test_a_probe_of_another_shape_and_an_integrand_of_vectors_are_refused():
    y0 = jnp.ones(3)
    probe = diffeq.JacobianFrobenius(jnp.ones(2))
    terms, state = diffeq.with_integrals(BENT, y0, {"value": probe})
    with pytest.raises(ValueError, match="hutchinson_probe"):
        terms.vf(jnp.asarray(0.0), state, 1.0)
    vector = {"value": lambda field, value, t, y, args: value}
    terms, state = diffeq.with_integrals(BENT, y0, vector)
    with pytest.raises(ValueError, match="'value' has shape"):
        terms.vf(jnp.asarray(0.0), state, 1.0)
    with pytest.raises(ValueError, match="'rademacher' or 'normal'"):
        diffeq.hutchinson_probe(y0, key=jr.key(0), distribution="uniform")  # pyright: ignore
