"""Chances that fall with distance, and rings of which edges lead elsewhere."""

import numpy as np
import pytest

from djx import brain
from djx.brain._spatial import gaussian, small_world


def matrix_of(connectivity):
    rows, targets = map(np.asarray, (connectivity.rows, connectivity.targets))
    matrix = np.zeros((connectivity.senders, connectivity.receivers))
    senders = np.repeat(np.arange(connectivity.senders), np.diff(rows))
    np.add.at(matrix, (senders, targets), 1)
    return matrix


def even(counts):
    """Whether counts are of one chance: chi square within five of its spread."""
    chi = np.sum((counts - np.mean(counts)) ** 2) / np.mean(counts)
    return abs(chi - (len(counts) - 1)) < 5 * np.sqrt(2 * (len(counts) - 1))


@pytest.mark.parametrize("period", [None, 1.0, (1.0, np.inf)])
def test_chances_fall_with_distance(period):
    places = np.random.default_rng(5).random((600, 2))
    found = gaussian(places, places[:500], 0.6, 0.15, seed=2, period=period)
    matrix = matrix_of(found)
    # The nearest of all images.
    images = [
        np.array([i, j])
        for i in ((-1, 0, 1) if period else (0,))
        for j in ((-1, 0, 1) if period == 1.0 else (0,))
    ]
    apart = np.min(
        [np.linalg.norm(places[:, None] - places[:500] + i, axis=-1) for i in images], 0
    )
    chance = 0.6 * np.exp(-((apart / 0.15) ** 2) / 2)
    assert matrix.max() == 1
    for low in np.arange(0, 0.6, 0.05):
        ring = (apart >= low) & (apart < low + 0.05)
        spread = np.sqrt(np.sum((chance * (1 - chance))[ring]))
        assert abs(np.sum((matrix - chance)[ring])) < 5 * spread, low
    # Both directions of a pair are drawn each for itself.
    both = np.triu(chance[:500] * chance[:500].T, 1)
    spread = np.sqrt(np.sum(both * (1 - both)))
    assert (
        abs(np.sum(np.triu(matrix[:500] * matrix[:500].T, 1)) - both.sum()) < 5 * spread
    )
    of_peak = matrix_of(brain.fixed_probability(600, 500, 0.6, seed=2))
    assert np.all(matrix <= of_peak)


def test_extremes_of_a_bell():
    line = np.arange(5.0)
    np.testing.assert_array_equal(matrix_of(gaussian(line, line, 1, 1e9, seed=0)), 1)
    others = gaussian(line, line, 1, 1e9, seed=0, itself=False)
    np.testing.assert_array_equal(matrix_of(others), 1 - np.eye(5))
    assert gaussian(line, line, 0, 1.0, seed=0).edges == 0
    np.testing.assert_array_equal(
        matrix_of(gaussian(line, line, 1, 1e-3, seed=0)), np.eye(5)
    )
    assert matrix_of(gaussian(line[:0], line, 0.5, 1.0, seed=0)).shape == (0, 5)
    assert matrix_of(gaussian(line, line[:0], 0.5, 1.0, seed=0)).shape == (5, 0)


def clustering(matrix):
    """How often two targets of one are connected, and the spread by chance."""
    pairs = matrix.T @ matrix * (1 - np.eye(len(matrix)))
    share = np.sum(pairs * matrix) / np.sum(pairs)
    return share, np.sqrt(share * (1 - share) * np.sum(pairs**2)) / np.sum(pairs)


@pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
def test_worlds_between_a_ring_and_chance(probability):
    count, k = 600, 10
    found = small_world(count, k, probability, seed=6)
    matrix = matrix_of(found)
    assert matrix.max() == 1 and np.all(np.diag(matrix) == 0)
    assert np.all(matrix.sum(1) == k)
    way = np.abs(np.arange(count)[:, None] - np.arange(count))
    near = (way > 0) & (np.minimum(way, count - way) <= k // 2)
    share, spread = clustering(matrix)
    lattice, chance = 3 * (k - 2) / (4 * (k - 1)), k / (count - 1)
    if probability == 0:
        np.testing.assert_array_equal(matrix, near)
        np.testing.assert_allclose(share, lattice, rtol=1e-12)
    elif probability == 1:
        assert abs(share - chance) < 5 * spread
        offset = np.arange(count) - np.arange(count)[:, None]
        assert even(np.bincount(offset[matrix > 0] % count, minlength=count)[1:])
        variance = count * chance * (1 - chance)
        assert abs(np.var(matrix.sum(0)) / variance - 1) < 5 * np.sqrt(2 / count)
    else:
        # All three edges have to have stayed, but for what chance closes again
        # (Barrat & Weigt 2000).
        assert abs(share - lattice * (1 - probability) ** 3) < 5 * spread + chance
        moved = np.sum(matrix * ~near)
        assert abs(moved / (count * k) - probability) < chance + 5 * np.sqrt(
            probability * (1 - probability) / (count * k)
        )


def test_smallest_worlds():
    assert (
        small_world(0, 0, 0.5, seed=0).edges == small_world(1, 0, 1, seed=0).edges == 0
    )
    for probability in (0, 0.5, 1):  # there is nowhere else to lead to
        everyone = matrix_of(small_world(5, 4, probability, seed=1))
        np.testing.assert_array_equal(everyone, 1 - np.eye(5))


SPACE = np.zeros((3, 2))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: gaussian(SPACE, SPACE[:, 0], 1, 1, seed=0), "places .* in one space"),
        (lambda: gaussian(SPACE, SPACE, 2, 1, seed=0), "peak=2"),
        (lambda: gaussian(SPACE, SPACE, 1, 0, seed=0), "width=0"),
        (
            lambda: gaussian(SPACE, SPACE, 1, 1, seed=0, period=0),
            "period=0: one length",
        ),
        (lambda: small_world(5, 3, 0.1, seed=0), "neighbours=3: has to be even"),
        (lambda: small_world(4, 4, 0.1, seed=0), "neighbours=4: .* below 4"),
        (lambda: small_world(5, 2, -0.1, seed=0), "probability=-0.1"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
