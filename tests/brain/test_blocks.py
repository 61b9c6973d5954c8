"""Blocks put together, and a connectivity in parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import brain
from djx.brain._blocks import Block, onto_receptors, split, stacked
from djx.brain._connectivity import from_edges
from djx.brain._delays import with_delays


def edges_of(connectivity):
    """Sender, target and delay of each edge."""
    rows, targets = map(np.asarray, (connectivity.rows, connectivity.targets))
    senders = np.repeat(np.arange(connectivity.senders), np.diff(rows))
    delays = connectivity.delays
    delays = np.ones(len(targets), int) if delays is None else np.asarray(delays)
    return senders, targets[: len(senders)], delays[: len(senders)]


def matrix_of(connectivity, weights):
    senders, targets, _ = edges_of(connectivity)
    matrix = np.zeros((connectivity.senders, connectivity.receivers))
    np.add.at(matrix, (senders, targets), np.asarray(weights)[: len(senders)])
    return matrix


def any_edges(seed, senders, targets, edges):
    rng = np.random.default_rng(seed)
    pairs = rng.integers(senders, size=edges), rng.integers(targets, size=edges)
    delays = rng.integers(1, 9, edges)
    return from_edges(*pairs, (senders, targets), delays), rng.normal(size=edges)


def test_edges_onto_receptors_keep_their_delays():
    found, _ = any_edges(1, 6, 4, 20)
    kind = np.array([1, 0, 2, 1, 1, 0])
    onto = onto_receptors(found, kind, 3)
    (who, cells, late), (same, receivers, after) = map(edges_of, (found, onto))
    np.testing.assert_array_equal(receivers, kind[who] * 4 + cells)
    np.testing.assert_array_equal(late, after)
    assert (onto.receivers, onto.latest) == (12, found.latest) and np.all(who == same)


def test_blocks_are_one_connectivity():
    (one, a), (two, b) = any_edges(2, 3, 4, 17), any_edges(3, 5, 2, 11)
    three = with_delays(brain.all_to_all(2, 2), 6)
    blocks = [Block(one, a, 4, 1, 1), Block(two, b, 0, 3, 0), Block(three, 2.0, 4, 0)]
    found, weights = stacked(blocks, 8, 5, kinds=2)
    expected = []
    for n, (block, values) in enumerate(zip(blocks, (a, b, [2.0] * 4), strict=True)):
        for sender, target, delay, w in zip(
            *edges_of(block.connectivity), values, strict=True
        ):
            receiver = block.kind * 5 + block.cells_from + target
            expected.append((sender + block.senders_from, n, receiver, delay, w))
    # By sender, then by block, then as they were: Python's sort keeps what is equal.
    expected.sort(key=lambda edge: edge[:2])
    who, _, receivers, delays, values = map(np.array, zip(*expected, strict=True))
    for given, wanted in zip(edges_of(found), (who, receivers, delays), strict=True):
        np.testing.assert_array_equal(given, wanted)
    np.testing.assert_allclose(weights, values, rtol=1e-6)
    assert (found.senders, found.receivers, found.latest) == (8, 10, delays.max())

    def total(scale):
        return jnp.sum(stacked([Block(one, scale), *blocks[1:]], 8, 5, 2)[1])

    assert jax.grad(total)(1.0) == one.edges
    nothing, none = stacked([], 3, 4)
    assert (nothing.senders, nothing.receivers, none.shape) == (3, 4, (0,))


@pytest.mark.parametrize("parts, kinds", [(1, 2), (2, 3), (4, 1), (12, 2)])
def test_parts_are_the_whole(parts, kinds):
    cells, local = 12, 12 // parts
    found, weights = any_edges(parts, 7, kinds * cells, 90)
    sliced = split(found, parts, kinds)
    by_part = sliced.of_edges(jnp.asarray(weights))
    whole = matrix_of(found, weights).reshape(7, kinds, cells)
    assert sliced.connectivity.targets.shape == by_part.shape == sliced.edges.shape
    for b in range(parts):
        part = jax.tree.map(lambda a, b=b: np.asarray(a)[b], sliced.connectivity)
        assert (part.senders, part.receivers) == (7, kinds * local)
        assert (part.longest, part.latest) == (sliced.connectivity.longest, 8)
        here = slice(b * local, (b + 1) * local)
        matrix = matrix_of(part, by_part[b]).reshape(7, kinds, local)
        np.testing.assert_allclose(matrix, whole[..., here], atol=1e-6)
        # Edges follow each other as they did, each with its delay.
        count = int(part.rows[-1])
        assert count <= part.edges and np.all(np.diff(part.rows) <= part.longest)
        numbers = np.asarray(sliced.edges[b])
        assert np.all(np.diff(numbers[:count]) > 0)
        assert np.all(numbers[count:] == found.edges)
        assert np.all(np.asarray(by_part[b])[count:] == 0)
        np.testing.assert_array_equal(
            part.delays[:count], np.asarray(found.delays)[numbers[:count]]
        )
    used = np.sort(np.asarray(sliced.edges).reshape(-1))[: found.edges]
    np.testing.assert_array_equal(used, np.arange(found.edges))


def test_parts_of_nothing():
    sliced = split(from_edges([], [], (3, 4)), 2, 2)
    assert sliced.connectivity.targets.shape == (2, 0)
    assert sliced.connectivity.rows.shape == (2, 4)


def late(delay):
    return with_delays(brain.one_to_one(3), delay)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: split(brain.one_to_one(6), 4), "parts=4: has to divide 6 cells"),
        (lambda: split(brain.one_to_one(6), 2, 4), "kinds=4: 6 receivers"),
        (
            lambda: stacked([Block(brain.one_to_one(3), 1.0, 2)], 4, 3),
            "block 0: senders 2 to 4 are not within 4",
        ),
        (
            lambda: stacked([Block(brain.one_to_one(3), np.ones(2))], 4, 3),
            "block 0: weights: one, or 3 of edges",
        ),
        (
            lambda: stacked([Block(late(2)), Block(brain.one_to_one(3))], 3, 3),
            "block 1 has no delays and others have; with_delays",
        ),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
