"""Orders of convergence, measured against closed forms."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import diffeq


ORDERS = {
    diffrax.Euler: 1,
    diffrax.Heun: 2,
    diffrax.Midpoint: 2,
    diffrax.Ralston: 2,
    diffrax.Bosh3: 3,
    diffrax.Tsit5: 5,
    diffrax.Dopri5: 5,
    diffrax.Dopri8: 8,
    diffrax.ReversibleHeun: 2,
}


def _slope(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize("kind", ORDERS, ids=lambda kind: kind.__name__)
def test_order_for_ordinary_equations(x64, kind):
    """y' = y cos(t) + (1 - y) t / 5: a linear equation with a smooth reference."""

    def field(t, y, args):
        return y * jnp.cos(t) + 0.2 * t * jnp.sin(y)

    def end(steps, solver):
        solution = diffeq.diffeqsolve(
            diffrax.ODETerm(field), solver, 0.0, 4.0, 4.0 / steps, jnp.array(1.3)
        )
        return solution.ys[0]

    exact = end(600, diffrax.Dopri8())
    order = ORDERS[kind]
    counts = np.array(
        {8: [6, 8, 10, 12], 5: [24, 32, 48, 64]}.get(order, [96, 128, 192])
    )
    errors = [abs(end(int(n), kind()) - exact) for n in counts]
    tolerance = 0.15 if order < 8 else 0.5  # few steps before rounding
    assert _slope(counts, errors) == pytest.approx(order, abs=tolerance)


FINE = 2**9


def _geometric(solver, steps, calculus, noise, paths=400):
    """Mean absolute error at time 1 for dy = a y dt + b y dW or b dW (additive)."""
    a, b = -0.5, 0.8
    normals = jax.random.normal(jax.random.key(2), (paths, FINE)) / FINE**0.5
    walks = jnp.concatenate([jnp.zeros((paths, 1)), jnp.cumsum(normals, 1)], 1)

    def one(walk):
        # One path for every grid: the increments of its finest.
        def increment(t0, t1):
            def at(t):
                return walk[jnp.round(t * FINE).astype(int)]

            return at(t1) - at(t0)

        spread = (lambda t, y, p: b * y) if noise == "multiplicative" else lambda *_: b
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(lambda t, y, p: a * y),
            diffrax.ControlTerm(
                lambda t, y, p: jnp.asarray(spread(t, y, p)), increment
            ),
        )
        return diffeq.diffeqsolve(
            terms, solver, 0.0, 1.0, 1.0 / steps, jnp.array(1.0)
        ).ys[0]

    found = jax.jit(jax.vmap(one))(walks)
    if noise == "multiplicative":
        drift = a - (b**2 / 2 if calculus == "ito" else 0.0)
        exact = jnp.exp(drift + b * walks[:, -1])
    else:
        # variation of constants on the finest grid
        times = (jnp.arange(FINE) + 0.5) / FINE
        exact = jnp.exp(a) + b * (normals @ jnp.exp(a * (1 - times)))
    return jnp.mean(jnp.abs(found - exact))


@pytest.mark.parametrize(
    "solver, calculus, noise, order",
    [
        (diffrax.Euler(), "ito", "multiplicative", 0.5),
        (diffrax.Euler(), "ito", "additive", 1.0),
        (diffrax.ItoMilstein(), "ito", "multiplicative", 1.0),
        (diffrax.StratonovichMilstein(), "stratonovich", "multiplicative", 1.0),
        (diffrax.EulerHeun(), "stratonovich", "multiplicative", 1.0),
        (diffrax.Heun(), "stratonovich", "multiplicative", 1.0),
        (diffrax.ReversibleHeun(), "stratonovich", "multiplicative", 1.0),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, diffrax.AbstractSolver) else str(x),
)
def test_strong_order_for_stochastic_equations(x64, solver, calculus, noise, order):
    counts = np.array([16, 32, 64, 128])
    errors = [_geometric(solver, int(n), calculus, noise) for n in counts]
    assert _slope(counts, errors) == pytest.approx(order, abs=0.1)
