"""Who is connected to whom: rows, and what is put together or taken apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import brain
from djx.brain._connectivity import from_edges, of_rows, order_of
from djx.brain._hash import geometric_thresholds, hashed, mixed


def test_edges_are_sorted_by_sender_and_stay_in_order():
    senders, targets = [2, 0, 2, 0, 2], [1, 3, 1, 0, 0]
    delays = np.array([5, 1, 7, 2, 3])
    found = from_edges(np.array(senders), np.array(targets), (4, 4), delays)
    assert found.rows.tolist() == [0, 2, 2, 5, 5]
    assert found.targets.tolist() == [3, 0, 1, 1, 0]
    assert found.delays.tolist() == [1, 2, 5, 7, 3]
    assert (found.longest, found.edges, found.senders, found.latest) == (3, 5, 4, 7)
    assert found.dense().tolist()[2] == [1, 2, 0, 0]
    assert found.sender_of_edges().tolist() == [0, 0, 2, 2, 2]
    without = from_edges(senders, targets, (4, 4))
    assert (without.delays, without.latest) == (None, 1)


def test_order_is_that_of_a_stable_sort():
    numbers = np.random.default_rng(0).integers(0, 2**18, 4000) // 50
    for some in (numbers, numbers % 40, numbers[:0]):
        np.testing.assert_array_equal(order_of(some), np.argsort(some, kind="stable"))


def test_a_connectome_is_its_matrix():
    matrix = np.random.default_rng(0).normal(size=(5, 7))
    matrix[np.abs(matrix) < 0.7] = 0
    found, weights = brain.from_matrix(matrix)
    np.testing.assert_allclose(found.dense(weights), matrix, rtol=1e-6)


def test_hashes_are_one_to_one_and_even():
    words = mixed(jnp.arange(2**16, dtype=jnp.uint32))
    assert len(np.unique(words)) == 2**16
    words = hashed(1, np.arange(512)[:, None], np.arange(512))
    compiled = jax.jit(hashed)(jnp.uint32(1), jnp.arange(512)[:, None], jnp.arange(512))
    np.testing.assert_array_equal(words, compiled)
    bits = (words[..., None] >> np.arange(32)) & 1
    assert np.max(np.abs(bits.mean((0, 1)) - 0.5)) < 5 * 0.5 / 512
    changed = hashed(2, np.arange(512)[:, None], np.arange(512))
    flipped = ((words ^ changed)[..., None] >> np.arange(32)) & 1
    assert np.max(np.abs(flipped.mean((0, 1)) - 0.5)) < 5 * 0.5 / 512


def test_thresholds_are_the_geometric_distribution():
    thresholds = geometric_thresholds(0.1, 10**6).astype(np.float64) / 2.0**32
    gaps = np.arange(len(thresholds))
    np.testing.assert_allclose(thresholds, 1 - 0.9 ** (gaps + 1), atol=2.0**-31)
    assert 1 - thresholds[-1] < 2.0**-31
    assert len(geometric_thresholds(1e-7, 10)) == 10


def test_nobody_is_connected():
    found = from_edges([], [], (3, 4))
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


ONES = np.array([0, 1])


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda: from_edges(np.array([0, 4]), ONES, (4, 4)),
            "senders: 0 to 4 are not all from 0 to 3",
        ),
        (lambda: from_edges(ONES[:1], ONES, (4, 4)), "two lists of as many"),
        (lambda: from_edges([0.5], [1], (4, 4)), "told by whole numbers"),
        (lambda: from_edges(ONES, ONES, (4, 4), [1, 0]), "delays: 0 to 1 steps"),
        (lambda: from_edges(ONES, ONES, (4, 4), [1]), "delays: one, or 2 of edges"),
        (lambda: from_edges(ONES, ONES, (4, 4), [1.5, 2]), "delays: whole steps"),
        (lambda: of_rows([], [2**31], 4), "2147483648 edges.* not below 2\\^31"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
