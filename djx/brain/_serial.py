"""Edge by edge, in loops that XLA compiles for CPUs as C++ would be."""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ..core import varying_alike
from ._contraction import Contraction
from ._loops import added, each_set, taken, times, words_of


def contract(what: Contraction, given: dict[str, Array]) -> Array:
    """The sum; its terms are added in the order of edges.

    Args:
        what: the sum.
        given: its arrays.

    Returns:
        The result.
    """
    who = "mask" if what.by == "senders" else "senders"
    words = words_of(given[who] != 0)
    one = {"receivers": _by_receivers, "senders": _by_senders, "weights": _by_weights}
    axes = {name: what.axes_of(name) for name in (*what.names, "result")}

    def lane(number, out):
        places = _places(what, number)
        at = {
            name: tuple(p for p, has_it in zip(places, has, strict=True) if has_it)
            for name, has in axes.items()
        }

        def visit(sender, out):
            return one[what.by](what, given, at, sender, out)

        return each_set(words, at[who], visit, out)

    lanes = math.prod(lane.size for lane in what.lanes)
    return times(0, lanes, lane, what.start(given))


def _by_receivers(what, given, at, sender, out):
    x = taken(given["senders"], (*at["senders"], sender))

    def visit(edge, target, out):
        term = x
        if what.weighted:
            term = _product(edge, x, taken(given["weights"], (*at["weights"], edge)))
        return added(out, (*at["result"], *target), term)

    return what.source.each(given, at, sender, visit, out)


def _by_senders(what, given, at, sender, out):
    def visit(edge, target, sums):
        term = taken(given["receivers"], (*at["receivers"], *target))
        if what.weighted:
            weight = taken(given["weights"], (*at["weights"], edge))
            term = _product(edge, term, weight)
        # Four sums in turn, which need not wait for one another.
        return *sums[1:], sums[0] + term

    none = varying_alike((jnp.zeros((), out.dtype),) * 4, out)
    a, b, c, d = what.source.each(given, at, sender, visit, none)
    return added(out, (*at["result"], sender), (a + c) + (b + d))


def _by_weights(what, given, at, sender, out):
    x = taken(given["senders"], (*at["senders"], sender))

    def visit(edge, target, out):
        back = taken(given["receivers"], (*at["receivers"], *target))
        return added(out, (*at["result"], edge), _product(edge, x, back))

    return what.source.each(given, at, sender, visit, out)


def _product(edge, a, b):
    """Rounded before it is added to anything, as it is in C++ and in wider loops."""
    bits = lax.bitcast_convert_type(a * b, f"int{a.dtype.itemsize * 8}")
    zero = edge >> 31  # no edge is below it, which compilers cannot know
    return lax.bitcast_convert_type(bits | zero.astype(bits.dtype), a.dtype)


def _places(what, number):
    """Where a lane is along each axis."""
    places = []
    for lane in reversed(what.lanes):
        places.insert(0, number % lane.size)
        number = number // lane.size
    return places
