"""Who is connected to whom: counts, chances, and that nothing else decides it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import brain
from djx.brain._hash import geometric_thresholds, hashed, mixed


def edges_of(connectivity):
    rows, targets = map(np.asarray, (connectivity.rows, connectivity.targets))
    senders = np.repeat(np.arange(connectivity.senders), np.diff(rows))
    return senders, targets


def test_edges_are_sorted_by_sender_and_stay_in_order():
    senders, targets = [2, 0, 2, 0, 2], [1, 3, 1, 0, 0]
    found = brain.from_edges(np.array(senders), np.array(targets), (4, 4))
    assert found.rows.tolist() == [0, 2, 2, 5, 5]
    assert found.targets.tolist() == [3, 0, 1, 1, 0]
    assert (found.longest, found.edges, found.senders) == (3, 5, 4)
    assert found.dense().tolist()[2] == [1, 2, 0, 0]
    assert found.sender_of_edges().tolist() == [0, 0, 2, 2, 2]


def test_a_connectome_is_its_matrix():
    matrix = np.random.default_rng(0).normal(size=(5, 7))
    matrix[np.abs(matrix) < 0.7] = 0
    found, weights = brain.from_matrix(matrix)
    np.testing.assert_allclose(found.dense(weights), matrix, rtol=1e-6)


def test_all_and_each():
    np.testing.assert_array_equal(brain.one_to_one(4).dense(), np.eye(4))
    np.testing.assert_array_equal(brain.all_to_all(2, 3).dense(), np.ones((2, 3)))
    others = brain.all_to_all(3, 3, itself=False)
    np.testing.assert_array_equal(others.dense(), 1 - np.eye(3))


def test_degrees_are_fixed():
    out = brain.fixed_out_degree(50, 30, 7, seed=1)
    assert np.all(np.diff(out.rows) == 7)
    into = brain.fixed_in_degree(50, 30, 7, seed=1)
    assert np.all(np.bincount(into.targets, minlength=30) == 7)
    for found in (out, into):
        senders, targets = edges_of(found)
        assert senders.max() < 50 and targets.max() < 30
    # Targets are uniform: chi square of 30 cells within five of its spread.
    counts = np.bincount(brain.fixed_out_degree(500, 30, 60, seed=2).targets)
    chi = np.sum((counts - 1000) ** 2 / 1000)
    assert abs(chi - 29) < 5 * np.sqrt(2 * 29)


@pytest.mark.parametrize("probability", [0.003, 0.02, 0.5, 0.97])
def test_every_pair_by_chance(probability):
    senders, receivers = 700, 900
    found = brain.fixed_probability(senders, receivers, probability, seed=3)
    rows, columns = edges_of(found)
    # No edge twice, rows ascend.
    assert len(np.unique(rows * receivers + columns)) == found.edges
    assert np.all((np.diff(columns) > 0) | (np.diff(rows) > 0))
    pairs = senders * receivers
    spread = np.sqrt(pairs * probability * (1 - probability))
    assert abs(found.edges - pairs * probability) < 5 * spread
    # Degrees both ways have the binomial's variance (to a tenth or so), neighbours
    # no correlation.
    for degrees, others in (
        (np.bincount(rows, minlength=senders), receivers),
        (np.bincount(columns, minlength=receivers), senders),
    ):
        variance = others * probability * (1 - probability)
        assert abs(np.var(degrees) / variance - 1) < 0.25
    matrix = np.asarray(found.dense()) - probability
    beside = np.mean(matrix[:, 1:] * matrix[:, :-1])
    below = np.mean(matrix[1:] * matrix[:-1])
    least = 5 * probability * (1 - probability) / np.sqrt(pairs)
    assert abs(beside) < least and abs(below) < least


def test_a_row_made_where_it_is_needed_is_the_stored_one():
    found = brain.fixed_probability(40, 300, 0.05, seed=7)
    row = jax.jit(lambda n: brain.chance_row(n, 300, 0.05, 7))
    for sender in range(40):
        targets = np.asarray(row(jnp.asarray(sender)))
        stored = found.targets[found.rows[sender] : found.rows[sender + 1]]
        np.testing.assert_array_equal(targets[targets < 300], stored)


def test_rows_do_not_depend_on_how_many_there_are():
    few = brain.fixed_probability(20, 300, 0.05, seed=7)
    many = brain.fixed_probability(45, 300, 0.05, seed=7)
    np.testing.assert_array_equal(few.targets, many.targets[: few.edges])
    other = brain.fixed_probability(20, 300, 0.05, seed=8)
    assert not np.array_equal(few.targets[:20], other.targets[:20])


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_none_and_all(probability):
    found = brain.fixed_probability(5, 6, probability, seed=0)
    np.testing.assert_array_equal(found.dense(), np.full((5, 6), probability))


def test_hashes_are_one_to_one_and_even():
    words = mixed(jnp.arange(2**16, dtype=jnp.uint32))
    assert len(np.unique(words)) == 2**16
    words = np.asarray(hashed(1, jnp.arange(512)[:, None], jnp.arange(512)))
    bits = (words[..., None] >> np.arange(32)) & 1
    assert np.max(np.abs(bits.mean((0, 1)) - 0.5)) < 5 * 0.5 / 512
    changed = np.asarray(hashed(2, jnp.arange(512)[:, None], jnp.arange(512)))
    flipped = ((words ^ changed)[..., None] >> np.arange(32)) & 1
    assert np.max(np.abs(flipped.mean((0, 1)) - 0.5)) < 5 * 0.5 / 512


def test_thresholds_are_the_geometric_distribution():
    thresholds = geometric_thresholds(0.1, 10**6).astype(np.float64) / 2.0**32
    gaps = np.arange(len(thresholds))
    np.testing.assert_allclose(thresholds, 1 - 0.9 ** (gaps + 1), atol=2.0**-31)
    assert 1 - thresholds[-1] < 2.0**-31
    assert len(geometric_thresholds(1e-7, 10)) == 10


def test_nobody_is_connected():
    found = brain.from_edges([], [], (3, 4))
    assert found.edges == 0 and found.dense().shape == (3, 4)


def test_weights_of_what():
    found = brain.fixed_in_degree(4, 4, 1, seed=0)
    assert found.longest > 1 and found.edges == found.senders
    with pytest.raises(ValueError, match="4 could be of senders or of edges"):
        found.dense(jnp.ones(4))
    weights = jnp.arange(1.0, 5)
    by_sender, by_edge = (found.dense(weights, per) for per in ("sender", "edge"))
    np.testing.assert_array_equal(by_sender, found.dense() * weights[:, None])
    np.testing.assert_array_equal(by_edge.sum(), 10)
    with pytest.raises(ValueError, match="not \\(3,\\) per edge"):
        found.dense(jnp.ones(3), "edge")


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: brain.fixed_probability(2, 2, 1.5, seed=0), "probability=1.5"),
        (
            lambda: brain.from_edges(np.array([0, 4]), np.array([0, 1]), (4, 4)),
            "senders: 0 to 4 are not all from 0 to 3",
        ),
        (
            lambda: brain.from_edges(np.array([0]), np.array([0, 1]), (4, 4)),
            "two lists of as many",
        ),
        (
            lambda: brain.from_edges(np.array([0.5]), np.array([1]), (4, 4)),
            "told by whole numbers",
        ),
        (lambda: brain.fixed_out_degree(3, 4, -1, seed=0), "degree=-1"),
        (lambda: brain.fixed_in_degree(0, 4, 2, seed=0), "degree=2: of 0"),
        (lambda: brain.fixed_out_degree(3, 4, 1, seed=2**32), "seed=4294967296"),
        (lambda: brain.fixed_probability(3, 4, 0.5, seed=-1), "seed=-1"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
