"""Orders of convergence, measured against closed forms."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

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


# Enough steps for the leading term of the error, few enough to stay above rounding.
COUNTS = {1: [400, 800], 2: [200, 400], 3: [100, 200], 5: [96, 128, 192]}


@pytest.mark.parametrize("kind", ORDERS, ids=lambda kind: kind.__name__)
def test_order_for_ordinary_equations(x64, kind):
    """A damped rotation; y' = -2 t y for order eight, whose terms fall faster."""
    order = ORDERS[kind]
    if order == 8:
        term, y0, end = diffrax.ODETerm(lambda t, y, a: -2 * t * y), np.ones(1), 1.5
        exact, counts = np.exp(-2.25), [12, 14, 16]
    else:
        matrix, end = np.array([[-0.3, 1.0], [-1.2, -0.1]]), 4.0
        term = diffrax.ODETerm(lambda t, y, a: matrix @ y)
        y0, counts = np.array([1.0, 0.5]), COUNTS[order]
        exact = scipy.linalg.expm(end * matrix) @ y0

    def error(steps):
        solution = diffeq.diffeqsolve(
            term, kind(), 0.0, end, end / steps, jnp.asarray(y0)
        )
        return np.linalg.norm(solution.ys[0] - exact)

    slope = _slope(counts, [error(n) for n in counts])
    # Order eight meets rounding before its leading term is alone.
    assert slope == pytest.approx(order, abs=0.15 if order < 8 else 0.25)


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
