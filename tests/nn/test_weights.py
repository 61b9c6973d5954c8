import subprocess
import sys

import chex
import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx, serialization

from djx.nn import weights
from djx.nn.linen import from_linen
from djx.nn.nnx import from_nnx
from djx.nn.weights import WeightError


@pytest.fixture
def tree():
    nan = np.array([0x7FC00001, 0xFFC00002], np.uint32).view(np.float32)
    return {
        "layers": [jnp.arange(6.0).reshape(2, 3), jnp.array(-0.0)],
        "payload": jnp.asarray(nan),
        "half": jnp.array([1.5, jnp.inf], jnp.bfloat16),
        "int": jnp.array([[-1], [2**31 - 1]], jnp.int32),
        "bool": jnp.array([True, False]),
        "complex": jnp.array([1 + 2j], jnp.complex64),
        "none": None,
        "empty": jnp.zeros((0, 3)),
        "host": np.array([np.pi, np.nextafter(1.0, 2.0)]),
        "activation": jax.nn.relu,
        "scale": 3.0,
        "rng": jax.random.split(jax.random.key(3), 2),
    }


def bits(tree):
    arrays = weights.flatten(tree)
    return {k: (v.dtype, v.shape, np.asarray(v).tobytes()) for k, v in arrays.items()}


def test_round_trips_are_exact_to_the_bit(tree):
    for back in (
        weights.from_bytes(tree, weights.to_bytes(tree)),
        weights.unflatten(tree, weights.flatten(tree)),
    ):
        assert bits(back) == bits(tree)
        assert jax.tree.structure(back) == jax.tree.structure(tree)
        assert isinstance(back["host"], np.ndarray)
        assert back["activation"] is jax.nn.relu and back["scale"] == 3.0
        drawn, again = (jax.random.normal(t["rng"][1], (3,)) for t in (tree, back))
        np.testing.assert_array_equal(drawn, again)


def test_float64_is_exact_and_refused_where_jax_would_narrow_it():
    with jax.enable_x64(True):
        tree = [jnp.array([1 / 3, 1e-30])]
        data = weights.to_bytes(tree)
        assert bits(weights.from_bytes(tree, data)) == bits(tree)
    with pytest.raises(WeightError, match=r"'\[0\]' is float64.*enable_x64"):
        weights.from_bytes(tree, data)


def test_names_are_keystr_paths_and_flax_reads_the_bytes(tree):
    restored = serialization.msgpack_restore(weights.to_bytes(tree))
    assert "['layers'][0]" in restored and "['rng']:key<fry>" in restored
    np.testing.assert_array_equal(
        restored["['layers'][0]"], np.arange(6.0, dtype=np.float32).reshape(2, 3)
    )
    assert restored["['half']"].dtype == ml_dtypes.bfloat16
    assert list(weights.flatten(jnp.ones(2))) == [""]


def test_a_flat_dict_written_by_flax_is_read():
    data = serialization.msgpack_serialize({"['a']": np.arange(3, dtype=np.int32)})
    got = weights.from_bytes({"a": jnp.zeros(3, jnp.int32)}, data)
    np.testing.assert_array_equal(got["a"], [0, 1, 2])


def test_modules_round_trip_into_a_skeleton():
    x = jnp.ones((2, 4))

    def linen():
        return from_linen(nn.Dense(3), x, key=jax.random.key(5))

    def flax_nnx():
        return from_nnx(nnx.BatchNorm(4, rngs=nnx.Rngs(0), use_running_average=True))

    for make in (linen, flax_nnx):
        like = eqx.filter_eval_shape(make)
        back = weights.from_bytes(like, weights.to_bytes(make()))
        chex.assert_trees_all_equal(back, make())
        np.testing.assert_array_equal(back(x), make()(x))
    assert list(weights.flatten(linen())) == [
        ".params['bias']",
        ".params['kernel']",
    ]
    mlp = eqx.nn.MLP(4, 2, 3, 1, key=jax.random.key(6))
    other = eqx.nn.MLP(4, 2, 3, 1, key=jax.random.key(7))
    back = weights.from_bytes(other, weights.to_bytes(mlp))
    np.testing.assert_array_equal(back(x[0]), mlp(x[0]))


def test_a_key_skeleton_is_filled_and_another_implementation_refused():
    def make():
        return {"k": jax.random.key(1, impl="rbg")}

    back = weights.from_bytes(jax.eval_shape(make), weights.to_bytes(make()))
    assert back["k"].dtype == make()["k"].dtype
    assert jnp.all(jax.random.bits(back["k"]) == jax.random.bits(make()["k"]))
    like = {"k": jax.random.key(0, impl="unsafe_rbg")}
    with pytest.raises(WeightError, match="missing .*key<urbg>.*is it .*key<rbg>"):
        weights.from_bytes(like, weights.to_bytes(make()))


def test_empty_trees_round_trip():
    for empty in ({}, [], None, {"only": jax.nn.relu}):
        assert weights.flatten(empty) == {}
        assert weights.from_bytes(empty, weights.to_bytes(empty)) == empty


def test_flatten_and_unflatten_under_jit():
    @jax.jit
    def double(tree):
        flat = weights.flatten(tree)
        return weights.unflatten(tree, {k: 2 * v for k, v in flat.items()})

    chex.assert_trees_all_equal(
        double({"a": jnp.arange(3.0)}), {"a": 2 * jnp.arange(3.0)}
    )


def test_every_misfit_is_named_at_once():
    saved = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3), "old": jnp.ones(1)}
    like = {
        "kernel": jnp.ones((3, 2)),
        "bias": jnp.ones(3, jnp.float16),
        "older": jnp.ones(1),
        "extra": jnp.ones(1),
    }
    with pytest.raises(WeightError) as info:
        weights.from_bytes(like, weights.to_bytes(saved))
    message = str(info.value)
    assert (
        "\"['kernel']\" has shape (2, 3) and dtype float32, expected (3, 2)" in message
    )
    assert "dtype float32, expected (3,) and float16" in message
    assert "missing \"['older']\" (is it the unexpected \"['old']\"?)" in message
    assert "missing \"['extra']\"\n" in message
    assert "unexpected \"['old']\"" in message
    assert "Build `like` with the configuration" in message


def test_every_damaged_byte_is_found():
    tree = {"w": jnp.arange(4.0), "b": jnp.ones((1, 2), jnp.int32)}
    data = weights.to_bytes(tree)
    for i in range(len(data)):
        flipped = data[:i] + bytes([data[i] ^ 0x10]) + data[i + 1 :]
        with pytest.raises(WeightError):
            weights.from_bytes(tree, flipped)
        with pytest.raises(WeightError, match="damaged"):
            weights.from_bytes(tree, data[:i])


def test_other_data_is_refused():
    with pytest.raises(WeightError, match="not named arrays"):
        weights.from_bytes({}, serialization.msgpack_serialize(np.ones(3)))
    nested = serialization.to_bytes({"params": {"w": np.ones(3)}})
    with pytest.raises(WeightError, match="unexpected 'params'"):
        weights.from_bytes({"params": {"w": jnp.ones(3)}}, nested)


def test_two_leaves_of_one_name_are_refused():
    @jax.tree_util.register_pytree_with_keys_class
    class Pair:
        def tree_flatten_with_keys(self):
            key = jax.tree_util.GetAttrKey("same")
            return [(key, jnp.ones(1)), (key, jnp.zeros(1))], None

        @classmethod
        def tree_unflatten(cls, _, children):
            return cls()

    with pytest.raises(WeightError, match=r"Two arrays .* '\.same'"):
        weights.flatten(Pair())


def test_importing_the_package_does_not_import_flax():
    code = (
        "import sys, djx.nn, djx.implicit; from djx.nn import flatten;"
        "from djx.implicit import argmin, jaxopt;"
        "assert not {'flax', 'jaxopt'} & set(sys.modules);"
        "from djx.nn import *; assert 'flax' in sys.modules and from_linen and nnx"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
