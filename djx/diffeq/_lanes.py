"""Batches of solves that step together, each with steps of its own."""

from collections.abc import Callable, Sequence

import jax
import jax.extend as jex
import jax.numpy as jnp
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Bool, PyTree


class Lanes:
    """The batch axes of a solve, outermost first, and which inputs have them.

    Inputs have their batch axes in front, as `jax.vmap` hands them over, and one that
    lacks an axis is shared along it: a field's weights meet the whole batch in one
    matrix product. Inside the loop all axes are behind a value's own, so that small
    states are worked on a batch at a time, and masks broadcast by themselves.
    """

    def __init__(self, sizes: tuple[int, ...], flags: Sequence[tuple[bool, ...]]):
        self.sizes = sizes
        self.flags = list(flags)

    @property
    def count(self) -> int:
        """How many axes."""
        return len(self.sizes)

    def added(self, size: int, has: Sequence[bool]) -> "Lanes":
        """The same with one more axis, outermost."""
        flags = [(h, *f) for h, f in zip(has, self.flags, strict=True)]
        return Lanes((size, *self.sizes), flags)

    def over(self, function: Callable, arguments: int = 0) -> Callable:
        """Maps a function over all lanes.

        Args:
            function: of single-lane values; its last argument is the list of inputs.
            arguments: how many others it has.

        Returns:
            The function of batched values.
        """
        for level in reversed(range(self.count)):
            shared = [0 if flags[level] else None for flags in self.flags]
            axis = level - self.count
            in_axes = (*[axis] * arguments, shared)
            function = jax.vmap(function, in_axes=in_axes, out_axes=axis)
        return function

    def spread(self, array: Array, index: int) -> Array:
        """Input number `index` with every lane axis, behind its own."""
        missing = [i for i, has in enumerate(self.flags[index]) if not has]
        array = jnp.expand_dims(array, missing)
        array = jnp.broadcast_to(array, (*self.sizes, *array.shape[self.count :]))
        return self.to_back(array)

    def gathered(self, array: Array, index: int) -> Array:
        """Sums a cotangent over the lanes that share input number `index`."""
        missing = tuple(i for i, has in enumerate(self.flags[index]) if not has)
        return jnp.sum(self.to_front(array), missing)

    def to_front(self, tree: PyTree, lead: int = 0) -> PyTree:
        """Moves lane axes from behind to the front, past `lead` other axes."""
        there = range(-self.count, 0)
        to = range(lead, lead + self.count)
        return jax.tree.map(lambda x: jnp.moveaxis(x, there, to), tree)

    def to_back(self, tree: PyTree, lead: int = 0) -> PyTree:
        """Moves lane axes from the front, past `lead` other axes, to behind."""
        there = range(-self.count, 0)
        to = range(lead, lead + self.count)
        return jax.tree.map(lambda x: jnp.moveaxis(x, to, there), tree)

    def wide(self, mask: Array, like: Array, lead: int = 0) -> Array:
        """A value over (rows, lanes), broadcast over a state's own axes between."""
        own = like.ndim - lead - 1 - self.count
        return jnp.expand_dims(mask, (*range(lead), *range(lead + 1, lead + 1 + own)))


def choose(mask: Bool[Array, "..."], new: PyTree, old: PyTree) -> PyTree:
    """`new` where the mask (over lanes) holds."""
    return jax.tree.map(lambda a, b: jnp.where(mask, a, b), new, old)


def any_lane(mask: Bool[Array, "..."]) -> Bool[Array, ""]:
    """Whether the mask holds in some lane."""
    return jnp.any(mask) if mask.ndim else mask


def lanes_behind(tree: PyTree) -> PyTree:
    """The same values; under `jax.vmap` the batch axis is put last.

    What a field computes has its batch axes wherever its operations left them, mostly
    in front, and a small state with its own axis innermost cannot be vectorised.
    """
    return jax.tree.map(behind_p.bind, tree)


behind_p = jex.core.Primitive("djx_lanes_behind")
behind_p.def_impl(lambda x: x)
behind_p.def_abstract_eval(lambda x: x)
ad.deflinear2(behind_p, lambda ct, x: [behind_p.bind(ct)])
mlir.register_lowering(behind_p, lambda context, x: [x])


def _behind_batch(arrays, dims):
    (array,), (dim,) = arrays, dims
    return behind_p.bind(jnp.moveaxis(array, dim, -1)), array.ndim - 1


batching.primitive_batchers[behind_p] = _behind_batch


def in_one_pass(tree: PyTree) -> PyTree:
    """The same values, all of one shape, in one loop of XLA's CPU compiler.

    By itself that compiles a loop for each, which computes anew what they share.
    """
    leaves, structure = jax.tree.flatten(tree)
    if leaves[0].ndim:
        leaves = one_pass_p.bind(*leaves)
    return jax.tree.unflatten(structure, leaves)


one_pass_p = jex.core.Primitive("djx_one_pass")
one_pass_p.multiple_results = True
one_pass_p.def_impl(lambda *leaves: leaves)
one_pass_p.def_abstract_eval(lambda *leaves: leaves)
mlir.register_lowering(one_pass_p, lambda context, *leaves: leaves)


def _last_of_two(*leaves):
    # Of what has several results, XLA fuses other operations into reductions only, and
    # those may not mix types of floating point numbers.
    floats = [x.dtype for x in leaves if jnp.issubdtype(x.dtype, jnp.floating)]
    if len(set(floats)) > 1:
        return leaves
    copies = [jnp.broadcast_to(leaf, (2, *leaf.shape)) for leaf in leaves]
    zeros = [jnp.zeros((), leaf.dtype) for leaf in leaves]
    return jax.lax.reduce(copies, zeros, lambda _, last: last, (0,))


mlir.register_lowering(
    one_pass_p, mlir.lower_fun(_last_of_two, multiple_results=True), platform="cpu"
)
