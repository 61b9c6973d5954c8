"""Batches that go on without the solves that have ended."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import diffeq


def _rotate(frequency, adjoint, saveat):
    return diffeq.diffeqsolve(
        diffrax.ODETerm(lambda t, y, w: jnp.stack([y[1], -w * w * y[0]])),
        diffrax.Tsit5(),
        t0=0.0,
        t1=4.0,
        dt0=0.01,
        y0=jnp.array([1.0, 0.0]),
        args=frequency,
        saveat=saveat,
        stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-4),
        adjoint=adjoint,
        max_steps=1024,
        throw=False,
    )


@pytest.mark.parametrize(
    "saveat",
    [diffrax.SaveAt(ts=jnp.linspace(0.0, 4.0, 5)), diffrax.SaveAt(t1=True, steps=7)],
    ids=["ts", "steps"],
)
def test_compaction_changes_nothing_but_the_time(saveat):
    frequencies = jnp.where(jnp.arange(64) % 21 == 0, 80.0, jnp.linspace(1.0, 4.0, 64))

    def run(compaction):
        adjoint = diffeq.ReplayAdjoint(compaction=compaction)
        return jax.jit(jax.vmap(lambda w: _rotate(w, adjoint, saveat)))(frequencies)

    plain, compacted = run(False), run(True)
    np.testing.assert_array_equal(plain.ys, compacted.ys)
    np.testing.assert_array_equal(plain.ts, compacted.ts)
    for name in ("num_steps", "num_accepted_steps", "error_estimate"):
        np.testing.assert_array_equal(plain.stats[name], compacted.stats[name])
    # Four of the 64 need many more steps than the rest.
    counts = np.sort(plain.stats["num_steps"])
    assert counts[-4] > 5 * counts[-5]


def test_a_compacting_solve_can_still_be_differentiated(x64):
    saveat = diffrax.SaveAt(t1=True)
    frequencies = jnp.linspace(1.0, 20.0, 64)

    def gradient(compaction):
        adjoint = diffeq.ReplayAdjoint(compaction=compaction)
        return jax.vmap(jax.grad(lambda w: _rotate(w, adjoint, saveat).ys[0, 0]))(
            frequencies
        )

    np.testing.assert_array_equal(gradient(True), gradient(False))
    # cos(w t) to the tolerance
    exact = -4 * np.sin(4 * np.asarray(frequencies))
    np.testing.assert_allclose(gradient(True), exact, atol=0.3)
