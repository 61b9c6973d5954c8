"""The packing experiment's own pieces."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.optimize import brentq, root

from djx.implicit import Gradient
from experiments._packing_sensitivity_fire import advance, rest
from experiments._packing_sensitivity_measure import (
    held_part,
    implicit_sensitivity,
    modes,
    perturbed,
)
from experiments._packing_sensitivity_spheres import (
    backbone,
    contacts,
    energy,
    hessian,
    pairs,
    settle,
    slope,
    Spheres,
    spheres,
)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def packing(seed=0, count=16, fraction=1.0):
    system = spheres(count, 0.6, fraction)
    small = jnp.asarray(0.6)
    x = system.side * jr.uniform(jr.key(seed), (count, 2))
    return system, small, jax.jit(lambda x: settle(system, small, x))(x)


def by_hand(system, small, x):
    """The energy pair by pair, over all images."""
    d = np.where(np.arange(system.count) < system.count - system.count // 2, 1, small)
    total = 0.0
    for i in range(system.count):
        for j in range(i):
            for shift in np.ndindex(3, 3):
                apart = x[i] - x[j] + system.side * (np.array(shift) - 1)
                sigma = (d[i] + d[j]) / 2
                total += max(0, 1 - np.linalg.norm(apart) / sigma) ** 2 / 2
    return total


def test_box_holds_the_fraction_that_it_should():
    system = spheres(10, 0.5, 0.8)
    area = 5 * np.pi / 4 * (1 + 0.25)
    np.testing.assert_allclose(area / system.side**2, 0.8, rtol=1e-12)


def test_energy_and_its_derivatives():
    system = spheres(12, 0.6, 1.1)
    small = jnp.asarray(0.6)
    x = system.side * jr.uniform(jr.key(3), (12, 2))
    value = energy(system, x, small)
    np.testing.assert_allclose(value, by_hand(system, 0.6, np.asarray(x)), rtol=1e-12)
    wanted = jax.grad(lambda x: energy(system, x, small))(x)
    np.testing.assert_allclose(slope(system, x, small), wanted, atol=1e-13)
    twice = jax.jit(jax.hessian(lambda x: energy(system, x, small)))
    wanted = twice(x).reshape(24, 24)
    np.testing.assert_allclose(hessian(system, x, small), wanted, atol=1e-12)


def test_rattlers_are_what_three_contacts_do_not_hold():
    """A chain hangs on a triangle of four: it falls off link by link."""
    touching = np.zeros((7, 7), bool)
    for i, j in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (3, 4), (4, 5)]:
        touching[i, j] = touching[j, i] = True
    held = backbone(jnp.asarray(touching))
    np.testing.assert_array_equal(held, [1, 1, 1, 1, 0, 0, 0])


def test_fire_turns_velocity_verlet_towards_the_force():
    """By a tenth at first; a step of 0.1 moves by 0.005 of the acceleration."""
    stiffness = jnp.asarray([[1.0, 0.0], [0.0, 4.0]])
    x = jnp.asarray([[1.0, 1.0]])
    state = rest(x, -x @ stiffness, 0.1)
    state = advance(lambda x: -x @ stiffness, state, 0.4)
    moved = x * (1 - 0.005 * jnp.diag(stiffness))
    np.testing.assert_allclose(state.x, moved, rtol=1e-14)
    force, old = -moved @ stiffness, -x @ stiffness
    velocity = 0.05 * (force + old)
    size = jnp.linalg.norm(velocity) / jnp.linalg.norm(force)
    np.testing.assert_allclose(
        state.velocity, 0.9 * velocity + 0.1 * size * force, rtol=1e-13
    )


def test_fire_halts_where_it_goes_uphill_and_finds_the_minimum():
    x = jnp.asarray([[1.0, 1.0]])
    push = lambda x: -x * jnp.asarray([1.0, 9.0])  # noqa: E731
    state = rest(x, push(x), 0.1)
    uphill = state._replace(velocity=5 * x, downhill=jnp.asarray(9.0))
    after = advance(push, uphill, 0.4)
    np.testing.assert_array_equal(after.velocity, 0)
    np.testing.assert_allclose(
        [after.step, after.mixing, after.downhill], [0.05, 0.1, 0]
    )
    run = jax.jit(
        lambda s: jax.lax.fori_loop(0, 400, lambda _, s: advance(push, s, 0.4), s)
    )
    assert jnp.max(jnp.abs(run(state).x)) < 1e-12


def test_settled_packing_is_a_minimum_with_two_modes_that_cost_nothing():
    system, small, x = packing()
    assert jnp.linalg.norm(slope(system, x, small)) < 1e-13
    spectrum = modes(hessian(system, x, small))
    rattlers = int(jnp.sum(~backbone(contacts(system, x, small))))
    assert int(jnp.sum(spectrum.free)) == 2 + 2 * rattlers
    assert jnp.min(spectrum.stiffness) > -1e-12
    # Scipy's root finder, on forces alone, does not leave it.
    found = root(
        lambda y: np.asarray(slope(system, y.reshape(-1, 2), small)).ravel(), x
    )
    np.testing.assert_allclose(found.x.reshape(-1, 2), x, atol=1e-9)


@pytest.mark.parametrize("linear", ["eigh", "cg", "svd"])
def test_row_of_four_spheres_in_closed_form(linear):
    """Spheres of diameters 1, 1, s, s in a row around a ring of length L.

    The force (1 - r / sigma) / sigma is the same in all four contacts, so its value f
    solves sum sigma (1 - sigma f) = L, and gaps change with s through that.
    """
    side, s = 2.9, 0.6
    system, small = Spheres(4, side), jnp.asarray(s)

    def gaps(s):
        sigma = np.array([1, (1 + s) / 2, s, (1 + s) / 2])
        force = brentq(lambda f: np.sum(sigma * (1 - sigma * f)) - side, -1, 1)
        return sigma * (1 - sigma * force)

    x = np.zeros((4, 2))
    x[1:, 0] = np.cumsum(gaps(s))[:3]
    x = jnp.asarray(x)
    assert jnp.linalg.norm(slope(system, x, small)) < 1e-12
    how = Gradient(linear=linear, tolerance=1e-10)
    solve = jax.jit(lambda x: implicit_sensitivity(system, small, x, how))
    tangent, receipt = solve(x)
    step = 1e-5
    wanted = (gaps(s + step) - gaps(s - step)) / (2 * step)
    np.testing.assert_allclose(np.diff(tangent[:, 0]), wanted[:3], atol=1e-8)
    np.testing.assert_allclose(jnp.mean(tangent, 0), 0, atol=1e-8)  # of least norm
    assert receipt.residual < 1e-9 and receipt.solves == 1


def test_lu_of_a_packing_is_reported():
    system, small, x = packing()
    how = Gradient(linear="lu", on_failure="nan")
    solve = jax.jit(lambda x: implicit_sensitivity(system, small, x, how))
    tangent, receipt = solve(x)
    assert receipt.failed == 1
    assert jnp.all(jnp.isnan(tangent))


def test_differences_agree_with_settling_from_scratch():
    """An own central difference, each packing settled by the damped Newton method."""
    system, small, x = packing(seed=1)
    held = backbone(contacts(system, x, small))
    spectrum = modes(hessian(system, x, small))
    found = jax.jit(lambda x: perturbed(system, small, x, held, spectrum))(x)
    assert found.kept and found.uncertainty < 1e-7
    again = jax.jit(lambda small: settle(system, small, x))
    step = 1e-6
    wanted = (again(small + step) - again(small - step)) / (2 * step)
    error = jnp.linalg.norm(held_part(wanted, held) - found.value)
    assert error < 1e-6 * jnp.linalg.norm(found.value)
    how = Gradient(linear="eigh")
    tangent, _ = jax.jit(lambda x: implicit_sensitivity(system, small, x, how))(x)
    error = jnp.linalg.norm(held_part(tangent, held) - found.value)
    assert error < 1e-7 * jnp.linalg.norm(found.value)


def test_a_packing_about_to_touch_is_a_kink():
    """Two spheres that touch at zero overlap: one more contact on one side only."""
    system, small, x = packing(seed=1)
    _, r, sigma = pairs(system, x, small)
    gap = jnp.where(r > sigma, r - sigma, jnp.inf)
    i, j = jnp.unravel_index(jnp.argmin(gap), gap.shape)

    @jax.jit
    def distance(s):
        _, r, sigma = pairs(system, settle(system, s, x), s)
        return r[i, j] - sigma[i, j]

    far = next(s for s in 0.6 + np.linspace(0, 0.1, 41) if distance(s) < 0)
    touch = jnp.asarray(brentq(distance, 0.6, far, xtol=1e-12))
    y = settle(system, touch, x)
    held = backbone(contacts(system, y, touch))
    spectrum = modes(hessian(system, y, touch))
    found = jax.jit(lambda y: perturbed(system, touch, y, held, spectrum))(y)
    assert not found.kept
