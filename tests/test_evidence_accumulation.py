"""Evidence accumulation: its trials, and gradients against equations by hand."""

import functools as ft

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from djx.core.errors import ConfigError
from djx.run import load
from experiments._evidence_accumulation_answers import answers, exchanged
from experiments._evidence_accumulation_network import network_of, Weights
from experiments._evidence_accumulation_task import firing, Task, Trial, trial


CONFIG = "configs/evidence_accumulation/bellec2020.toml"
SHORT = Task(cues=3, cue_ms=20, interval_ms=30, tail_ms=54, recall_ms=20, rate_hz=150)
PLAIN, CELLS = 6, 12
STEEP = 40.0  # adaptation that matters within a tenth of a second


def given(dtype=jnp.float32):
    """Weights and trials, the same in any precision."""
    with jax.enable_x64(False):
        weights = Weights(SHORT.inputs, CELLS, key=jr.key(0))
        keys = jr.split(jr.key(1), 4)
        trials = jax.vmap(lambda key: trial(SHORT, key=key))(keys)
    trials = Trial(trials.spikes, jnp.asarray(trials.excess, jnp.int32))
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), weights), trials


def test_trials_are_those_of_the_source():
    task, many = Task(), 1000
    assert (task.steps, task.inputs, task.recall) == (2250, 40, 2100)
    right = jnp.asarray([1, 0, 0, 1, 1, 0, 1], bool)
    when = np.asarray(firing(task, right))
    cues = np.flatnonzero(when[:, :2].any(1))
    starts = 50 + 150 * np.arange(7)  # the last cue ends at 1050 ms
    np.testing.assert_array_equal(cues, (starts[:, None] + np.arange(100)).reshape(-1))
    np.testing.assert_array_equal(when[starts, 1], right)
    np.testing.assert_array_equal(np.flatnonzero(when[:, 2]), np.arange(2100, 2250))

    @jax.jit
    def counted(key):
        one = trial(task, key=key)
        groups = one.spikes.reshape(task.steps, 4, task.group)
        return one.excess, jnp.sum(groups, (0, 2))

    excess, counts = jax.lax.map(counted, jr.split(jr.key(0), many), batch_size=50)
    # Of independent spikes; 400 a cue, 60 at the recall, 225 of noise.
    lefts, rights = (7 - excess) / 2, (7 + excess) / 2
    expected = np.stack([40 * lefts, 40 * rights, 0 * lefts + 60, 0 * lefts + 225])
    spread = np.sqrt(np.mean(expected, 1) / many)
    assert np.all(np.abs(np.mean(counts, 0) - np.mean(expected, 1)) < 4 * spread)
    assert set(np.unique(excess)) == {-7, -5, -3, -1, 1, 3, 5, 7}
    # Half of the trials favour one side by 0.7: the square's mean is 7 + 42 0.4^2.
    assert abs(np.mean(excess)) < 4 * np.sqrt(13.72 / many)
    assert abs(np.mean(excess**2) / 13.72 - 1) < 0.1


def by_hand(weights, given, task, adaptation):
    """The source's equations, and the adjoints of their surrogate, step by step."""
    w_in, w_out = np.asarray(weights.inputs), np.asarray(weights.readout)
    w_rec = np.asarray(weights.recurrent) * (1 - np.eye(CELLS))
    keep, rho, batch = np.exp(-1 / 20), np.exp(-1 / 2000), given.spikes.shape[0]
    beta = adaptation * (1 - rho) / (1 - keep) * (np.arange(CELLS) >= PLAIN)
    x = np.moveaxis(np.asarray(given.spikes, float), 1, 0)
    right = np.asarray(given.right).astype(int)
    v, a, pulse, since = np.zeros((4, batch, CELLS))
    since += 99
    y, entropy, tape = np.zeros((batch, 2)), 0.0, []
    for n in range(task.steps):
        v, a, since = keep * v + pulse, rho * a, since + 1
        margin, free = (v - 0.6 - beta * a) / 0.6, since >= 5
        z = np.where(free & (margin >= 0), 1.0, 0.0)
        slope = np.where(free, 0.3 / 0.6 * np.maximum(1 - np.abs(margin), 0), 0)
        since = np.where(z > 0, 0, since)
        v, a, pulse = v - 0.6 * z, a + z, x[n] @ w_in + z @ w_rec
        y = keep * y + z @ w_out
        p = np.exp(y - y.max(1, keepdims=True))
        p = p / p.sum(1, keepdims=True)
        counts = n >= task.steps - task.recall_ms
        entropy -= counts * np.log(p[np.arange(batch), right])
        tape.append((z, slope, counts * (p - np.eye(2)[right])))
    d_in, d_rec, d_out = np.zeros_like(w_in), np.zeros_like(w_rec), np.zeros_like(w_out)
    gy, (gv, ga, gp) = np.zeros((batch, 2)), np.zeros((3, batch, CELLS))
    for n in reversed(range(task.steps)):
        z, slope, direct = tape[n]
        gy = keep * gy + direct
        d_in, d_rec, d_out = d_in + x[n].T @ gp, d_rec + z.T @ gp, d_out + z.T @ gy
        gz = gy @ w_out.T + gp @ w_rec.T - 0.6 * gv + ga
        gv, ga = gv + slope * gz, ga - beta * slope * gz
        gp, gv, ga = gv, keep * gv, rho * ga
    spikes = np.sum([z for z, *_ in tape], 0)
    return entropy, spikes, (d_in, d_rec * (1 - np.eye(CELLS)), d_out)


def ours(weights, given):
    network = network_of(weights, PLAIN, STEEP, 0.3)
    seen = answers(network, weights, SHORT, given)
    return jnp.sum(seen.entropy), seen


@ft.cache
def found(dtype):
    differentiated = jax.jit(jax.value_and_grad(ours, has_aux=True))
    (_, seen), gradient = differentiated(*given(dtype))
    return seen, jax.tree.leaves(gradient)


def test_the_network_and_its_gradient_by_hand(x64):
    seen, gradient = found(float)
    entropy, spikes, expected = by_hand(*given(float), SHORT, STEEP)
    assert spikes[:, :PLAIN].sum() > 20 and spikes[:, PLAIN:].sum() > 20
    np.testing.assert_array_equal(seen.spikes, spikes)
    np.testing.assert_allclose(seen.entropy, entropy, rtol=1e-10)
    for a, b in zip(gradient, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10 * np.abs(b).max())


def test_single_precision_is_enough(x64):
    wide_seen, wide = found(float)
    with jax.enable_x64(False):
        seen, narrow = found(jnp.float32)
    np.testing.assert_array_equal(seen.spikes, wide_seen.spikes)
    assert {x.dtype for x in narrow} == {jnp.dtype("float32")}
    for a, b in zip(narrow, wide, strict=True):
        assert np.linalg.norm(a - b) < 1e-4 * np.linalg.norm(b)


def test_a_trial_may_get_the_thresholds_of_another():
    weights, some = given()
    alike = Trial(*jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), some))

    @jax.jit
    def totals(adaptation, trials):
        network = network_of(weights, PLAIN, adaptation, 0.3)
        whole = answers(network, weights, SHORT, trials).total
        return whole, *exchanged(network, weights, SHORT, trials).total

    for adaptation, trials, same in (
        (0.0, some, True),  # there is nothing to exchange
        (STEEP, alike, True),
        (STEEP, some, False),
    ):
        whole, own, after = totals(adaptation, trials)
        np.testing.assert_allclose(own, whole, rtol=1e-5, atol=1e-6)
        assert np.allclose(own, after, atol=1e-6) == same


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.cues=4", "an odd number has a majority"),
        ("task.cue_ms=151", "is more than interval_ms = 150"),
        ("task.recall_ms=1201", "is more than tail_ms = 1200"),
    ],
)
def test_what_is_no_trial_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load(CONFIG, override)
