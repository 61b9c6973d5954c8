"""Rows that are drawn again are those that are stored, on every way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.brain._procedural import Procedural
from djx.brain._push import push

from .push_cases import BACKENDS, spikes_of


CASES = [(50, 40, 0.3, 3), (30, 900, 0.05, 2**32 - 1), (5, 3, 0.999, 1)]


def row(sender, cells, probability, seed):
    """Gaps of a geometric distribution by words of murmur3's finaliser."""

    def mixed(word):
        word = (word ^ word >> 16) * 0x85EBCA6B % 2**32
        word = (word ^ word >> 13) * 0xC2B2AE35 % 2**32
        return word ^ word >> 16

    golden, cell, found = 0x9E3779B9, -1, []
    for k in range(cells):
        word = mixed(seed ^ golden)
        for place, counter in enumerate((sender, k), 1):
            word = mixed(word ^ mixed((counter + golden * place) % 2**32))
        # The gap is g where 1 - (1 - p)^g <= word / 2^32 < 1 - (1 - p)^(g + 1).
        cell += 1 + int(np.floor(np.log1p(-word / 2**32) / np.log1p(-probability)))
        if cell >= cells:
            break
        found.append(cell)
    return found


@pytest.mark.parametrize("case", CASES)
def test_stored_rows_are_those_of_the_definition(case):
    stored = Procedural(*case).stored()
    rows, targets = np.asarray(stored.rows), np.asarray(stored.targets)
    for sender in range(case[0]):
        expected = row(sender, *case[1:])
        np.testing.assert_array_equal(
            targets[rows[sender] : rows[sender + 1]], expected
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_pushed_like_stored(x64, backend, case):
    kind = jnp.arange(case[0]) % 2
    procedural = Procedural(*case, kind, kinds=2)
    stored = procedural.stored()
    weights = jnp.linspace(0.3, 2, case[0])
    spikes = jnp.stack([spikes_of(case[0], n) for n in (0, 2, case[0])])
    into = jnp.arange(2.0 * case[1])

    @jax.jit
    def both(spikes, weights):
        def of(connectivity):
            def one(spikes, weights):
                given = connectivity, spikes, weights
                return push(*given, into=into, backend=backend)

            lanes = lambda s, w: jax.vmap(one, (0, None))(s, w)  # noqa: E731
            out, pull = jax.vjp(lanes, spikes, weights)
            return out, pull(jnp.cos(out))

        return of(procedural), of(stored)

    found, expected = both(spikes, weights)
    if backend in ("native", "serial", "buffered"):
        np.testing.assert_array_equal(found[0], expected[0])
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_refusals():
    for given, words in [
        ((5, 3, 1.0, 1), "probability=1.0: has to be above 0 and below 1"),
        ((5, 3, 0.5, -1), "seed=-1"),
        ((5, 3, 0.5, 1, jnp.zeros(4, int)), "kind: one for each of 5 senders"),
    ]:
        with pytest.raises(ValueError, match=words):
            Procedural(*given)
    with pytest.raises(ValueError, match="weights: one or 5 of senders, not"):
        push(Procedural(5, 3, 0.5, 1), jnp.zeros(5), jnp.zeros(7))
