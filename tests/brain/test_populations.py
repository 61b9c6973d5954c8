import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import brain


def brute(populations, weights, spikes):
    """Edge by edge, in float64."""
    to = np.repeat(np.arange(weights.shape[0]), populations.receiver_sizes)
    since = np.repeat(np.arange(weights.shape[1]), populations.sender_sizes)
    return np.array(
        [sum(weights[r, s] * x for s, x in zip(since, spikes, strict=True)) for r in to]
    )


@pytest.mark.parametrize(
    "populations",
    [
        brain.Populations((2, 3, 1), (4, 2)),
        brain.Populations((1, 1), (3, 2)),
        brain.Populations((2, 2), (1, 1, 1)),
        brain.of_single_cells(5, 3),
        brain.of_single_cells(1, 1),
    ],
)
def test_the_sum_of_all_pairs(populations, x64):
    rng = np.random.default_rng(0)
    shape = len(populations.receiver_sizes), len(populations.sender_sizes)
    weights, spikes = rng.normal(size=shape), rng.normal(size=populations.senders)
    into = rng.normal(size=populations.receivers)
    found = populations.pushed(jnp.asarray(spikes), jnp.asarray(weights), into)
    wanted = into + brute(populations, weights, spikes)
    np.testing.assert_allclose(found, wanted, rtol=1e-13)
    # It is linear in both: the adjoint's product is that of the sum.
    back = rng.normal(size=populations.receivers)
    pull = jax.vjp(lambda w, s: populations.pushed(s, w, 0 * into), weights, spikes)[1]
    by_weights, by_spikes = pull(jnp.asarray(back))
    product = back @ brute(populations, weights, spikes)
    assert np.vdot(by_weights, weights) == pytest.approx(product, rel=1e-12)
    assert np.vdot(by_spikes, spikes) == pytest.approx(product, rel=1e-12)
    batch = jax.vmap(lambda s: populations.pushed(s, jnp.asarray(weights), into))
    np.testing.assert_allclose(batch(jnp.stack([spikes, 0 * spikes]))[0], found)


def test_single_cells_are_edges_that_are_stored(x64):
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(6, 4))
    spikes = jnp.asarray([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    stored = brain.push(brain.all_to_all(6, 4), spikes, jnp.asarray(matrix.reshape(-1)))
    single = brain.of_single_cells(6, 4)
    found = single.pushed(spikes, jnp.asarray(matrix.T), jnp.zeros(4))
    np.testing.assert_allclose(found, stored, rtol=1e-14)


def test_a_projection_of_single_cells(x64):
    rng = np.random.default_rng(2)
    matrix = jnp.asarray(rng.uniform(50, 150, (6, 6)))

    def raster(connectivity, weights):
        projection = brain.Projection(connectivity, weights, "s")
        synapse = brain.Currents(brain.Exponential([5.0]))
        net = brain.Network(brain.LIF(), 6, {"s": synapse}, {"p": projection}, 0.1)

        def one(state, _):
            return net.step(state, current_pa=150.0)

        return jax.lax.scan(one, net.init(), length=800)[1]

    wanted = raster(brain.all_to_all(6, 6), matrix.reshape(-1))
    found = raster(brain.of_single_cells(6, 6), matrix.T)
    assert wanted.sum() > 20
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("shape", [(), (4,), (3, 2), (2, 3, 1)])
def test_weights_of_something_else_are_refused(shape):
    with pytest.raises(ValueError, match=r"weights: a matrix \(2, 3\)"):
        brain.Populations((1, 2, 3), (4, 5)).kind_of(shape)
