"""Weights of any pytree as named arrays, and as bytes that Flax can read."""

import difflib
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree


# No name can equal this: `keystr` writes the key of a dict within brackets.
_CHECKSUM = "__crc32__"


class WeightError(ValueError):
    """Weights that cannot be read, or do not fit the tree they are meant for."""


def flatten(tree: PyTree) -> dict[str, Array | np.ndarray]:
    """Name every array of a pytree by its path.

    A typed PRNG key gives its key data, under a name that ends in its dtype, such as
    `['rng']:key<fry>`. Leaves that are not arrays
    (functions, Python numbers, strings) are configuration, and are left out.

    Args:
        tree: Any pytree.

    Returns:
        The arrays by name, in the order of the leaves. A name is the path as
        `jax.tree_util.keystr` writes it, such as `.layers[0].weight`.

    Raises:
        WeightError: If two arrays have the same path.
    """
    return {
        name: jax.random.key_data(leaf) if _is_key(leaf) else leaf
        for name, leaf in _named(tree).items()
    }


def unflatten(like: PyTree, mapping: Mapping[str, Any]) -> PyTree:
    """Put named arrays into a pytree, after checking that all of them fit.

    Args:
        like: The tree to fill: a tree of arrays or of `jax.ShapeDtypeStruct`, such as
            `equinox.filter_eval_shape` gives. Leaves that are not arrays are kept.
        mapping: The arrays by name, as `flatten` gives them.

    Returns:
        A tree like `like` with the arrays of `mapping`. NumPy arrays stay NumPy.

    Raises:
        WeightError: If a name is missing or unexpected, or a shape or dtype differs.
            The message lists every such leaf.
    """
    expected = _named(like)
    problems = _name_problems(expected, mapping)
    restored = {}
    for name, leaf in expected.items():
        if name in mapping:
            try:
                restored[name] = _restore(name, leaf, mapping[name])
            except WeightError as error:
                problems.append(str(error))
    if problems:
        raise WeightError(
            "The weights do not fit the tree:\n  "
            + "\n  ".join(problems)
            + "\nBuild `like` with the configuration that the weights were saved with, "
            "or rename, reshape or cast the entries of `flatten(...)` first."
        )
    arrays = iter(restored.values())
    return jax.tree.map(lambda leaf: next(arrays) if _is_weight(leaf) else leaf, like)


def to_bytes(tree: PyTree) -> bytes:
    """Write the arrays of a pytree as MessagePack.

    The bytes are a flat dict of arrays, named as `flatten` names them, with a
    checksum. `flax.serialization.msgpack_restore` reads them too.

    Args:
        tree: Any pytree of concrete arrays.

    Returns:
        The bytes.

    Raises:
        WeightError: If two arrays have the same path.
    """
    from flax import serialization

    arrays = {name: np.asarray(leaf) for name, leaf in flatten(tree).items()}
    return serialization.msgpack_serialize({**arrays, _CHECKSUM: _checksum(arrays)})


def from_bytes(like: PyTree, data: bytes) -> PyTree:
    """Read the arrays of a pytree from MessagePack.

    Args:
        like: The tree to fill, as for `unflatten`.
        data: Bytes from `to_bytes`, or a flat dict of arrays that was written by
            `flax.serialization.msgpack_serialize`, which has no checksum.

    Returns:
        A tree like `like` with the arrays that were written, bit for bit.

    Raises:
        WeightError: If the bytes are damaged, or do not fit `like`.
    """
    from flax import serialization

    try:
        arrays = serialization.msgpack_restore(data)
    except Exception as error:  # Arbitrary bytes make the decoder fail in any way.
        raise WeightError(
            f"The data ({len(data)} bytes) is damaged or was not written by to_bytes: "
            f"{type(error).__name__}: {error}. Copy the file again from its source."
        ) from error
    if not isinstance(arrays, dict):
        raise WeightError(
            f"The data holds a {type(arrays).__name__}, not named arrays: write it "
            "with djx.nn.weights.to_bytes."
        )
    written = arrays.pop(_CHECKSUM, None)
    if written is not None and written != _checksum(arrays):
        raise WeightError(
            "The checksum of the data differs from the one written with it, so the "
            "data is damaged. Copy the file again from its source."
        )
    return unflatten(like, arrays)


def _is_key(leaf: Any) -> bool:
    return _is_weight(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _is_weight(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def _named(tree: PyTree) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not _is_weight(leaf):
            continue
        name = jax.tree_util.keystr(path)
        if _is_key(leaf):
            name = f"{name}:{leaf.dtype}"
        if name in named:
            raise WeightError(f"Two arrays of the tree have the path {name!r}.")
        named[name] = leaf
    return named


def _name_problems(expected: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    unexpected = [name for name in given if name not in expected]
    problems = []
    for name in expected:
        if name not in given:
            close = difflib.get_close_matches(name, unexpected, n=1)
            hint = f" (is it the unexpected {close[0]!r}?)" if close else ""
            problems.append(f"missing {name!r}{hint}")
    return problems + [f"unexpected {name!r}" for name in unexpected]


def _restore(name: str, leaf: Any, value: Any) -> Any:
    value = value if _is_weight(value) else np.asarray(value)
    if _is_key(leaf):
        impl = jax.random.key_impl(jnp.empty((), leaf.dtype))
        wanted = jax.eval_shape(jax.random.key_data, leaf)
        return jax.random.wrap_key_data(_restore(name, wanted, value), impl=impl)
    if value.shape != leaf.shape or value.dtype != leaf.dtype:
        raise WeightError(
            f"{name!r} has shape {value.shape} and dtype {value.dtype}, "
            f"expected {leaf.shape} and {leaf.dtype}"
        )
    if isinstance(leaf, np.ndarray | np.generic):
        return np.array(value)
    array = jnp.asarray(value)
    if array.dtype != leaf.dtype:
        raise WeightError(
            f"{name!r} is {leaf.dtype}, which JAX would narrow to {array.dtype}: read "
            "it under `jax.enable_x64(True)`"
        )
    return array


def _checksum(arrays: Mapping[str, Any]) -> int:
    total = 0
    for name in sorted(arrays):
        value = np.asarray(arrays[name])
        # The shape and dtype stand in the data as well, and may be damaged as well.
        head = f"{name}{value.shape}{value.dtype}".encode()
        total = zlib.crc32(value.tobytes(), zlib.crc32(head, total))
    return total
