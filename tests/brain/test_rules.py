"""Rules of connectivity: their chances, and that nothing else decides who is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import brain
from djx.brain._rules import fixed_total


def edges_of(connectivity):
    rows, targets = map(np.asarray, (connectivity.rows, connectivity.targets))
    return np.repeat(np.arange(connectivity.senders), np.diff(rows)), targets


def even(counts):
    """Whether counts are of one chance: chi square within five of its spread."""
    chi = np.sum((counts - np.mean(counts)) ** 2) / np.mean(counts)
    return abs(chi - (len(counts) - 1)) < 5 * np.sqrt(2 * (len(counts) - 1))


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
    assert even(np.bincount(brain.fixed_out_degree(500, 30, 60, seed=2).targets))


def test_a_total_is_fixed():
    senders, receivers, edges = 60, 80, 9600
    found = fixed_total(senders, receivers, edges, seed=4)
    who, targets = edges_of(found)
    assert found.edges == edges and (found.senders, found.receivers) == (60, 80)
    assert even(np.bincount(who, minlength=senders))
    assert even(np.bincount(targets, minlength=receivers))
    # Balls in boxes: pairs that have none are Poisson-like, as draws are replaced.
    boxes, each = senders * receivers, edges / senders / receivers
    empty = boxes - len(np.unique(who * receivers + targets))
    spread = np.sqrt(boxes * np.exp(-each) * (1 - (1 + each) * np.exp(-each)))
    assert abs(empty - boxes * (1 - 1 / boxes) ** edges) < 5 * spread
    assert fixed_total(0, 5, 0, seed=0).edges == 0


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
    for senders, receivers in ((0, 6), (6, 0)):
        found = brain.fixed_probability(senders, receivers, 0.5, seed=0)
        assert (found.senders, found.receivers, found.edges) == (senders, receivers, 0)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: brain.fixed_probability(2, 2, 1.5, seed=0), "probability=1.5"),
        (lambda: brain.fixed_out_degree(3, 4, -1, seed=0), "degree=-1"),
        (lambda: brain.fixed_in_degree(0, 4, 2, seed=0), "degree=2: of 0"),
        (lambda: brain.fixed_out_degree(3, 4, 1, seed=2**32), "seed=4294967296"),
        (lambda: brain.fixed_probability(3, 4, 0.5, seed=-1), "seed=-1"),
        (lambda: fixed_total(0, 4, 2, seed=0), "edges=2: of 0 senders"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
