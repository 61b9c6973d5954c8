"""Keys, names, digests and norms."""

import chex
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from djx.core import (
    leaf_digest,
    leaf_names,
    safe_rms,
    seed_keys,
    stream_key,
    tree_digest,
)
from djx.core.errors import did_you_mean, Fault


def test_stream_keys_differ_by_seed_stream_and_step():
    keys = [
        tuple(np.asarray(jr.key_data(stream_key(jr.key(seed), stream, step))))
        for seed in range(3)
        for stream in ("step", "evaluate", "init")
        for step in range(4)
    ]
    assert len(set(keys)) == len(keys)


def test_stream_key_of_a_traced_step_is_the_same():
    root = jr.key(3)
    traced = jax.jit(lambda step: stream_key(root, "step", step))(7)
    chex.assert_trees_all_equal(
        jr.key_data(traced), jr.key_data(stream_key(root, "step", 7))
    )


def test_seed_keys_are_those_of_the_seeds():
    keys = seed_keys([5, 0])
    chex.assert_trees_all_equal(jr.key_data(keys[0]), jr.key_data(jr.key(5)))
    assert keys.shape == (2,)


def test_leaf_names_are_distinct_and_in_order():
    tree = {"b": [jnp.ones(1), {"c": jnp.ones(2)}], "a": jnp.ones(3)}
    assert leaf_names(tree) == ["a", "b.0", "b.1.c"]
    assert leaf_names(jnp.ones(1)) == ["value"]
    assert leaf_names({}) == []
    clash = {"a": {"b": 1}, "a.b": 2}
    assert len(set(leaf_names(clash))) == 2


@pytest.mark.parametrize(
    "other",
    [
        np.array([1.0, 2.0], np.float64),
        np.array([[1.0, 2.0]], np.float32),
        np.array([1.0, np.nextafter(np.float32(2), np.float32(3))], np.float32),
        np.array([1.0, 2.0], np.float32).view(np.int32),
    ],
)
def test_digest_tells_type_shape_and_every_bit(other):
    leaf = np.array([1.0, 2.0], np.float32)
    assert leaf_digest(leaf) == leaf_digest(jnp.asarray(leaf))
    assert leaf_digest(leaf) != leaf_digest(other)


def test_digest_of_keys_and_signed_zeros():
    assert leaf_digest(jr.key(1)) != leaf_digest(jr.key_data(jr.key(1)))
    assert leaf_digest(np.array(0.0)) != leaf_digest(np.array(-0.0))
    assert tree_digest({"a": 1.0 * np.ones(2)}) != tree_digest({"b": np.ones(2)})


def test_safe_rms_and_its_gradient():
    tree = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.0, 0.0])}
    np.testing.assert_allclose(safe_rms(tree), 2.5, rtol=1e-6)
    gradient = jax.grad(lambda x: safe_rms(x))(jnp.zeros(3))
    chex.assert_tree_all_finite(gradient)
    assert safe_rms({}) == 0.0
    scaled = jax.grad(safe_rms)(jnp.array([3.0, 4.0]))
    rms = np.sqrt(12.5)
    np.testing.assert_allclose(scaled, np.array([3.0, 4.0]) / (2 * rms), rtol=1e-6)


def test_faults_are_one_line():
    fault = Fault("a\u2028b.toml", "x.y", "one\ntwo\rthree")
    assert len(str(fault).splitlines()) == 1
    assert did_you_mean("stpes", ["steps", "batch"]) == "; did you mean 'steps'?"
    assert did_you_mean("zzz", ["steps"]) == ""
