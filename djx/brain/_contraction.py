"""The sum over edges of sender times weight times receiver, and its derivatives."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core import bind, Operation, varying_alike
from ._stored import Stored as Stored


class Lane(NamedTuple):
    """An axis of a batch.

    Attributes:
        size: of the axis.
        of: names of the arrays that have it; the result, where it has not, is a sum.
    """

    size: int
    of: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Contraction(Operation):
    """A derivative of the sum, over edges, of sender times weight times receiver.

    By receivers it is `push`, by senders what edges bring back, by weights what each
    edge carried. Arguments are arrays by `names`: the other factors, what is added to,
    who counts in sums by senders, and the source's. Lanes' axes come first.

    Attributes:
        source: of edges: a `Stored`, or what has its properties and methods.
        by: "receivers", "senders" or "weights".
        weighted: whether edges have weights; all have one if not.
        adds: whether the sum is added to `into`; to zeros if not.
        clears: whether the row of this step, in a ring `into`, is taken for zeros.
        lanes: axes of batches, outermost first.
        backend: how it is to be computed; None for the best.
        like: the shape that receivers have instead of the source's, in the same order.
    """

    source: Any
    by: str = "receivers"
    weighted: bool = False
    adds: bool = False
    lanes: tuple[Lane, ...] = ()
    backend: str | None = None
    like: tuple[int, ...] | None = None
    clears: bool = False

    reusable = True

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the arrays that the sum is linear in, each."""
        names = ("senders", "weights", "receivers")
        named = {self.by} if self.weighted else {self.by, "weights"}
        return tuple(name for name in names if name not in named)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all arrays."""
        into = ("into",) if self.adds else ()
        return *self.factors, *into, "mask", *self.source.names

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a lane's result."""
        source = self.source
        if self.by == "receivers":
            return source.reach if self.like is None else self.like
        return (source.senders,) if self.by == "senders" else (source.edges,)

    def axes_of(self, name: str) -> tuple[bool, ...]:
        """Which lanes' axes an array has, `into` those of the result."""
        name = "result" if name == "into" else name
        return tuple(name in lane.of for lane in self.lanes)

    def start(self, given: dict[str, Array]) -> Array:
        """What the sum is added to."""
        if self.adds:
            return self._cleared(given["into"], given) if self.clears else given["into"]
        sizes = zip(self.lanes, self.axes_of("result"), strict=True)
        lanes = tuple(lane.size for lane, has in sizes if has)
        dtype = given[self.factors[0]].dtype
        return varying_alike(jnp.zeros(lanes + self.shape, dtype), given)

    def _cleared(self, ring, given):
        """A ring of which this step's row is zero, in every lane."""
        step, count = given["step"], self.shape[0]
        if not step.ndim:  # in place
            axis = len(self.lanes)
            first = jax.lax.slice_in_dim(ring, 0, 1, axis=axis)
            row = varying_alike(jnp.zeros_like(first), ring)
            return jax.lax.dynamic_update_slice_in_dim(ring, row, step % count, axis)
        # All lanes are the ring's; of some the steps differ.
        has = zip(self.lanes, self.axes_of("step"), strict=True)
        sizes = [lane.size if differs else 1 for lane, differs in has]
        here = step.reshape(*sizes, 1) % count == jnp.arange(count)
        here = here.reshape(*here.shape, *[1] * (len(self.shape) - 1))
        return jnp.where(here, 0, ring)

    def run(self, *arrays):
        """By the back-end that suits the platform that it is compiled for."""
        from ._backends import contracted  # which knows all that know this

        # In a program of several devices all of them differ if one does.
        arrays = varying_alike(list(arrays), arrays)
        given = dict(zip(self.names, arrays, strict=True))
        if not self.source.edges or not all(lane.size for lane in self.lanes):
            return [self.start(given)]
        return [contracted(self, given)]

    def expanded(self, size, dims, arrays):
        """One more lane."""
        given = dict(zip(self.names, arrays, strict=True))
        dims = dict(zip(self.names, dims, strict=True))
        if self.adds and dims["into"] is None:
            given["into"] = jnp.broadcast_to(
                given["into"], (size, *given["into"].shape)
            )
            dims["into"] = 0
        has = {name for name, dim in dims.items() if dim is not None} - {"into"}
        lane = Lane(size, frozenset(has | {"result"}))
        whole = dataclasses.replace(self, lanes=(lane, *self.lanes))
        moved = [
            a if dims[name] is None else jnp.moveaxis(a, dims[name], 0)
            for name, a in given.items()
        ]
        return whole, moved, [None if dims[name] is None else 0 for name in given], 0

    def linearised(self, active, primals):
        """The rule of a product; each part is added to those before it."""

        def push(tangents):
            given = iter(tangents)
            moving = {
                name: next(given)
                for name, is_active in zip(self.names, active, strict=True)
                if is_active
            }
            total = moving.pop("into", None)
            values = dict(zip(self.names, primals, strict=True))
            for name, tangent in moving.items():
                adds = total is not None
                # No delay leads to this step's row: to clear it again changes nothing.
                part = dataclasses.replace(self, adds=adds, clears=self.clears and adds)
                changed = {**values, name: tangent, "into": total}
                (total,) = bind(part, *[changed[n] for n in part.names])
            if self.clears and not moving:
                total = self._cleared(total, values)
            return [total]

        return bind(self, *primals), push

    def transposed(self, linear, cotangents, arguments):
        """Another derivative of the same sum."""
        given = dict(zip(self.names, arguments, strict=True))
        out: list[Any] = [None] * len(arguments)
        for place, name in enumerate(self.names):
            if linear[place] and name == "into":
                back = cotangents[0]
                out[place] = self._cleared(back, given) if self.clears else back
            elif linear[place]:
                other = self._other(name)
                known = {**given, self.by: cotangents[0]}
                (out[place],) = bind(other, *[known[n] for n in other.names])
        return out

    def _other(self, by: str) -> "Contraction":
        """That by one of the factors, of the result's cotangent."""

        def turned(lane):
            has = lane.of - {by, "result"}
            has |= {self.by} if "result" in lane.of else set()
            return Lane(lane.size, has | ({"result"} if by in lane.of else set()))

        lanes = tuple(map(turned, self.lanes))
        return dataclasses.replace(self, by=by, adds=False, clears=False, lanes=lanes)


def as_of_source(contract, what: Contraction, given: dict[str, Array]) -> Array:
    """The sum with receivers in the source's shape, for a back-end that asks for it.

    Args:
        contract: `(contraction, arrays)` to the sum.
        what: whose receivers may have another one.
        given: its arrays.

    Returns:
        The result, in the shape that it is to have.
    """
    if what.like is None:
        return contract(what, given)
    flat, count = dict(given), len(what.like)
    for name in ("receivers", "into") if what.by == "receivers" else ("receivers",):
        if name in given:
            lanes = given[name].shape[: given[name].ndim - count]
            flat[name] = given[name].reshape(*lanes, *what.source.reach)
    out = contract(dataclasses.replace(what, like=None), flat)
    if what.by != "receivers":
        return out
    return out.reshape(*out.shape[: out.ndim - len(what.source.reach)], *what.like)


def over_lanes(contract, what: Contraction, given: dict[str, Array]) -> Array:
    """Lanes one after the other, for a back-end that knows none.

    Args:
        contract: `(contraction, arrays)` to the sum, without lanes.
        what: with lanes.
        given: its arrays.

    Returns:
        The sums of all.
    """
    if not what.lanes:
        return contract(what, given)
    lane, *rest = what.lanes
    one = dataclasses.replace(what, lanes=tuple(rest), clears=False)
    lanes = {n: a for n, a in given.items() if n in lane.of}
    shared = {n: a for n, a in given.items() if n not in lane.of and n != "into"}
    into = {"into": what.start(given)} if what.adds else {}
    if "result" in lane.of:
        one_of = lambda some: over_lanes(contract, one, {**shared, **some})  # noqa: E731
        xs = {**lanes, **into}
        if not xs:
            whole = one_of({})
            return jnp.broadcast_to(whole, (lane.size, *whole.shape))
        return jax.lax.map(one_of, xs)
    one = dataclasses.replace(one, adds=True)

    def more(total, some):
        return over_lanes(contract, one, {**shared, **some, "into": total}), None

    return jax.lax.scan(more, what.start(given), lanes, length=lane.size)[0]
