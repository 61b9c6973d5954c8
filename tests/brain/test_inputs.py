"""What networks get from outside, and that nothing but its number decides it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from djx.brain._currents import OrnsteinUhlenbeck, Redrawn, Steps, WhiteNoise
from djx.brain._drive import Drive
from djx.brain._inputs import PoissonInput, PoissonSources, SpikeTimes
from djx.brain._integrate_and_fire import LIF


DT = 0.1
RATES = np.repeat([500.0, 0.0, 16000.0], [5, 4, 8])  # of 17 cells


def series(given, steps, cells, seed=3):
    """What a run of steps gets, by step."""

    def step(state, n):
        return given.sample(state, n, seed, cells)

    return jax.lax.scan(step, given.init(len(cells)), jnp.arange(steps))[1]


run = jax.jit(series, static_argnums=1)


INPUTS = {
    "fixed": PoissonInput(RATES, 1.0, "e", dt_ms=DT, stream=1),
    "changing": PoissonInput(jnp.asarray(RATES), [1.0, 2.0], "e", dt_ms=DT, stream=1),
    "redrawn": PoissonInput(
        Redrawn(RATES, 40.0, 2.0, dt_ms=DT, stream=2, group=np.arange(17) // 6),
        1.0,
        "e",
        dt_ms=DT,
        stream=1,
        highest_hz=2e4,
    ),
    "white": WhiteNoise(RATES, 3.0, dt_ms=DT, stream=1),
    "coloured": OrnsteinUhlenbeck(1.0, RATES, 5.0, dt_ms=DT, stream=1),
    "steps": Steps(np.arange(34.0).reshape(2, 17), [0.3, 0.9], dt_ms=DT),
}


@pytest.mark.parametrize("name", INPUTS)
def test_a_part_of_the_cells_draws_what_it_would_in_the_whole(name):
    given, cells = INPUTS[name], jnp.arange(17, dtype=jnp.int32)
    given.check(DT, 17)
    whole = np.asarray(run(given, 50, cells))
    parts = [run(given, 50, part) for part in (cells[:5], cells[5:12], cells[12:])]
    np.testing.assert_array_equal(np.concatenate(parts, -1), whole)
    seeds = jnp.array([3, 4], jnp.uint32)
    lanes = jax.jit(jax.vmap(lambda seed: series(given, 50, cells, seed)))(seeds)
    np.testing.assert_allclose(lanes[0], whole, rtol=1e-6)  # of another program
    assert (name == "steps") == np.array_equal(lanes[1], whole)


def test_arrivals_of_populations():
    cells, steps = jnp.arange(17), 40_000
    means = RATES * DT / 1000
    fixed = np.asarray(run(INPUTS["fixed"], steps, cells))[:, 0].astype(int)
    for group in (slice(0, 5), slice(9, 17)):
        counts, mean = fixed[:, group], means[group][0]
        error = np.sqrt(mean / counts.size)  # and that of the variance
        assert abs(counts.mean() - mean) < 5 * error
        assert abs(counts.var() - mean) < 5 * error * np.sqrt(1 + 2 * mean)
    assert not fixed[:, 5:9].any()
    # Rates that may change draw the same, but where a share is rounded; kinds share it.
    changing = np.asarray(run(INPUTS["changing"], steps, cells))
    assert np.sum(changing[:, 0] != fixed) <= 3
    np.testing.assert_array_equal(changing[:, 1], 2 * changing[:, 0])
    several = PoissonInput(8.0, 1.0, "e", dt_ms=DT, stream=1, senders=RATES / 8)
    np.testing.assert_array_equal(run(several, 200, cells)[:, 0], fixed[:200])
    own = PoissonInput(RATES, RATES[None], "e", dt_ms=DT, stream=1)
    np.testing.assert_array_equal(run(own, 200, cells)[:, 0], RATES * fixed[:200])
    other = PoissonInput(RATES, 1.0, "e", dt_ms=DT, stream=2)
    again = np.asarray(run(other, steps, cells))[:, 0, 9:]
    mean = (fixed[:, 9:] - 1.6) * (again - 1.6)
    assert abs(mean.mean()) < 5 * 1.6 / np.sqrt(mean.size)


def test_derivatives_by_rates_are_those_of_means():
    cells, steps = jnp.arange(400), 300

    def total(rate_hz, weights):
        given = PoissonInput(rate_hz, weights, "e", dt_ms=DT, stream=1, highest_hz=4e3)
        sources = PoissonSources(50, rate_hz / 10, dt_ms=DT, stream=2)
        return [jnp.sum(series(g, steps, cells)) for g in (given, sources)]

    slopes, values = jax.jit(jax.jacrev(total, (0, 1))), jax.jit(total)
    rate, weight = jnp.asarray(2000.0), jnp.asarray(0.5)
    (by_rate, by_weight), (sources, _) = slopes(rate, weight)
    assert by_rate == pytest.approx(0.5 * steps * 400 * DT / 1000, rel=1e-4)
    assert sources == pytest.approx(50 * steps * DT / 1e4, rel=1e-4)
    arrived, spikes = values(rate, weight)
    assert by_weight == pytest.approx(float(arrived) / 0.5, rel=1e-4)
    assert abs(arrived / 0.5 - 24000) < 5 * np.sqrt(24000)
    assert abs(spikes - 300) < 5 * np.sqrt(300)


def test_given_times():
    trains = np.array([[0.0, 0.31], [np.nan, -0.1], [0.2, 0.2], [np.inf, 0.5]])

    def raster(trains):
        found = np.zeros((6, len(trains)))
        for sender, times in enumerate(trains):
            for t in times[(times >= 0) & (times < 1)]:
                found[round(t / DT), sender] = 1
        return found

    def given(times_ms):
        return series(SpikeTimes(times_ms, dt_ms=DT), 6, jnp.arange(2))

    np.testing.assert_array_equal(given(trains), raster(trains))
    latencies = jax.vmap(given)(trains.T)  # one spike each, traced
    np.testing.assert_array_equal(latencies[1], raster(trains[:, 1:]))


def test_pieces_and_draws():
    cells = jnp.arange(17)
    found = np.asarray(run(INPUTS["steps"], 12, cells))
    own = np.arange(17.0)
    expected = np.repeat([0 * own, own, own + 17], [3, 6, 3], axis=0)
    np.testing.assert_array_equal(found, expected)
    one = Steps([2.0], [0.5], dt_ms=DT)
    np.testing.assert_array_equal(run(one, 7, cells)[4:6], [[0] * 17, [2] * 17])

    groups = dict(group=np.arange(20_000) // 2, from_ms=0.5, until_ms=1.4)
    stimulus = Redrawn(40.0, 4.0, 0.3, dt_ms=DT, stream=6, **groups)
    found = np.asarray(run(stimulus, 16, jnp.arange(20_000)))
    assert not found[:5].any() and not found[14:].any()
    np.testing.assert_array_equal(found[:, ::2], found[:, 1::2])
    draws = found[5:14:3, ::2]
    np.testing.assert_array_equal(found[5:14], np.repeat(found[5:14:3], 3, axis=0))
    assert stats.kstest((draws.ravel() - 40) / 4, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(draws)[0, 1]) < 0.05


@pytest.mark.parametrize("dt", [0.5, 20.0])
def test_white_noise_on_a_membrane(dt):
    # tau v' = -v + I / g has the variance of I / g times the integral of e^(-2 t / tau)
    # / tau^2: sigma^2 / (2 tau g^2). A membrane of 2 mV, with a mean 5 mV above rest.
    cell, cells, tau = LIF(threshold_mv=1e6), jnp.arange(20_000), 20.0
    if dt < 1:
        noise = WhiteNoise(2 * 10 * np.sqrt(2 * tau), 50.0, dt_ms=dt, stream=1)
    else:  # where steps are as long as the membrane's memory
        noise = WhiteNoise.of_membrane(2.0, 200.0, 10.0, 50.0, dt_ms=dt, stream=1)

    def step(state, n):
        current_pa = noise.sample(None, n, 3, cells)[1]
        state = cell.integrate(state, Drive(current_pa), dt)
        return state, (jnp.mean(state.v_mv), jnp.var(state.v_mv))

    state = cell.init(20_000)
    mean, variance = np.asarray(
        jax.jit(lambda s: jax.lax.scan(step, s, jnp.arange(400))[1])(state)
    )
    late = slice(int(8 * tau / dt), None)
    independent = 20_000 * max((400 - 8 * tau / dt) * dt / tau / 2, 1)
    assert abs(mean[late].mean() + 55) < 5 * 2 / np.sqrt(independent)
    assert abs(variance[late].mean() / 4 - 1) < 5 * np.sqrt(2 / independent)


def test_coloured_noise_is_stationary_from_the_start():
    noise = OrnsteinUhlenbeck(10.0, 3.0, 0.7, dt_ms=DT, stream=1)
    x = np.asarray(run(noise, 40, jnp.arange(50_000))) - 10
    for first in (0, 20):
        for lag in (0, 1, 7, 15):
            product = x[first] * x[first + lag]
            true = 9 * np.exp(-lag * DT / 0.7)
            assert abs(product.mean() - true) < 5 * product.std() / np.sqrt(50_000)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: PoissonInput(-1.0, 1.0, "e", dt_ms=DT, stream=0), "rate_hz: -0.0001"),
        (lambda: PoissonInput(1.0, 1.0, "e", dt_ms=0, stream=0), "dt_ms=0"),
        (
            lambda: PoissonInput(INPUTS["white"], 1.0, "e", dt_ms=DT, stream=0),
            "highest_hz: has to be said",
        ),
        (
            lambda: PoissonInput(jnp.array(1e6), 1.0, "e", dt_ms=DT, stream=0),
            "rate_hz: 100 to 100 arrivals a step, not all from 0 to 80",
        ),
        (lambda: PoissonSources(3, 2e4, dt_ms=DT, stream=0), "one spike a step"),
        (lambda: PoissonSources(3, np.ones(2), dt_ms=DT, stream=0), "3 senders"),
        (lambda: SpikeTimes(1.0, dt_ms=DT), "times_ms: \\[senders, most\\]"),
        (lambda: Steps([1.0, 2.0], [0.0], dt_ms=DT), "one for each of the pieces"),
        (lambda: Steps([1.0, 2.0], [1.0, 0.0], dt_ms=DT), "have to ascend"),
        (lambda: Redrawn(1.0, 1.0, 0.01, dt_ms=DT, stream=0), "every_ms=0.01"),
        (lambda: INPUTS["white"].check(0.2, 17), "dt_ms=0.1 of an input to a network"),
        (lambda: INPUTS["redrawn"].check(DT, 18), "mean: .* 18 cells, not 17"),
        (lambda: INPUTS["fixed"].check(DT, 18), "rate_hz: .* 18 cells, not 17"),
        (lambda: series(INPUTS["white"], 1, jnp.arange(18)), "18 cells of a network"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(ValueError, match=words):
        call()
