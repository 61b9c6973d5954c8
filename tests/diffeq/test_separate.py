"""Small states solved as separate numbers: nobody sees the difference."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

from djx import diffeq
from djx.diffeq._pid import inverse_root
from djx.diffeq._separate import separated
from djx.diffeq._setup import equation_of, span


# The same norm, but not known to be: its solve sees the state as it is.
WHOLE = diffrax.PIDController(1e-6, 1e-6, norm=lambda tree: optx.rms_norm(tree))
APART = diffrax.PIDController(1e-6, 1e-6)


def lorenz(t, y, args):
    a, b, c = y
    return jnp.stack([10 * (b - a), a * (args - c) - b, a * b - 8 / 3 * c])


def pendulum(t, y, args):
    angle, speed = y["angle"], y["speed"]
    return {"angle": speed, "speed": -jnp.sin(angle) * args[:, None] - 0.1 * speed}


def moved(t, y, args):
    grid = (jnp.roll(y, 1) - y[::-1]).reshape(2, 2).T.ravel()
    kept = jnp.concatenate([grid[2:], jnp.where(y > 9, 0.5, y)[:2]])
    return jax.nn.silu(kept) * args - 0.3 * y + jnp.cos(t)


CASES = {
    "lorenz": (lorenz, np.array([1.0, 2.0, -1.0]), np.array(28.0)),
    "pendulum": (
        pendulum,
        {"angle": np.full((2, 1), 0.5), "speed": np.ones((2, 1))},
        np.array([1.0, 2.0]),
    ),
    "moved": (moved, np.array([0.3, -1.0, 0.7, 0.1]), np.array([1.0, 2.0, 0.5, 1.0])),
}
ENDS = {"t1": 2.0}
TIMES: Any = np.linspace(0.4, -0.4, 9)  # float64 whatever the flags are
SAVEAT = diffrax.SaveAt(
    subs={
        "times": diffrax.SubSaveAt(t0=True, ts=TIMES),
        "steps": diffrax.SubSaveAt(steps=2, t1=True),
        "function": diffrax.SubSaveAt(steps=1, fn=lambda t, y, a: (t, y)),
    },
    solver_state=True,
)
BACKWARDS = {"t0": 0.5, "t1": -0.5, "saveat": SAVEAT}


def _solve(name, controller, y0, args, **options):
    options = {"t0": 0.0, "dt0": None, "max_steps": 256, "throw": False} | options
    return diffeq.diffeqsolve(
        diffrax.ODETerm(CASES[name][0]),
        options.pop("solver", diffrax.Tsit5()),
        y0=y0,
        args=args,
        stepsize_controller=controller,
        **options,
    )


def _is_apart(field, controller, y0, args=None):
    whole = span(0.0, 1.0, None, [], direction=1)
    y0 = jax.tree.map(jnp.asarray, y0)
    found = equation_of(diffrax.ODETerm(field), whole, y0, args)
    return separated(*found, controller, whole.t0, y0) is not None


def _start(name, lanes):
    _, y0, args = CASES[name]
    if not lanes:
        return jax.tree.map(jnp.asarray, y0), args
    factor = np.linspace(0.7, 1.3, lanes)
    return jax.tree.map(lambda y: jnp.multiply.outer(factor, y), y0), args


def _same(ours, theirs, rtol):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert jnp.shape(a) == jnp.shape(b)
        assert jnp.result_type(a) == jnp.result_type(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    "name, options, lanes",
    [
        ("lorenz", ENDS, 0),
        ("lorenz", ENDS, 1),
        ("lorenz", BACKWARDS, 5),
        ("pendulum", BACKWARDS, 5),
        ("moved", BACKWARDS, 0),
        ("moved", ENDS, 5),
    ],
)
def test_solutions_are_those_of_whole_states(x64, name, options, lanes):
    y0, args = _start(name, lanes)
    if not lanes:
        assert _is_apart(CASES[name][0], APART, y0, args)
        assert not _is_apart(CASES[name][0], WHOLE, y0, args)

    def solved(controller):
        def solve(y0):
            out = _solve(name, controller, y0, args, **options)
            return (out.ts, out.ys, out.solver_state), out.stats

        return (jax.vmap(solve) if lanes else solve)(y0)

    (ours, of_ours), (theirs, of_theirs) = solved(APART), solved(WHOLE)
    _same(ours, theirs, 1e-11)
    _same(of_ours, of_theirs, 1e-7)  # some are quotients of small differences


@pytest.mark.parametrize("name, lanes", [("lorenz", 5), ("pendulum", 0), ("moved", 5)])
def test_gradients_are_those_of_whole_states(x64, name, lanes):
    y0, args = _start(name, lanes)
    saveat = diffrax.SaveAt(ts=jnp.linspace(0.0, 1.0, 5))

    def loss(given, controller):
        def solve(y0, args, t1=1.0):
            ys = _solve(name, controller, y0, args, t1=t1, saveat=saveat).ys
            return sum(
                (jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(ys)), jnp.zeros(())
            )

        over = jax.vmap(solve, (0, None, None)) if lanes else solve
        return jnp.sum(over(*given))

    def pushed(given, controller):
        return jax.jvp(lambda given: loss(given, controller), (given,), (given,))[1]

    if lanes:
        given, derivative = (y0, args, jnp.asarray(1.0)), jax.grad(loss)
    else:
        given, derivative = (y0, jnp.asarray(args)), pushed
    _same(derivative(given, APART), derivative(given, WHOLE), 1e-9)


def test_lanes_fail_by_themselves(x64):
    y0 = jnp.array([[1.0, 2.0, -1.0], [jnp.nan, 0, 0], [1e200, 1, 1], [2e3, 1, 1]])

    def solve(y0, controller):
        out = _solve("lorenz", controller, y0, 28.0, t1=2.0, max_steps=100)
        return out.ys, out.stats, out.result == diffrax.RESULTS.successful

    ours, theirs = (jax.vmap(lambda y, c=c: solve(y, c))(y0) for c in (APART, WHOLE))
    assert ours[2].tolist() == [True, False, False, False]
    _same(ours[2], theirs[2], 0)
    for key in ("num_steps", "num_accepted_steps"):
        assert ours[1][key].tolist() == theirs[1][key].tolist()
    alone = solve(y0[0], APART)
    _same(jax.tree.map(lambda y: y[0], ours[0]), alone[0], 1e-11)


def test_compaction_and_nested_lanes(x64):
    starts = np.linspace(0.1, 3, 70)[:, None] * CASES["lorenz"][1]
    adjoint = diffeq.ReplayAdjoint(compaction=True)

    def ends(controller, **options):
        def solve(y0, args):
            return _solve("lorenz", controller, y0, args, t1=1.0, **options).ys

        return jax.vmap(jax.vmap(solve, (None, 0)), (0, None))(starts, jnp.ones(1) * 28)

    _same(ends(APART, adjoint=adjoint), ends(WHOLE), 1e-11)

    def one(y0, **options):
        return _solve("lorenz", APART, y0, 28.0, t1=1.0, **options).ys

    compact = jax.vmap(lambda y0: one(y0, adjoint=adjoint))(starts)
    _same(compact, jax.vmap(one)(starts), 1e-11)


def test_float32_and_other_methods():
    y0, args = _start("lorenz", 3)
    y0, args = jnp.asarray(y0, jnp.float32), jnp.float32(28)
    for solver in (diffrax.Dopri5(), diffrax.Heun()):

        def solve(y, c, solver=solver):
            return _solve("lorenz", c, y, args, t1=0.2, solver=solver).ys

        ours, theirs = (
            jax.vmap(lambda y, c=c: solve(y, c))(y0) for c in (APART, WHOLE)
        )
        _same(ours, theirs, 1e-4)


@pytest.mark.parametrize(
    "field, y0",
    [
        (lambda t, y, a: jnp.ones((3, 3)) @ y, np.ones(3)),
        (lambda t, y, a: y, np.ones(5)),
        (lambda t, y, a: y[jnp.argmax(y)] * y, np.ones(3)),
        (lambda t, y, a: jax.nn.relu(y), np.ones(3)),
        (lambda t, y, a: jnp.sum(jnp.ones(100)) * y, np.ones(3)),
    ],
    ids=["product", "large", "index", "rule of its own", "long inside"],
)
def test_other_fields_see_the_whole_state(field, y0):
    assert not _is_apart(field, APART, y0)


def test_other_controllers_see_the_whole_state():
    each = diffrax.PIDController(rtol=1e-3, atol=jnp.ones(3))
    assert not _is_apart(lambda t, y, a: -y, each, np.ones(3))
    assert _is_apart(lambda t, y, a: -y, APART, np.ones(3))


@pytest.mark.parametrize("k", range(1, 10))
def test_inverse_roots_and_their_slopes_are_right_to_rounding(x64, k):
    for kind, decades in ((np.float64, 300), (np.float32, 36)):
        eps = float(np.finfo(kind).eps)
        x = 10 ** np.linspace(-decades, decades, 2001, dtype=np.longdouble)
        x = x.astype(kind)
        exact = x.astype(np.longdouble) ** (np.longdouble(-1) / k)
        found = inverse_root(jnp.asarray(x), k)
        assert found.dtype == kind
        np.testing.assert_allclose(found, exact, rtol=4 * eps)
        x = jnp.linspace(0.01, 20, 100, dtype=kind)
        slope = jax.vmap(jax.grad(lambda v: inverse_root(v, k)))(x)
        np.testing.assert_allclose(slope, -(x ** (-1 / k - 1)) / k, rtol=4e3 * eps)
    low, high = inverse_root(jnp.array([0.0, jnp.inf]), k)
    assert low > 1e33 and high < 1e-33
    assert jnp.isnan(inverse_root(jnp.array(jnp.nan), k))
