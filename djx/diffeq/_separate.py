"""Small states as separate numbers: of many lanes, each is a vector.

XLA's CPU compiler writes a field's `jnp.stack` element by element. Where the state is a
list of numbers, every operation is one on contiguous vectors of lanes.
"""

import math
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import PyTree

from ._step import Equation


LARGEST = 4  # numbers in a state: compilation takes longer with each
MOST = 64  # operations on numbers in a field

ELEMENTWISE = frozenset(
    "abs acos acosh add and asin asinh atan atan2 atanh cbrt ceil clamp "
    "convert_element_type copy cos cosh div djx_lanes_behind eq erf exp exp2 expm1 "
    "floor ge gt integer_pow is_finite le log log1p logistic lt max min mul ne neg not "
    "or pow rem round rsqrt select_n sign sin sinh sqrt square sub tan tanh xor".split()
)


class Separation:
    """Takes states of one structure apart, and puts them together again."""

    def __init__(self, y0: PyTree):
        leaves, self.structure = jax.tree.flatten(y0)
        self.shapes = [leaf.shape for leaf in leaves]

    def split(self, y: PyTree) -> list[Any]:
        """The numbers of a state."""
        return [number for leaf in jax.tree.leaves(y) for number in _numbers(leaf)]

    def leaves(self, numbers: list[Any]) -> list[list[Any]]:
        """The numbers of each leaf."""
        given = iter(numbers)
        return [[next(given) for _ in range(math.prod(s))] for s in self.shapes]

    def join(self, numbers: list[Any]) -> PyTree:
        """A state of its numbers; all may have the same axes in front."""
        leaves = [
            jnp.stack(own, -1).reshape(*own[0].shape, *shape)
            for own, shape in zip(self.leaves(numbers), self.shapes, strict=True)
        ]
        return jax.tree.unflatten(self.structure, leaves)


def separated(
    equation: Equation, constants: list[Any], controller: Any, t0: Any, y0: PyTree
) -> tuple[Equation, Separation] | None:
    """The same equation of a state's separate numbers.

    Args:
        equation: of an ODE term.
        constants: its arrays, which stay what they are.
        controller: of the steps; one that tells the numbers apart must see the state.
        t0: start, for its type.
        y0: initial state.

    Returns:
        The equation of a list of numbers, and the state's structure. None where the
        state is not small, or its field not made of a few operations on single numbers.
    """
    shapes = [leaf.shape for leaf in jax.tree.leaves(y0)]
    sizes = [math.prod(shape) for shape in shapes]
    if min(sizes) < 1 or sum(sizes) > LARGEST:
        return None
    c = controller
    if type(c) is not diffrax.PIDController or c.norm is not optx.rms_norm:
        return None
    if np.ndim(c.rtol) or np.ndim(c.atol):
        return None
    separation = Separation(y0)
    traced = jax.make_jaxpr(equation.field, return_shape=True)
    closed, out = traced(constants, t0, y0)
    if jax.tree.structure(out) != separation.structure:
        return None
    if [leaf.shape for leaf in jax.tree.leaves(out)] != shapes:
        return None

    def field(constants, t, numbers):
        fixed = [_numbers(c) for c in closed.consts]
        given = [*map(_numbers, constants), [t], *separation.leaves(numbers)]
        return sum(_evaluate(closed.jaxpr, fixed, given), [])

    try:
        apart = jax.make_jaxpr(field)(constants, t0, separation.split(y0))
    except _Whole:
        return None
    if len(apart.eqns) > MOST:
        return None
    return equation._replace(field=field), separation


class _Whole(Exception):
    """A field that cannot be taken apart."""


def _numbers(array: Any) -> list[Any]:
    array = jnp.asarray(array)
    if array.size > MOST:
        raise _Whole
    flat = array.reshape(-1)
    return [flat[i] for i in range(array.size)] if array.ndim else [array]


def _evaluate(jaxpr: Any, constants: list, arguments: list) -> list[list[Any]]:
    """Evaluates a trace, in which every value is the list of its numbers."""
    known = dict(zip(jaxpr.constvars, constants, strict=True))
    known |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(atom):
        if isinstance(atom, jex.core.Literal):
            aval: Any = atom.aval
            return _numbers(jnp.asarray(atom.val, aval.dtype))
        return known[atom]

    for equation in jaxpr.eqns:
        outputs = _apply(equation, [read(atom) for atom in equation.invars])
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: Any, given: list[list[Any]]) -> list[list[Any]]:
    name, params = equation.primitive.name, equation.params
    if equation.effects or any(out.aval.size > MOST for out in equation.outvars):
        raise _Whole
    if name in ("jit", "pjit"):
        inner = params["jaxpr"]
        return _evaluate(inner.jaxpr, [_numbers(c) for c in inner.consts], given)
    if name in _MOVES:
        return [_moved(equation, given)]
    if name not in ELEMENTWISE:
        raise _Whole
    size = equation.outvars[0].aval.size
    wide = [one if len(one) == size else one * size for one in given]
    return [
        [equation.primitive.bind(*one, **params) for one in zip(*wide, strict=True)]
    ]


def _moved(equation: Any, given: list[list[Any]]) -> list[Any]:
    """What an operation that computes nothing makes of an array of positions."""
    places, count = [], 0
    for atom in equation.invars:
        size = atom.aval.size
        places.append(np.arange(count, count + size).reshape(atom.aval.shape))
        count += size
    numbers = sum(given, [])
    index = _MOVES[equation.primitive.name](equation.params, *places)
    return [numbers[i] for i in index.ravel()]


def _broadcast(params: Any, x: np.ndarray) -> np.ndarray:
    shape = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = size
    return np.broadcast_to(x.reshape(shape), params["shape"])


def _slice(params: Any, x: np.ndarray) -> np.ndarray:
    strides = params["strides"] or [1] * x.ndim
    ranges = map(slice, params["start_indices"], params["limit_indices"], strides)
    return x[tuple(ranges)]


_MOVES: dict[str, Callable[..., np.ndarray]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda params, *xs: np.concatenate(xs, params["dimension"]),
    "reshape": lambda params, x: x.reshape(params["new_sizes"]),
    "rev": lambda params, x: np.flip(x, params["dimensions"]),
    "slice": _slice,
    "squeeze": lambda params, x: np.squeeze(x, params["dimensions"]),
    "stack": lambda params, *xs: np.stack(xs, params["axis"]),
    "transpose": lambda params, x: np.transpose(x, params["permutation"]),
}
