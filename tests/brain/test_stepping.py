"""Fixed steps: orders, what is exact, what stays, and what the compiler makes of it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from djx.brain._drive import Drive
from djx.brain._integrate_and_fire import LIF
from djx.brain._stepping import exponential_euler, exprel, forward_euler, heun


STEPPERS = {"exponential": exponential_euler, "euler": forward_euler, "heun": heun}


def run(method, field, state, dt, steps):
    def body(state, _):
        return method(field, state, dt), None

    return jax.jit(lambda s: jax.lax.scan(body, s, None, length=steps)[0])(state)


def oscillator(xp):
    """FitzHugh and Nagumo's, with a drive that both variables see."""

    def field(state):
        v, w = state
        return v - v**3 / 3 - w + 0.5, 0.08 * (v + 0.7 - 0.8 * w) + 0.1 * xp.sin(v * w)

    return field


def logistic(state):
    (x,) = state
    return (x * (1 - x) + 0.1 * jnp.cos(x),)


@pytest.mark.parametrize("name, order", [("exponential", 1), ("euler", 1), ("heun", 2)])
def test_orders(x64, name, order):
    field = oscillator(np)
    true = solve_ivp(
        lambda t, y: field(y), (0, 8), [-1, 1], "DOP853", rtol=1e-12, atol=1e-12
    ).y[:, -1]
    errors = []
    for steps in (400, 800, 1600):
        start = jnp.array([-1.0]), jnp.array([1.0])
        found = run(STEPPERS[name], oscillator(jnp), start, 8 / steps, steps)
        errors.append(np.abs(np.concatenate(found) - true).max())
    assert np.log2(errors[:-1] / np.array(errors[1:])) == pytest.approx(order, abs=0.1)


def test_exponential_euler_is_of_second_order_for_one_variable(x64):
    true = solve_ivp(
        lambda t, x: x * (1 - x) + 0.1 * np.cos(x),
        (0, 4),
        [0.1],
        rtol=1e-12,
        atol=1e-13,
    ).y[0, -1]
    errors = [
        abs(
            float(run(exponential_euler, logistic, (jnp.array(0.1),), 4 / n, n)[0])
            - true
        )
        for n in (50, 100, 200)
    ]
    assert np.log2(errors[:-1] / np.array(errors[1:])) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("dt", [1e-3, 0.1, 3.0, 500.0])
@pytest.mark.parametrize("g_leak", [0.0, 1e-6, 10.0])
def test_linear_cells_are_exact_at_any_step(x64, dt, g_leak):
    cell, drive = LIF(g_leak_ns=g_leak), Drive(12.0, 0.5 * g_leak)
    start = cell.init(2)._replace(v_mv=jnp.array([-75.0, -52.0]))
    found = run(exponential_euler, lambda s: cell.field(s, drive), start, dt, 20)
    g, t = 1.5 * g_leak, 20 * dt
    if g == 0:
        true = start.v_mv + 12.0 / 200 * t
    else:
        end = (-60 * g_leak + 12.0) / g
        true = start.v_mv - (start.v_mv - end) * -np.expm1(-g / 200 * t)
    np.testing.assert_allclose(found.v_mv, true, rtol=1e-11)


@pytest.mark.parametrize("name", STEPPERS)
def test_what_has_no_slope_is_passed_on_untouched(name):
    x, still = jnp.ones(3), jnp.array([1.0, jnp.nan, 7.0])
    held = (jnp.array([False, True, False]), None)
    moved = STEPPERS[name](lambda s: (-s[0], None), (x, still), 0.1, held)
    assert moved[1] is still
    np.testing.assert_array_equal(np.asarray(moved[0]) == 1, held[0])


def test_heun_holds_in_both_of_its_stages():
    # The other variable must not see what the held one would have become.
    held = (jnp.array(True), None)
    moved = heun(
        lambda s: (1e3 + 0 * s[0], s[0]), (jnp.array(2.0), jnp.array(0.0)), 1.0, held
    )
    assert moved == (2.0, 2.0)


@pytest.mark.parametrize("name", STEPPERS)
def test_slopes_of_another_shape_are_refused(name):
    with pytest.raises(ValueError, match="field: slopes of shape .2, 3"):
        STEPPERS[name](lambda s: (jnp.ones((2, 3)),), (jnp.ones(3),), 0.1)


@pytest.mark.parametrize(
    "bits, bounds", [(32, (4e-7, 4e-6, 4e-5)), (64, (3e-14, 1e-13, 1e-12))]
)
def test_exprel_and_its_derivatives(x64, bits, bounds):
    # The k-th derivative is the integral of s^k e^(z s) over s from 0 to 1.
    s, w = np.polynomial.legendre.leggauss(40)
    s, w = (s + 1) / 2, w / 2
    z = np.concatenate(
        [np.linspace(-9, 9, 999), np.linspace(-0.4, 0.4, 999), [0, 1e-30]]
    )
    z = z.astype(f"float{bits}")
    f = exprel
    for k, bound in enumerate(bounds):
        true = (w * s**k) @ np.exp(np.outer(s, z.astype(float)))
        found = jax.vmap(f)(jnp.asarray(z))
        assert found.dtype == z.dtype
        np.testing.assert_allclose(found, true, rtol=bound)
        assert f(jnp.zeros((), z.dtype)) == pytest.approx(1 / (k + 1), rel=1e-6)
        f = jax.grad(f)


def test_growth_beyond_float32_stays_finite():
    def after(a):
        return exponential_euler(lambda s: (a * s[0],), (jnp.array(1.0),), 0.1)[0]

    for a in (1e3, 1e7, -1e7):
        assert jnp.isfinite(after(a)) and jnp.isfinite(jax.grad(after)(a))
    assert after(-1e7) == pytest.approx(0, abs=1e-6)


def test_a_step_of_lif_is_one_quotient():
    cell = LIF()
    drive = Drive(jnp.ones(4000), jnp.ones(4000))
    compiled = jax.jit(lambda s, d: cell.step(s, d, 0.1)).lower(cell.init(4000), drive)
    text = compiled.compile().as_text()
    for operation, often in (("exponential", 0), ("divide", 1)):
        assert len(re.findall(rf" {operation}\(", text)) == often
