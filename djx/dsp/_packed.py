"""States of streams as one array, which Python hands over in one piece."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, UInt32


Words = UInt32[Array, " words"]


def packed(
    step: Callable[..., tuple[PyTree, Any]], state: PyTree
) -> tuple[Callable[..., tuple[Words, Any]], Words]:
    """A step whose state is one array of the same bits, for streams in real time.

    What a call of a compiled function costs besides its work grows with the number of
    arrays that go in and out: a voice has a dozen.

    Args:
        step: of (state, ...) to (state, ...), as processors have it; not compiled yet.
        state: that it begins with.

    Raises:
        ValueError: by the step, where it changes the state's structure or types.

    Returns:
        The step, of (words, ...) to (words, ...), to be compiled; and the words that it
        begins with.
    """
    numbers = (bool, int, float, complex)
    state = jax.tree.map(
        lambda x: jnp.asarray(x) if isinstance(x, numbers) else x, state
    )
    arrays, rest = eqx.partition(state, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    likes = [_Like.of(leaf) for leaf in leaves]

    def step_of_words(words: Words, *args: Any, **kwargs: Any) -> tuple[Words, Any]:
        here, given = 0, []
        for like in likes:
            given.append(like.array(words[here : here + like.words]))
            here += like.words
        state = eqx.combine(structure.unflatten(given), rest)
        state, out = step(state, *args, **kwargs)
        after, left = jax.tree.flatten(eqx.filter(state, eqx.is_array))
        if left != structure or [_Like.of(leaf) for leaf in after] != likes:
            told = [f"{like.dtype}{list(like.shape)}" for like in likes]
            found = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in after]
            raise ValueError(
                f"step: a state of {', '.join(told) or 'nothing'} has become one of "
                f"{', '.join(found) or 'nothing'}"
            )
        return _packed(state), out

    return step_of_words, _packed(state)


def _packed(state: PyTree) -> Words:
    leaves = jax.tree.leaves(eqx.filter(state, eqx.is_array))
    none = jnp.zeros(0, jnp.uint32)
    return jnp.concatenate([none, *[_words_of(leaf) for leaf in leaves]])


def _words_of(a: Array) -> Words:
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        a = jax.random.key_data(a)
    if a.dtype == bool:
        return a.reshape(-1).astype(jnp.uint32)
    if jnp.iscomplexobj(a):
        a = jnp.stack([a.real, a.imag], -1)
    if a.dtype.itemsize < 4:
        whole = jnp.dtype(f"uint{8 * a.dtype.itemsize}")
        a = jax.lax.bitcast_convert_type(a, whole).astype(jnp.uint32)
    return jax.lax.bitcast_convert_type(a, jnp.uint32).reshape(-1)


class _Like(NamedTuple):
    """An array that words are made into."""

    shape: tuple[int, ...]
    dtype: Any
    words: int
    impl: Any
    """Of a key."""

    @classmethod
    def of(cls, a: Array) -> "_Like":
        impl = None
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            impl, a = jax.random.key_impl(a), jax.random.key_data(a)
        return cls(a.shape, a.dtype, jax.eval_shape(_words_of, a).size, impl)

    def array(self, words: Words) -> Array:
        if self.impl is not None:
            data = self._replace(impl=None).array(words)
            return jax.random.wrap_key_data(data, impl=self.impl)
        if self.dtype == bool:
            return (words != 0).reshape(self.shape)
        if jnp.issubdtype(self.dtype, jnp.complexfloating):
            shape, part = (*self.shape, 2), jnp.finfo(self.dtype).dtype
            pairs = _Like(shape, part, self.words, None).array(words)
            return jax.lax.complex(pairs[..., 0], pairs[..., 1])
        if self.dtype.itemsize < 4:
            words = words.astype(jnp.dtype(f"uint{8 * self.dtype.itemsize}"))
        elif self.dtype.itemsize == 8:
            words = words.reshape(-1, 2)
        return jax.lax.bitcast_convert_type(words, self.dtype).reshape(self.shape)
