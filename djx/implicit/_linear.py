"""The one linear solve behind every derivative of a solution."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core import bind
from ._batched import Batched
from ._choose import find, Solved, System, tolerance_of
from ._direct import Factored, factored, solved
from ._gradient import Gradient
from ._matrix import matrix_of_linear


REPORTS = 7  # figures of a receipt


LOST, FOUND, KINK = 0, 1, 2  # a solution's status


class LinearSolve(Batched):
    """u with A u = b, or A' u = b, where A = dF/dx at x, and a report on that.

    The arguments are x, the constants of F, the status of x, the factor of a nearby A
    if there is one, where to start, b, and receipts if a report is wanted; the solve is
    linear in b and the receipts. Its transpose is the solve with A', whose report is
    the cotangent of the receipts.
    """

    def __init__(
        self,
        system: System,
        gradient: Gradient,
        constants: int,
        *,
        aid: str | None = None,
        started: bool = False,
        transposed: bool = False,
        reports: bool = False,
    ):
        self.system, self.gradient, self.constants = system, gradient, constants
        self.aid, self.started = aid, started
        self.transpose, self.reports = transposed, reports

    def _split(self, arrays):
        constants = list(arrays[1 : 1 + self.constants])
        status = arrays[1 + self.constants]
        tail = 1 + REPORTS * self.reports
        receipts = list(arrays[len(arrays) - REPORTS :]) if self.reports else []
        b = arrays[len(arrays) - tail]
        extra = list(arrays[2 + self.constants : len(arrays) - tail])
        start = extra.pop() if self.started else None
        return arrays[0], constants, status, extra, start, b, receipts

    def mapped_everywhere(self, index, count):
        """The right-hand side and the receipts are."""
        return index >= count - 1 - REPORTS * self.reports

    def run(self, *arrays):
        """Solves, checks, and acts on what the check says."""
        x, constants, status, extra, start, b, receipts = self._split(arrays)
        shape, n = b.shape[:-1], b.shape[-1]
        lanes = math.prod(shape)
        rhs = b.reshape(lanes, n)
        if n == 0:
            return [
                b,
                *[jnp.ones_like(r) if i == 0 else r for i, r in enumerate(receipts)],
            ]
        # The size of the right-hand side must not matter, not even to overflow.
        largest = jnp.max(jnp.abs(rhs), 1, keepdims=True)
        scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
        plain = self._products(x, constants, shape)
        ridge = self.gradient.ridge

        def product(u):
            return plain(u) + ridge * u if ridge else plain(u)

        aid, invert = None, None
        if self.system.inverse is not None:
            invert = self._structured(x, constants, extra, shape)
        elif self.aid is not None:
            aid = self._aid(extra, shape)
            invert = self._factored(aid)
        shared = not self._distinct(len(arrays))
        begin = jnp.zeros_like(rhs)
        if start is not None and self.transpose:
            index = len(arrays) - 2 - REPORTS * self.reports
            begin = self._everywhere(start, index, shape, n) / scale
            # What failed once must not fail for ever.
            fine = jnp.all(jnp.isfinite(begin), 1, keepdims=True)
            begin = jnp.where(fine, begin, 0)

        def dense(kind):
            return factored(kind, self._matrix(product, lanes, n, shared, rhs.dtype))

        found = find(
            self.gradient,
            self.system,
            product,
            dense,
            rhs / scale,
            begin,
            aid,
            invert,
            self.transpose,
        )
        status = self._everywhere(status, 1 + self.constants, shape)
        failed = self._failed(found) | (status == LOST)
        u = found.u * scale
        match self.gradient.on_failure:
            case "zero":
                u = jnp.where(failed[:, None], 0, u)
            case "nan":
                u = jnp.where(failed[:, None], jnp.nan, u)
            case "raise":
                message = "a linear solve of an implicit derivative failed"
                u = eqx.error_if(u, jnp.any(failed), message)
        if not self.reports:
            return [u.reshape(b.shape)]
        figures = (
            jnp.ones(lanes),
            failed,
            found.iterations,
            found.residual,
            found.condition,
            found.error,
            status == KINK,
        )
        told = [
            jnp.broadcast_to(f, (lanes,)).reshape(shape).astype(r.dtype)
            for f, r in zip(figures, receipts, strict=True)
        ]
        return [u.reshape(b.shape), *told]

    def _failed(self, found: Solved):
        wrong = ~jnp.all(jnp.isfinite(found.u), 1)
        if self.gradient.mode in ("exact", "gauss_newton"):
            wrong = wrong | ~(found.error <= tolerance_of(self.gradient, found.u.dtype))
        return wrong

    def _distinct(self, count: int) -> bool:
        """Whether A differs between lanes."""
        head, tail = (
            1 + self.constants,
            count - 1 - REPORTS * self.reports - self.started,
        )
        return any(
            any(flags[:head]) or any(flags[head + 1 : tail]) for flags in self.levels
        )

    def _everywhere(self, array, index, shape, *trailing):
        """An argument with every mapped axis."""
        for place, flags in enumerate(reversed(self.levels)):
            if not flags[index]:
                array = jnp.expand_dims(array, place)
        return jnp.broadcast_to(array, (*shape, *array.shape[len(shape) :])).reshape(
            math.prod(shape), *trailing
        )

    def _aid(self, extra, shape):
        first = 2 + self.constants
        if self._distinct(
            first + len(extra) + 1 + REPORTS * self.reports + self.started
        ):
            leaves = [
                self._everywhere(e, first + i, shape, *e.shape[self._axes(first + i) :])
                for i, e in enumerate(extra)
            ]
        else:
            leaves = [e[None] for e in extra]
        return aid_from(str(self.aid), leaves)

    def _factored(self, aid: Factored):
        return lambda r: solved(aid, r[:, :, None], self.transpose)[:, :, 0]

    def _structured(self, x, constants, extra, shape):
        """Products with the system's own inverse."""
        inverse, count = self.system.inverse, len(constants)
        assert inverse is not None

        def one(r, x, *rest):
            return inverse(rest[:count], x, rest[count:], r, self.transpose)

        first = 2 + self.constants
        places = [*range(1, 1 + count), *range(first, first + len(extra))]
        mapped = self.over_lanes(one, [None, 0, *places])

        def apply(r):
            out = mapped(r.reshape(*shape, r.shape[1]), x, *constants, *extra)
            return out.reshape(r.shape)

        return apply

    def _axes(self, index):
        return sum(flags[index] for flags in self.levels)

    def _products(self, x, constants, shape):
        """Products with A (or A') of all lanes; the linearisation is done once."""
        n = x.shape[-1]
        count = 1 + self.constants + 1
        shared = not any(any(flags[: count - 1]) for flags in self.levels)
        places = [*range(1, 1 + self.constants)]
        if self.system.operator is not None:
            operator = self.system.operator

            def apply(u):
                if shared:
                    return jax.vmap(lambda one: operator(constants, x, one))(u)
                full = self.over_lanes(
                    lambda u, x, *c: operator(c, x, u), [None, 0, *places]
                )
                out = full(u.reshape(*shape, n), x, *constants)
                return out.reshape(-1, n)

            return apply
        full = self.over_lanes(
            lambda x, *c: self.system.residual(c, x), [None, *places]
        )
        at = x if shared else self._everywhere(x, 0, shape, n).reshape(*shape, n)

        def function(x):
            if shared:
                return self.system.residual(constants, x)
            return full(x, *constants)

        if self.transpose:
            _, pull = jax.vjp(function, at)

            def linear(u):
                return pull(u)[0]
        else:
            _, linear = jax.linearize(function, at)
        if shared:
            return jax.vmap(linear)
        return lambda u: linear(u.reshape(*shape, n)).reshape(-1, n)

    def _matrix(self, product, lanes, n, shared, dtype):
        if shared:
            like = jnp.zeros(n, dtype)
            return matrix_of_linear(lambda e: product(e[None])[0], like)[None]
        eye = jnp.eye(n, dtype=dtype)
        columns = jax.vmap(lambda e: product(jnp.broadcast_to(e, (lanes, n))))(eye)
        return jnp.transpose(columns, (1, 2, 0))

    def linearised(self, active, primals):
        """The tangent A^-1 (db - dA u), by the same solve."""
        results = bind(self, *primals)
        x, constants, status, extra, _, b, receipts = self._split(primals)
        head = 1 + self.constants
        where = [i for i in range(head) if active[i]]

        def push(tangents):
            given = iter(tangents)
            whole = [next(given) if is_active else None for is_active in active]
            b_t = whole[len(primals) - 1 - REPORTS * self.reports]
            rhs = jnp.zeros_like(b) if b_t is None else b_t
            if where:
                rhs = rhs - self._change(primals[:head], where, whole, results[0])
            tail = [
                jnp.zeros_like(r) if t is None else t
                for r, t in zip(
                    receipts, whole[len(primals) - len(receipts) :], strict=True
                )
            ]
            levels = tuple(
                tuple(f for i, f in enumerate(flags) if not self._is_start(i, flags))
                for flags in self.levels
            )
            same = self.alike(started=False, levels=levels)
            out = bind(same, x, *constants, status, *extra, rhs, *tail)
            return [out[0], *[None] * len(receipts)]

        return results, push

    def _is_start(self, index, flags):
        return self.started and index == len(flags) - 2 - REPORTS * self.reports

    def _change(self, head, where, tangents, u):
        """The change of A u along tangents of x and the constants."""

        def one(u, x, *constants):
            if self.system.operator is not None:
                return self.system.operator(constants, x, u)

            def function(x):
                return self.system.residual(constants, x)

            if self.transpose:
                return jax.vjp(function, x)[1](u)[0]
            return jax.jvp(function, (x,), (u,))[1]

        mapped = self.over_lanes(one, [None, *range(len(head))])

        def of_active(*values):
            whole = list(head)
            for index, value in zip(where, values, strict=True):
                whole[index] = value
            return mapped(u, *whole)

        _, change = jax.jvp(
            of_active, [head[i] for i in where], [tangents[i] for i in where]
        )
        return change

    def transposed(self, linear, cotangents, arguments):
        """The solve with the transpose; its report is the receipts' cotangent."""
        tail = 1 + REPORTS * self.reports
        reports = self.reports and linear[-1]
        fixed = list(arguments[: len(arguments) - tail])
        b = arguments[len(arguments) - tail]
        cotangent = cotangents[0]
        if cotangent is None:
            cotangent = jnp.zeros(b.shape, b.dtype)
        receipts = []
        if reports:
            receipts = [jnp.zeros(r.shape, r.dtype) for r in arguments[-REPORTS:]]
        levels = self.levels
        if self.reports and not reports:
            levels = tuple(flags[:-REPORTS] for flags in levels)
        other = self.alike(transpose=not self.transpose, reports=reports, levels=levels)
        out = bind(other, *fixed, cotangent, *receipts)
        told = out[1:] if reports else [None] * REPORTS * self.reports
        return [*[None] * len(fixed), out[0], *told]


def aid_leaves(aid: Factored) -> list[Array]:
    """The arrays of one matrix' factor, to be passed to a solve."""
    return [leaf[0] for leaf in jax.tree.leaves(tuple(aid)[1:])]


def aid_from(kind: str, leaves: Sequence[Array]) -> Factored:
    """The factor that `aid_leaves` took apart."""
    *factor, rows, columns, size = leaves
    whole = tuple(factor) if len(factor) > 1 else factor[0]
    return Factored(kind, whole, rows, columns, size)
