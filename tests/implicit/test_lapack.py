"""LAPACK's routines on batches: right, and never waiting for ever."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from djx.implicit import _lapack


def matrices(*lanes, n=5):
    rng = np.random.default_rng(0)
    half = rng.normal(size=(*lanes, n, n))
    return half @ np.swapaxes(half, -1, -2) + np.eye(n), rng.normal(size=(*lanes, n, 2))


@pytest.mark.parametrize("threads", ["1", "2", "16"])
@pytest.mark.parametrize("lanes", [(1,), (3,), (2, 3)])
def test_agree_with_scipy_whatever_the_pool(x64, monkeypatch, threads, lanes):
    monkeypatch.setenv("NPROC", threads)
    assert _lapack.threads() == int(threads)
    a, b = matrices(*lanes)

    def all_of_them(a, b):
        factors = _lapack.lu(a)
        values, vectors = _lapack.eigh(a)
        u, s, vt = _lapack.svd(a)
        return (
            _lapack.cholesky_solve(_lapack.cholesky(a), b),
            _lapack.lu_solve(factors, b),
            _lapack.lu_solve(_lapack.lu(a + jnp.tri(5)), b, transposed=True),
            (vectors * values) @ vectors.T,
            (u * s) @ vt,
        )

    mapped = all_of_them
    for _ in lanes:
        mapped = jax.vmap(mapped)
    found = jax.jit(mapped)(a, b)
    for index in np.ndindex(lanes):
        lane, rhs = a[index], b[index]
        solved = scipy.linalg.solve(lane, rhs)
        other = scipy.linalg.solve((lane + np.tri(5)).T, rhs)
        expected = (solved, solved, other, lane, lane)
        for one, known in zip(found, expected, strict=True):
            np.testing.assert_allclose(one[index], known, rtol=1e-10, atol=1e-10)


def test_what_is_shared_by_the_lanes_need_not_be_mapped(x64):
    a, b = matrices(3)
    factor = _lapack.cholesky(a[0])
    found = jax.vmap(_lapack.cholesky_solve, (None, 0))(factor, b)
    np.testing.assert_allclose(found, np.linalg.solve(a[0], b), rtol=1e-10)


PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from djx.implicit import _lapack

A = np.random.default_rng(0).normal(size=(6, 64, 64, 64)).astype(np.float32)

@jax.jit
def run(A, shift):
    out = []
    for k in range(6):  # work in parallel, whose end starts a factorisation
        a = jnp.exp(-jnp.tanh(A[k] + shift + k) ** 2) + 64 * jnp.eye(64)
        factor = jax.vmap(_lapack.cholesky)((a + a.mT) / 2)
        out.append(jnp.sum(jnp.tanh(factor)))
    return out

for i in range(200):
    jax.block_until_ready(run(A, i * 1e-3))
"""


def test_many_batches_at_once_do_not_wait_for_each_other():
    """With `jnp.linalg.cholesky` this hangs within seconds on two cores."""
    plain = os.environ | {"JAX_PLATFORMS": "cpu"}
    plain.pop("NPROC", None)
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=plain, timeout=600, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
