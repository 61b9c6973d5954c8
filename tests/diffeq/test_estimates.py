"""Step estimates against closed forms and against SciPy's own tableau, in float64."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from djx import diffeq


TSIT5, DOPRI5 = diffrax.Tsit5(), diffrax.Dopri5()


def one_step(field, solver, t0, t1, y0, args=None):
    terms = diffrax.ODETerm(field)
    state = solver.init(terms, t0, t1, y0, args)
    y1, error, info, _, _ = solver.step(terms, t0, t1, y0, args, state, False)
    return diffeq.Step(jnp.asarray(t0), jnp.asarray(t1), y0, y1, error, info)


@pytest.mark.parametrize("solver", [TSIT5, DOPRI5], ids=["tsit5", "dopri5"])
@pytest.mark.parametrize("rate", [-40.0, -1.0, 0.3, 7.0])
@pytest.mark.parametrize("length", [0.02, 0.05, -0.1])
def test_stiffness_of_a_linear_field_is_its_rate(x64, solver, rate, length):
    y0 = jnp.array([1.0, -2.0, 0.5])
    step = one_step(lambda t, y, a: rate * y, solver, 0.2, 0.2 + length, y0)
    got = diffeq.stiffness_estimate(step, solver)
    np.testing.assert_allclose(got, abs(rate), rtol=1e-6)


def test_stiffness_of_a_rotation_is_its_frequency(x64):
    turn = 3.0 * jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    y0 = jnp.array([1.0, 0.0])
    step = one_step(lambda t, y, a: turn @ y, TSIT5, 0.0, 0.1, y0)
    np.testing.assert_allclose(diffeq.stiffness_estimate(step, TSIT5), 3.0, rtol=1e-9)


def test_stiffness_is_read_from_pytrees_as_from_vectors(x64):
    y0 = jnp.array([1.0, 2.0, 3.0])
    flat = one_step(lambda t, y, a: jnp.sin(y), TSIT5, 0.0, 1.0, y0)

    def field(t, y, args):
        return {"a": jnp.sin(y["a"]), "b": jnp.sin(y["b"])}

    tree = one_step(field, TSIT5, 0.0, 1.0, {"a": y0[:1], "b": y0[1:]})
    for estimate in (
        lambda step: diffeq.stiffness_estimate(step, TSIT5),
        lambda step: diffeq.scaled_error(step, rtol=1e-6, atol=1e-8),
    ):
        np.testing.assert_allclose(estimate(flat), estimate(tree), rtol=1e-9)


def test_solver_without_two_stages_at_the_end_is_refused():
    step = one_step(lambda t, y, a: -y, diffrax.Bosh3(), 0.0, 0.1, jnp.ones(2))
    with pytest.raises(ValueError, match="Tsit5 or diffrax.Dopri5"):
        diffeq.stiffness_estimate(step, diffrax.Bosh3())


def test_error_of_a_step_agrees_with_scipy_up_to_the_embedding(x64):
    """SciPy's RK45 is Dormand-Prince with its own embedding: 3/2 of diffrax's."""
    rtol, atol, h = 1e-6, 1e-9, 0.11
    y0 = np.array([1.0, 0.3, -0.4])

    def field(t, y):
        return np.array([y[1] * y[2], -y[0] * y[2] + t, -0.51 * y[0] * y[1]])

    table = scipy.integrate.RK45
    stages = [field(0.4, y0)]
    for i in range(1, 6):
        y = y0 + h * sum(table.A[i][j] * stages[j] for j in range(i))
        stages.append(field(0.4 + table.C[i] * h, y))
    y1 = y0 + h * sum(b * k for b, k in zip(table.B, stages, strict=True))
    stages.append(field(0.4 + h, y1))
    error = h * sum(e * k for e, k in zip(table.E, stages, strict=True))
    scale = atol + rtol * np.maximum(abs(y0), abs(y1))
    expected = np.sqrt(np.mean((error / scale) ** 2)) * 2 / 3

    def jax_field(t, y, args):
        return jnp.array([y[1] * y[2], -y[0] * y[2] + t, -0.51 * y[0] * y[1]])

    step = one_step(jax_field, DOPRI5, 0.4, 0.4 + h, jnp.asarray(y0))
    got = diffeq.scaled_error(step, rtol=rtol, atol=atol)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize("solver, order", [(TSIT5, 5), (DOPRI5, 5)])
def test_error_falls_with_the_order_of_the_pair(x64, solver, order):
    def error(h):
        y0 = jnp.array([1.0, 0.5])
        step = one_step(
            lambda t, y, a: jnp.array([y[1], -jnp.sin(y[0])]), solver, 0.0, h, y0
        )
        return float(diffeq.scaled_error(step, rtol=0.0, atol=1.0))

    slope = np.log2(error(0.2) / error(0.1))
    assert abs(slope - order) < 0.35, slope


def test_a_solver_without_error_estimate_is_refused():
    step = one_step(lambda t, y, a: -y, diffrax.Euler(), 0.0, 0.1, jnp.ones(2))
    with pytest.raises(ValueError, match="no embedded error estimate"):
        diffeq.scaled_error(step, rtol=1e-3, atol=1e-3)


def test_zero_error_has_a_finite_gradient(x64):
    def error(rate):
        step = one_step(
            lambda t, y, a: a * jnp.ones(2), TSIT5, 0.0, 0.1, jnp.ones(2), rate
        )
        return diffeq.scaled_error(step, rtol=1e-3, atol=1e-3)

    assert np.isfinite(jax.grad(error)(0.0))


def test_stiffness_of_a_tiny_step_is_good_to_its_rounding(x64):
    """Both gaps are differences of numbers of size one, near 1e-11 here."""
    step = one_step(lambda t, y, a: -y, TSIT5, 0.0, 2e-3, jnp.array([1.0]))
    weights = np.append(TSIT5.tableau.a_lower[-2], 0.0)
    stage = TSIT5.tableau.a_lower[-1] - weights
    gap = abs(np.dot(stage, np.asarray(step.dense_info["k"])[:-1, 0]))
    relative = abs(float(diffeq.stiffness_estimate(step, TSIT5)) - 1.0)
    assert relative < 50 * np.finfo(float).eps / gap < 1e-2
