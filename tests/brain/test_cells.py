"""Single cells against closed forms, and against equations of our own in LSODA."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diffrax import PIDController, SaveAt, Tsit5
from scipy.integrate import solve_ivp

from djx.brain._cell import term
from djx.brain._drive import Drive, ohmic
from djx.brain._hodgkin_huxley import HodgkinHuxley, TraubMiles
from djx.brain._integrate_and_fire import (
    AdaptiveLIF,
    AdEx,
    ExpIF,
    Izhikevich,
    LIF,
)
from djx.brain._stepping import exponential_euler, forward_euler, heun
from djx.diffeq import diffeqsolve


CELLS = {
    c.__name__: c
    for c in (LIF, ExpIF, AdEx, Izhikevich, AdaptiveLIF, HodgkinHuxley, TraubMiles)
}


def run(cell, state, drive, dt, steps, method=exponential_euler):
    """Voltages at the start of each step, and who fired at its end."""

    def body(state, _):
        after, spiked = cell.step(state, drive, dt, method)
        return after, (state.v_mv, spiked)

    scan = jax.jit(lambda s: jax.lax.scan(body, s, None, length=steps))
    state, (v_mv, spiked) = scan(state)
    return state, np.asarray(v_mv), np.asarray(spiked)


def crossings(v_mv, dt, level):
    """When a line between voltages goes up through a level."""
    (k,) = np.nonzero((v_mv[:-1] < level) & (v_mv[1:] >= level))
    return (k + (level - v_mv[k]) / (v_mv[k + 1] - v_mv[k])) * dt


def squid(y, i):
    """The equations in mV, ms, uA/cm2, mS/cm2 and uF/cm2."""
    v, m, h, n = y
    x, z = (v + 40) / 10, (v + 55) / 10
    return [
        i - 120 * m**3 * h * (v - 50) - 36 * n**4 * (v + 77) - 0.3 * (v + 54.387),
        x / (1 - np.exp(-x)) * (1 - m) - 4 * np.exp(-(v + 65) / 18) * m,
        0.07 * np.exp(-(v + 65) / 20) * (1 - h) - h / (1 + np.exp(-(v + 35) / 10)),
        0.1 * z / (1 - np.exp(-z)) * (1 - n) - 0.125 * np.exp(-(v + 65) / 80) * n,
    ]


def traub(y, i):
    v, m, h, n = y
    u = v + 63
    return [
        (10 * (-60 - v) - 2e4 * m**3 * h * (v - 50) - 6e3 * n**4 * (v + 90) + i) / 200,
        0.32 * (13 - u) / np.expm1((13 - u) / 4) * (1 - m)
        - 0.28 * (u - 40) / np.expm1((u - 40) / 5) * m,
        0.128 * np.exp((17 - u) / 18) * (1 - h) - 4 * h / (1 + np.exp((40 - u) / 5)),
        0.032 * (15 - u) / np.expm1((15 - u) / 5) * (1 - n)
        - 0.5 * np.exp((10 - u) / 40) * n,
    ]


EQUATIONS = {
    "LIF": lambda y, i: [-(y[0] + 60) / 20 + i / 200],
    "ExpIF": lambda y, i: [
        (-(y[0] + 65) + 3.48 * np.exp((y[0] + 59.9) / 3.48)) / 10 + i / 100
    ],
    "AdEx": lambda y, i: [
        (30 * (-70.6 - y[0] + 2 * np.exp(min((y[0] + 50.4) / 2, 18))) - y[1] + i) / 281,
        (4 * (y[0] + 70.6) - y[1]) / 144,
    ],
    "Izhikevich": lambda y, i: [
        0.04 * y[0] ** 2 + 5 * y[0] + 140 - y[1] + i / 100,
        0.02 * (0.2 * y[0] - y[1]),
    ],
    "AdaptiveLIF": lambda y, i: [-(y[0] + 60) / 20 + i / 200, -y[1] / 2000],
    "HodgkinHuxley": lambda y, i: squid(y, i / 100),
    "TraubMiles": traub,
}


@pytest.mark.parametrize("name", CELLS)
def test_fields_are_the_equations(x64, name):
    # Along a solution of LSODA's, by its differences and in djx's own solver.
    cell, i = CELLS[name](), {"Izhikevich": 300.0}.get(name, 150.0)
    start = cell.init(())._replace(v_mv=jnp.array(-62.5))
    y0 = [float(x) for x in start[:-1]]
    solution = solve_ivp(
        lambda t, y: EQUATIONS[name](y, i),
        (0, 4),
        y0,
        "LSODA",
        dense_output=True,
        rtol=1e-11,
        atol=1e-12,
    ).sol
    times, eps = np.linspace(0.5, 3.5, 7), 1e-3
    slopes = (solution(times + eps) - solution(times - eps)) / (2 * eps)
    # Through open channels nothing flows at their reversal potential.
    state = type(start)(*jnp.asarray(solution(times)), jnp.zeros(7))
    found = cell.field(state, Drive(i) + ohmic(2.0, state.v_mv))
    assert found.refractory_ms is None
    for ours, theirs in zip(found[:-1], slopes, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)

    solved = diffeqsolve(
        term(cell, lambda t: Drive(i)),
        Tsit5(),
        0.0,
        3.5,
        0.01,
        start,
        saveat=SaveAt(ts=jnp.asarray(times)),
        stepsize_controller=PIDController(rtol=1e-9, atol=1e-9),
        max_steps=20_000,
    ).ys
    for ours, theirs in zip(solved[:-1], solution(times), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    assert not np.any(solved.refractory_ms)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("dt", [1.0, 0.1, 0.05, 0.025, 0.02])
def test_lif_fires_at_the_closed_form_on_the_grid(double, dt):
    # From -60 mV towards -40 the threshold at -50 is tau ln 2 away: 53.014 Hz.
    with jax.enable_x64(double):
        cell = LIF()
        _, _, spiked = run(cell, cell.init(1), Drive(200.0), dt, round(400 / dt))
    (k,) = np.nonzero(spiked[:, 0])
    first = int(np.ceil(20 * np.log(2) / dt))
    assert k[0] + 1 == first and set(np.diff(k)) == {first + round(5 / dt)}
    exact = 5 + 20 * np.log(2)
    assert 1000 / exact == pytest.approx(53.014, abs=1e-3)
    assert exact <= np.diff(k)[0] * dt < exact + dt


@pytest.mark.parametrize(
    "wait, dt",
    [(5, 0.1), (5, 0.05), (2, 0.01), (1.7, 0.1), (3, 0.3), (1000, 0.01), (0, 0.1)],
)
@pytest.mark.parametrize("name", ["LIF", "AdEx", "AdaptiveLIF"])
def test_refractory_cells_wait_for_whole_steps(name, wait, dt):
    cell = CELLS[name](refractory_ms=wait, threshold_mv=-50.0)
    steps = round(wait / dt)
    drive = Drive(1e6)  # above the threshold after any step
    _, v_mv, spiked = run(cell, cell.init(1), drive, dt, 2 * steps + 3)
    apart = steps + 1 if cell.holds_voltage else max(steps, 1)
    assert list(np.nonzero(spiked[:, 0])[0][:3]) == [0, apart, 2 * apart]
    if cell.holds_voltage:
        reset = {"LIF": -60.0, "AdEx": -70.6}[name]
        assert set(v_mv[1 : steps + 2, 0]) == {np.float32(reset)}


def test_squid_axon():
    # Hodgkin & Huxley at 6.3 C by LSODA: rates in Hz at 7, 10 and 20 uA/cm2.
    cell, dt = HodgkinHuxley(), 0.005
    with jax.enable_x64(True):
        drive = Drive(jnp.array([700.0, 1000.0, 2000.0]))
        start = cell.init(3)
        gates = [0.0529, 0.5961, 0.3177]  # as of the reference
        for x, gate in zip(start[1:-1], gates, strict=True):
            assert x[0] == pytest.approx(gate, abs=5e-5)
        start = start._replace(
            **{k: 0 * start.m + g for k, g in zip("mhn", gates, strict=True)}
        )
        _, v_mv, spiked = run(cell, start, drive, dt, round(400 / dt), heun)
    for v, fired, rate in zip(v_mv.T, spiked.T, (58.327, 68.324, 86.470), strict=True):
        times = crossings(v, dt, 0.0)
        assert 1000 / np.mean(np.diff(times)[-8:]) == pytest.approx(rate, abs=1e-3)
        np.testing.assert_array_equal(np.nonzero(fired)[0][: len(times)], times // dt)
    assert crossings(v_mv[:, 1], dt, 0.0)[0] == pytest.approx(1.9013, abs=1e-4)


def test_traub_and_miles_without_drive(x64):
    cell, dt = TraubMiles(), 0.01
    start = cell.init(())
    _, v_mv, _ = run(cell, start, Drive(), dt, 16_000, heun)
    crossing = lambda t, y: y[0] + 20  # noqa: E731
    crossing.direction = 1
    true = solve_ivp(
        lambda t, y: traub(y, 0.0),
        (0, 160),
        [float(x) for x in start[:-1]],
        "LSODA",
        events=crossing,
        rtol=1e-10,
        atol=1e-11,
    ).t_events[0]
    assert len(true) == 3
    np.testing.assert_allclose(crossings(v_mv, dt, -20.0), true, atol=0.02)


def test_izhikevich_regular_spiking(x64):
    cell, dt = Izhikevich(), 0.005
    start = cell.init(())._replace(v_mv=jnp.array(-65.0), u_mv_per_ms=jnp.array(-13.0))
    _, _, spiked = run(cell, start, Drive(1000.0), dt, 200_000, forward_euler)
    (k,) = np.nonzero(spiked)
    gaps = np.diff(k) * dt
    assert len(k) == 23
    assert gaps[0] == pytest.approx(23.13, abs=dt)
    assert gaps[2:] == pytest.approx(44.83, abs=dt)


@pytest.mark.parametrize("method", [exponential_euler, heun])
@pytest.mark.parametrize("name, i", [("AdEx", 1000.0), ("ExpIF", 150.0)])
def test_spikes_that_set_off_by_themselves(x64, name, i, method):
    cell, dt = CELLS[name](), 0.002
    steps = round(100 / dt)
    _, _, spiked = run(cell, cell.init(()), Drive(i), dt, steps, method)
    up = lambda t, y: y[0] - cell.threshold_mv  # noqa: E731
    up.terminal, up.direction = True, 1
    y, t, times = [float(x) for x in cell.init(())[:-1]], 0.0, []
    while t < 100:
        solution = solve_ivp(
            lambda t, y: EQUATIONS[name](y, i),
            (t, 100),
            y,
            "LSODA",
            events=up,
            rtol=1e-10,
            atol=1e-10,
        )
        if not len(solution.t_events[0]):
            break
        t, y = float(solution.t[-1]), list(solution.y[:, -1])
        times.append(t)
        y[0] = cell.reset_mv
        if name == "AdEx":
            y[1] += 80.5
        else:
            t += 1.7
    found = (np.nonzero(spiked)[0] + 1) * dt
    assert len(found) == len(times) > 3
    # A spike of the grid is late by a step at most, and each hands its delay on.
    assert np.all(np.abs(found - times) < 2 * dt * np.arange(1, len(times) + 1))


def test_adaptive_threshold_step_by_step(x64):
    cell, dt, steps = AdaptiveLIF(excess_mv=1.5, tau_excess_ms=150.0), 0.1, 5000
    _, v_mv, spiked = run(cell, cell.init(()), Drive(290.0), dt, steps)
    v, excess, last, count = -60.0, 0.0, -1e9, 0
    for k in range(steps):
        assert v == pytest.approx(v_mv[k], abs=1e-9)
        v = -31.0 + (v + 31.0) * np.exp(-dt / 20)
        excess *= np.exp(-dt / 150)
        fires = v >= -50 + excess and k - last >= 50
        assert fires == spiked[k]
        if fires:
            v, excess, last, count = v - 10, excess + 1.5, k, count + 1
    assert count > 10


@pytest.mark.parametrize("name", ["LIF", "ExpIF", "AdEx", "Izhikevich", "AdaptiveLIF"])
def test_cells_start_at_rest(x64, name):
    cell = CELLS[name]()
    state = cell.init((2, 3))
    for x, slope in zip(state, cell.field(state, Drive()), strict=True):
        assert x.shape == (2, 3) and x.dtype == jnp.float64
        assert slope is None or np.abs(slope).max() < 1e-13


@pytest.mark.parametrize(
    "model, counted",
    [
        (HodgkinHuxley, [0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
        # Benchmark 3 counts again whenever three steps are over.
        (TraubMiles, [0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]),
    ],
)
def test_spikes_of_channels_are_counted_once(model, counted):
    # Its voltage moves by hand only.
    cell = model(c_pf=1e30, refractory_ms=0.3, threshold_mv=0.0)
    voltages = [-65, 10, 10, 10, 10, 10, -5, 10, -5, 10, 10, -5, 10, -5, -5, -5, 10]

    def body(state, v):
        return cell.step(state._replace(v_mv=v), Drive(), 0.1)

    _, spiked = jax.lax.scan(body, cell.init(()), jnp.array(voltages, float))
    assert list(map(int, spiked)) == counted


@pytest.mark.parametrize("double", [False, True])
def test_rates_have_values_and_slopes_wherever_their_formulae_have_none(double):
    with jax.enable_x64(double):
        near = 1e-6 if double else 1e-4
        for cell, singular in (
            (
                TraubMiles(),
                {
                    "open_m": (-50, 1.28, 0.16),
                    "close_m": (-23, 1.4, -0.14),
                    "open_n": (-48, 0.16, 0.016),
                },
            ),
            (
                HodgkinHuxley(),
                {"open_m": (-40, 1.0, 0.05), "open_n": (-55, 0.1, 0.005)},
            ),
        ):
            for name, (v, value, slope) in singular.items():
                rate = lambda v, c=cell, n=name: getattr(c.rates(v), n)  # noqa: E731
                both = jax.jit(jax.vmap(jax.value_and_grad(rate)))
                found, along = both(jnp.array([v, v + near, v - near]))
                assert found == pytest.approx(value, rel=1e-4)
                assert along == pytest.approx(slope, rel=1e-4)
            v = jnp.array([-1000.0, -90.0, 60.0, 1000.0])
            of_all = jax.jacfwd(lambda s, c=cell: c.field(s, Drive())[:-1])
            slopes = jax.jit(jax.vmap(of_all))(cell.init(4)._replace(v_mv=v))
            assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes))


@pytest.mark.parametrize("method", [exponential_euler, forward_euler, heun])
@pytest.mark.parametrize("name", ["ExpIF", "AdEx"])
def test_no_spike_is_missed_however_high_the_voltage_jumps(name, method):
    cell = CELLS[name](refractory_ms=0.0)
    drive = Drive(jnp.array([1e3, 1e6, 1e12]))
    start = cell.init(3)._replace(
        v_mv=jnp.array([-10.0, -40.0, cell.threshold_mv - 1e-3])
    )
    state, v_mv, spiked = run(cell, start, drive, 0.5, 4, method)
    assert spiked[0].all() and spiked[:, 1:].all()
    assert np.isfinite(v_mv).all() and (state.v_mv <= cell.threshold_mv).all()
    total = lambda d: jnp.sum(cell.integrate(start, d, 0.5, method).v_mv)  # noqa: E731
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.grad(total)(drive)))


def test_gradient_by_the_leak(x64):
    # v(t) = E_L + (I / g)(1 - e^(-g t / C)) below the threshold, at any step.
    i, t, c = 80.0, 30.0, 200.0

    def last(g):
        return run_v(LIF(g_leak_ns=g), Drive(i), 0.5, 60)

    def run_v(cell, drive, dt, steps, method=exponential_euler):
        body = lambda s, _: (cell.step(s, drive, dt, method)[0], None)  # noqa: E731
        start = type(cell)().init(())
        return jax.lax.scan(body, start, None, length=steps)[0].v_mv

    closed = lambda g: -60 + i / g * -np.expm1(-g * t / c)  # noqa: E731
    true = (closed(10 + 1e-4) - closed(10 - 1e-4)) / 2e-4
    assert last(10.0) == pytest.approx(closed(10), abs=1e-10)
    assert jax.grad(last)(10.0) == pytest.approx(true, rel=1e-8)
    assert jax.jvp(last, (10.0,), (1.0,))[1] == pytest.approx(true, rel=1e-8)

    def lsoda(g):
        field = lambda t, y: [  # noqa: E731
            (g * (-70.6 - y[0] + 2 * np.exp((y[0] + 50.4) / 2)) - y[1] + 400) / 281,
            (4 * (y[0] + 70.6) - y[1]) / 144,
        ]
        start = [float(x) for x in AdEx().init(())[:-1]]
        return solve_ivp(field, (0, 30), start, "LSODA", rtol=1e-12, atol=1e-12).y[
            0, -1
        ]

    true = (lsoda(30 + 1e-2) - lsoda(30 - 1e-2)) / 2e-2
    by = jax.grad(lambda g: run_v(AdEx(g_leak_ns=g), Drive(400.0), 0.01, 3000, heun))
    assert by(30.0) == pytest.approx(true, rel=1e-5)
    cell = jax.grad(lambda c: run_v(c, Drive(400.0), 0.01, 3000, heun))(AdEx())
    assert cell.g_leak_ns == pytest.approx(true, rel=1e-5)


@pytest.mark.parametrize("name", CELLS)
def test_mapped_over_parameters_and_in_single_precision(name):
    leaks = jnp.array([8.0, 10.0, 13.0])
    where = lambda c: c.c_pf  # noqa: E731
    cell = CELLS[name]()

    def last(c_pf):
        one = eqx.tree_at(where, cell, c_pf * cell.c_pf / 10)
        return run_last(one)

    def run_last(one):
        body = lambda s, _: (one.step(s, Drive(300.0, 1.0), 0.05)[0], None)  # noqa: E731
        return jax.lax.scan(body, one.init(2), None, length=50)[0]

    mapped = jax.jit(jax.vmap(last))(leaks)
    for k, leak in enumerate(leaks):
        for lane, alone in zip(mapped, last(leak), strict=True):
            assert lane.dtype == jnp.float32
            np.testing.assert_allclose(lane[k], alone, rtol=1e-4, atol=1e-5)


def test_drives_add_up():
    total = ohmic(3.0, -80.0) + Drive(5.0) + ohmic(jnp.array([1.0, 2.0]), 0.0)
    np.testing.assert_allclose(total.at(-60.0), [3 * -20 + 5 + 60, 3 * -20 + 5 + 120])
    with pytest.raises(TypeError):
        Drive() + (1.0, 2.0)  # pyright: ignore
