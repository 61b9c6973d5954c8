"""Solves under vmap, scan, jit and shard_map: every sample for itself."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import diffeq

from .systems import PID, solve, start, TERM


P = jax.sharding.PartitionSpec


def _one(y0, t1=3.0, args=None, **options):
    saveat = diffrax.SaveAt(ts=t1 * jnp.linspace(0.0, 1.0, 12), t1=True)
    case = dict(y0=y0, t1=t1, args=args, saveat=saveat, throw=False) | options
    return solve(**case)


def _batch(size):
    return 2 * jax.random.normal(jax.random.key(4), (size, 3))


def test_a_sample_does_not_depend_on_its_companions(x64):
    batch, ends = _batch(6), jnp.linspace(0.5, 3.0, 6)
    # One companion is not a number, another needs more steps than there are.
    batch = batch.at[2].set(jnp.nan).at[4].multiply(1e9)
    together = jax.vmap(_one)(batch, ends)
    assert (together.result == diffrax.RESULTS.nonfinite)[2]
    for i in (0, 1, 3, 5):
        alone = _one(batch[i], ends[i])
        np.testing.assert_allclose(together.ys[i], alone.ys, atol=1e-12)
        for name in ("num_steps", "num_accepted_steps"):
            assert together.stats[name][i] == alone.stats[name]
        assert (together.result == diffrax.RESULTS.successful)[i] == (
            alone.result == diffrax.RESULTS.successful
        )


def test_gradients_do_not_depend_on_companions_either(x64):
    batch, (_, args) = _batch(4), start()

    def loss(y0, args):
        return jnp.sum(jnp.sin(_one(y0, args=args).ys))

    alone = [jax.grad(loss, (0, 1))(y0, args) for y0 in batch]
    each = jax.vmap(jax.grad(loss, (0, 1)), (0, None))(batch, args)
    summed = jax.grad(
        lambda batch, args: jnp.sum(jax.vmap(loss, (0, None))(batch, args)), (0, 1)
    )(batch, args)
    for i, (of_y0, of_args) in enumerate(alone):
        np.testing.assert_allclose(each[0][i], of_y0, atol=1e-10)
        np.testing.assert_allclose(summed[0][i], of_y0, atol=1e-10)
        np.testing.assert_allclose(each[1][0][i], of_args[0], atol=1e-10)
    total = sum(of_args[0] for _, of_args in alone)
    np.testing.assert_allclose(summed[1][0], total, atol=1e-9)


def test_nested_batches_with_shared_and_own_arguments(x64):
    batch, (_, (matrix, force)) = _batch(3), start()
    matrices = jnp.stack([matrix, -matrix])

    def loss(y0, matrix):
        return jnp.sum(_one(y0, args=(matrix, force)).ys ** 2)

    inner = jax.vmap(loss, (0, None))
    found, gradient = jax.vmap(jax.value_and_grad(lambda m: jnp.sum(inner(batch, m))))(
        matrices
    )
    for i in range(2):
        expected, slope = jax.value_and_grad(
            lambda m: sum(loss(y0, m) for y0 in batch)
        )(matrices[i])
        np.testing.assert_allclose(found[i], expected, rtol=1e-11)
        np.testing.assert_allclose(gradient[i], slope, rtol=1e-8)


def test_hessian_vector_products_of_a_batch(x64):
    batch, v = _batch(3), jnp.array([1.0, 0.5, -0.3])

    def product(y0):
        loss = jax.grad(lambda y: jnp.sum(_one(y).ys ** 2))
        return jax.jvp(loss, (y0,), (v,))[1]

    together = jax.vmap(product)(batch)
    for found, y0 in zip(together, batch, strict=True):
        np.testing.assert_allclose(found, product(y0), rtol=1e-8)


def test_a_thinned_record_of_a_batch(x64):
    batch = _batch(3)
    adjoint = diffrax.RecursiveCheckpointAdjoint(checkpoints=4)

    def loss(batch, **options):
        return jnp.sum(jax.vmap(lambda y: _one(y, **options).ys)(batch) ** 2)

    found = jax.grad(lambda b: loss(b, adjoint=adjoint))(batch)
    np.testing.assert_allclose(found, jax.grad(loss)(batch), rtol=1e-10)


def test_the_field_is_traced_once_and_sees_the_whole_batch(x64):
    traces = []

    def field(t, y, args):
        traces.append(None)
        return TERM.vector_field(t, y, args)

    def one(y0, args):
        return diffeq.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Tsit5(),
            0.0,
            1.0,
            0.1,
            y0,
            args,
            stepsize_controller=PID,
        ).ys

    args = start()[1]
    lowered = jax.jit(jax.vmap(one, (0, None))).lower(_batch(5), args)
    assert len(traces) == 1
    # one product of the matrix with all five states, in every stage
    assert "(tensor<3x3xf64>, tensor<5x3xf64>) -> tensor<3x5xf64>" in lowered.as_text()


def test_inside_scan(x64):
    def step(y, _):
        y = solve(y0=y, t1=0.5).ys[-1]
        return y, y

    y0 = start()[0]
    _, ys = jax.lax.scan(step, y0, None, length=3)
    for y in ys:
        y0 = solve(y0=y0, t1=0.5).ys[-1]
        np.testing.assert_allclose(y, y0, atol=1e-12)
    slope = jax.grad(lambda y: jnp.sum(jax.lax.scan(step, y, None, length=3)[0]))
    assert jnp.all(jnp.isfinite(slope(start()[0])))


@pytest.mark.parametrize("checked", [True, False])
def test_sharded_over_the_batch(x64, checked):
    kind = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=kind)

    def loss(batch):
        return jnp.sum(jax.vmap(lambda y: _one(y).ys)(batch) ** 2, (1, 2))

    sharded = jax.shard_map(
        loss, mesh=mesh, in_specs=P("batch"), out_specs=P("batch"), check_vma=checked
    )
    batch = _batch(4)
    np.testing.assert_allclose(jax.jit(sharded)(batch), loss(batch), rtol=1e-12)
    found = jax.jit(jax.grad(lambda b: jnp.sum(sharded(b))))(batch)
    expected = jax.grad(lambda b: jnp.sum(loss(b)))(batch)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
