"""Plasticity by spike times against sums over all pairs and triplets of spikes."""

import functools as ft
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import brain
from djx.brain import _edge_changes
from djx.brain._incoming import Incoming
from djx.brain._stdp import PairSTDP, TripletSTDP


DT = 0.5
TRIPLET = dict(
    a2_plus=0.05,
    a3_plus=0.2,
    a2_minus=0.07,
    a3_minus=0.11,
    tau_x_ms=30.0,
    tau_y_ms=12.0,
    tau_plus_ms=9.0,
    tau_minus_ms=17.0,
)


def some_edges(senders=9, cells=7, edges=40, late=False):
    """Duplicates among them, receivers of two kinds; some rows are empty."""
    rng = np.random.default_rng(1)
    a = np.sort(rng.integers(0, senders, edges))
    a[a == 4] = 5
    b = rng.integers(0, 2 * cells, edges)
    b[b % cells == 2] = 3
    found = brain.from_edges(a, b, (senders, 2 * cells))
    delays = rng.integers(1, 7, edges) if late else np.ones(edges, int)
    if late:
        found = brain.Connectivity(
            found.targets,
            found.rows,
            found.receivers,
            found.longest,
            jnp.asarray(delays, jnp.int32),
            int(delays.max()),
        )
    return found, a, b % cells, delays


def trains(senders=9, cells=7, steps=100, rate=0.12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((steps, senders)) < rate, rng.random((steps, cells)) < rate


@jax.jit
def learned(rule, edges, weights, sent, fired):
    def step(state, spikes):
        return rule.step(state, edges, *spikes, DT), None

    state = jax.lax.scan(step, rule.init(edges, weights), (sent, fired))[0]
    return rule.weights(state)


def by_sums(sender_times, cell_times, p):
    """The change of one edge (Pfister & Gerstner 2006, eqs. 3 and 4, all to all)."""
    kernel = lambda d, tau: np.exp(-d * DT / tau)  # noqa: E731
    change = 0.0
    for t in cell_times:
        before = sum(kernel(t - s, p["tau_y_ms"]) for s in cell_times if s < t)
        first = sum(kernel(t - s, p["tau_plus_ms"]) for s in sender_times if s <= t)
        change += first * (p["a2_plus"] + p["a3_plus"] * before)
    for t in sender_times:
        before = sum(kernel(t - s, p["tau_x_ms"]) for s in sender_times if s < t)
        first = sum(kernel(t - s, p["tau_minus_ms"]) for s in cell_times if s < t)
        change -= first * (p["a2_minus"] + p["a3_minus"] * before)
    return change


def all_by_sums(a, b, delays, sent, fired, p):
    changes = []
    for i, j, delay in zip(a, b, delays, strict=True):
        arrive = np.flatnonzero(sent[:, i]) + delay - 1
        arrive = arrive[arrive < len(sent)]
        changes.append(by_sums(arrive, np.flatnonzero(fired[:, j]), p))
    return np.array(changes)


def test_pair_curve(x64):
    # Of both kinds of receivers of 41 cells, each at another distance.
    apart = np.arange(-20, 21)
    targets = np.concatenate([np.arange(41), 41 + np.arange(41)])
    edges = brain.from_edges(np.tile(np.arange(41), 2), targets, (41, 82))
    rule = PairSTDP(Incoming.of(edges, 41), 0.3, 0.4, 6.0, 11.0, least=-9.0)
    sent, fired = np.zeros((60, 41), bool), np.zeros((60, 41), bool)
    sent[30], fired[30 + apart, np.arange(41)] = True, True
    change = learned(rule, edges, jnp.ones(82), sent, fired) - 1
    true = np.where(
        apart >= 0, 0.3 * np.exp(-apart * DT / 6), -0.4 * np.exp(apart * DT / 11)
    )
    np.testing.assert_allclose(change, np.repeat(true, 2), rtol=1e-12)
    assert change[40] == pytest.approx(0.3)  # in the same step: the sender was first


@pytest.mark.parametrize("late", [False, True])
def test_triplets_against_sums_over_spikes(x64, late):
    edges, a, b, delays = some_edges(late=late)
    sent, fired = trains()
    rule = TripletSTDP(Incoming.of(edges, 7), **TRIPLET, least=-np.inf)
    weights = jnp.asarray(np.random.default_rng(2).normal(size=40))
    found = learned(rule, edges, weights, sent, fired) - weights
    true = all_by_sums(a, b, delays, sent, fired, TRIPLET)
    assert np.all(np.abs(true) > 1e-3)
    np.testing.assert_allclose(found, true, rtol=1e-10, atol=1e-11)

    # Slopes, backwards and forwards, by a step in the imaginary direction.
    of = jnp.asarray(np.random.default_rng(3).normal(size=40))

    def weighted(a3_plus, tau_minus_ms):
        given = TRIPLET | dict(a3_plus=a3_plus, tau_minus_ms=tau_minus_ms)
        rule = TripletSTDP(Incoming.of(edges, 7), **given, least=-np.inf)
        return jnp.dot(of, learned(rule, edges, weights, sent, fired))

    slopes = (jax.grad if late else jax.jacfwd)(weighted, (0, 1))(0.2, 17.0)
    for name, slope in zip(("a3_plus", "tau_minus_ms"), slopes, strict=True):
        moved = TRIPLET | {name: TRIPLET[name] + 1e-30j}
        true = all_by_sums(a, b, delays, sent, fired, moved).imag / 1e-30
        np.testing.assert_allclose(slope, of @ true, rtol=1e-9)


@pytest.mark.parametrize("powers", [(0.0, 0.0), (1.0, 1.0), (0.5, 0.0)])
def test_bounds_and_powers_spike_by_spike(x64, powers):
    edges, a, b, _ = some_edges()
    sent, fired = trains()
    rule = PairSTDP(
        Incoming.of(edges, 7), 0.3, 0.25, 9.0, 17.0, 0.5, 2.5, powers[0], powers[1]
    )
    start = np.random.default_rng(2).uniform(0.5, 2.5, 40)
    w, x, y, seen = start.copy(), np.zeros(9), np.zeros(7), []
    for s, f in zip(sent, fired, strict=True):
        x, y = x * np.exp(-DT / 9), y * np.exp(-DT / 17)
        down = 0.25 * y[b] * ((w - 0.5) / 2) ** powers[0]
        w = np.clip(np.where(s[a], w - down, w), 0.5, 2.5)
        x = x + s
        up = 0.3 * x[a] * ((2.5 - w) / 2) ** powers[1]
        w = np.clip(np.where(f[b], w + up, w), 0.5, 2.5)
        y = y + f
        seen.append(w)
    found = learned(rule, edges, jnp.asarray(start), sent, fired)
    np.testing.assert_allclose(found, w, rtol=1e-11)
    if not any(powers):
        assert np.min(seen) == 0.5 and np.max(seen) == 2.5


def test_without_spikes_no_bit_changes_and_lanes_are_runs_of_their_own():
    edges, *_ = some_edges(late=True)
    rule = TripletSTDP.visual_cortex(Incoming.of(edges, 7), 10.0, most=30.0)
    weights = jnp.asarray(np.random.default_rng(0).uniform(0, 30, 40), jnp.float32)
    step = jax.jit(lambda state, s, f: rule.step(state, edges, s, f, DT))
    none, all_of_them = (np.zeros(9), np.zeros(7)), (np.ones(9), np.ones(7))
    state = step(rule.init(edges, weights), *all_of_them)
    for _ in range(6):  # until all have arrived
        state = step(state, *none)
    after = step(state, *none)
    np.testing.assert_array_equal(after.weights, state.weights)
    assert np.any(state.weights != weights)
    assert np.all(after.cells[0] < state.cells[0])

    many = [np.stack(x) for x in zip(*(trains(seed=k) for k in range(3)), strict=True)]
    of_lane = ft.partial(learned, rule, edges, weights)
    mapped = jax.vmap(of_lane)(*many)
    for lane in range(3):
        alone = of_lane(many[0][lane], many[1][lane])
        np.testing.assert_array_equal(mapped[lane], alone)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("powers", [(0.0, 0.0), (0.5, 1.0)])
def test_other_machines_do_the_same(x64, late, powers, monkeypatch):
    edges, *_ = some_edges(late=late)
    sent, fired = trains()
    incoming = Incoming.of(edges, 7)
    minus, plus = powers
    most = 2.0 if any(powers) else np.inf
    rule = TripletSTDP(incoming, **TRIPLET, most=most, mu_minus=minus, mu_plus=plus)
    weights = jnp.full(edges.edges, 0.7)
    found = learned(rule, edges, weights, sent, fired)
    assert np.unique(found).size > 10
    jax.clear_caches()
    monkeypatch.setattr(_edge_changes, "_one_by_one", _edge_changes._rows_at_once)
    np.testing.assert_allclose(
        found, learned(rule, edges, weights, sent, fired), rtol=1e-13
    )


@pytest.mark.parametrize("late", [False, True])
def test_a_step_copies_neither_weights_nor_what_is_under_way(late):
    cells = 50
    edges = brain.fixed_probability(cells, cells, 0.4, seed=1)
    if late:
        edges = brain.normal_delays(edges, 1.5, 0.75, 0.1, seed=2)
    rule = PairSTDP(Incoming.of(edges, cells), 0.01, 0.01)
    projection = brain.Projection(
        edges, jnp.ones(edges.edges), "s", learning=rule, weights_per="edge"
    )
    net = brain.Network(
        brain.LIF(), cells, {"s": brain.Receptors([5.0], [0.0])}, {"p": projection}, 0.1
    )
    program = jax.jit(lambda n, s: brain.run(n, s, 100, current_pa=300.0)[0])
    text = program.lower(net, net.init()).compile().as_text()
    copied = re.findall(r"= (\w+\[[\d,]+\])\S* copy\(%get-tuple-element", text)
    assert f"f32[{edges.edges}]" not in copied
    if late:
        assert f"f32[{edges.latest + 1},1,{cells}]" not in copied


def test_refusals():
    edges, *_ = some_edges()
    incoming = Incoming.of(edges, 7)
    with pytest.raises(ValueError, match="cells=4: the 14 receivers have to be a mul"):
        Incoming.of(edges, 4)
    with pytest.raises(ValueError, match="mu_plus=-1.0: has to be 0 or more"):
        PairSTDP(incoming, 0.1, 0.1, mu_plus=-1.0)
    with pytest.raises(ValueError, match="most=inf: powers mu of the range"):
        PairSTDP(incoming, 0.1, 0.1, mu_minus=1.0)
    with pytest.raises(ValueError, match="least=2.0: has to be less than most=1.0"):
        PairSTDP(incoming, 0.1, 0.1, least=2.0, most=1.0)
    rule = PairSTDP(incoming, 0.1, 0.1, most=1.0)
    with pytest.raises(ValueError, match="weights: 2.0 to 2.0 are not all from"):
        rule.init(edges, jnp.full(40, 2.0))
    with pytest.raises(ValueError, match="make it by Incoming.of the same"):
        rule.init(some_edges(late=True)[0], jnp.ones(40))
