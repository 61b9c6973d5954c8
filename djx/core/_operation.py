"""Functions of arrays that bring their own rules for batching and derivatives."""

import functools as ft
from collections.abc import Sequence
from typing import Any

import jax
import jax.extend as jex
import jax.numpy as jnp
from jax.interpreters import ad, batching, mlir

from ._manual import varying_axes


class Operation:
    """A function of arrays: how it runs, how a batch of it runs, how it is linearised.

    JAX meets it as one primitive. `run` may hold while-loops that no transpose exists
    for: `linearised` and `transposed` say what to do instead. `reference` computes the
    same and can be differentiated in any mode to any order, if slowly; derivatives
    beyond those that a subclass provides go through it.
    """

    reusable = False
    """Whether operations that are equal are compiled once, also outside of `jit`."""

    def run(self, *arrays: Any) -> list[Any]:
        """The results."""
        raise NotImplementedError

    def reference(self, *arrays: Any) -> list[Any]:
        """The results, by operations that JAX can differentiate."""
        return self.run(*arrays)

    def expanded(self, size: int, dims: Sequence[Any], arrays: Sequence[Any]):
        """The same over one more axis, as an operation of its own.

        Args:
            size: of the axis.
            dims: where each argument has it; None for one without.
            arrays: the arguments.

        Returns:
            The operation, its arguments, where each of them now has the axis, and
            where the results have it: a number, or None to ask `result_dims`.
        """
        raise NotImplementedError

    def result_dims(self, arrays: Sequence[Any]) -> list[Any]:
        """Where an expanded operation's results have the axis; None for shared ones."""
        raise NotImplementedError

    def linearised(self, active: Sequence[bool], primals: Sequence[Any]):
        """Results, and a function from the active arguments' tangents to theirs.

        Args:
            active: which arguments have tangents.
            primals: the arguments.

        Returns:
            Results, and the function; it returns a tangent or None for each.
        """
        derivative = _Derivative(self, tuple(active))
        results = bind(self, *primals)

        def push(tangents):
            return bind(derivative, *primals, *tangents)

        return results, push

    def transposed(self, linear: Sequence[bool], cotangents, arguments):
        """Cotangents of the arguments that the function is linear in.

        Args:
            linear: which those are.
            cotangents: of the results; None for zero.
            arguments: values of the others.

        Returns:
            A list with None for the others.
        """
        shapes = [
            a for a, is_linear in zip(arguments, linear, strict=True) if is_linear
        ]

        def function(unknown):
            given = iter(unknown)
            whole = [
                next(given) if is_linear else a
                for a, is_linear in zip(arguments, linear, strict=True)
            ]
            return self.reference(*whole)

        whole = [
            jnp.zeros(s.shape, s.dtype) if c is None else c
            for c, s in zip(cotangents, jax.eval_shape(function, shapes), strict=True)
        ]
        (found,) = jax.linear_transpose(function, shapes)(whole)
        out = iter(found)
        return [next(out) if is_linear else None for is_linear in linear]


class Bilinear(Operation):
    """Linear in each of its first two arguments; one result."""

    def linearised(self, active, primals):
        """The rule of a product."""

        def push(tangents):
            given, total = iter(tangents), None
            for place in range(2):
                if active[place]:
                    changed = list(primals)
                    changed[place] = next(given)
                    (part,) = bind(self, *changed)
                    total = part if total is None else total + part
            return [total]

        return bind(self, *primals), push


class _Derivative(Operation):
    """The derivative of an operation along tangents of its active arguments."""

    def __init__(self, operation: Operation, active: tuple[bool, ...]):
        self.operation, self.active = operation, active

    def _push(self, function, arrays):
        count = len(self.active)
        primals, tangents = list(arrays[:count]), arrays[count:]
        where = [i for i, is_active in enumerate(self.active) if is_active]

        def of_active(*values):
            whole = list(primals)
            for index, value in zip(where, values, strict=True):
                whole[index] = value
            return function(*whole)

        # Whole numbers among the results have no tangent that could be passed on.
        _, out = jax.jvp(of_active, [primals[i] for i in where], list(tangents))
        return [jnp.zeros(t.shape) if t.dtype == jax.dtypes.float0 else t for t in out]

    def run(self, *arrays):
        return self._push(self.operation.run, arrays)

    def reference(self, *arrays):
        return self._push(self.operation.reference, arrays)

    def expanded(self, size, dims, arrays):
        # A tangent needs an argument of its own shape: what one has, both get.
        count, dims, arrays = len(self.active), list(dims), list(arrays)
        where = [i for i, is_active in enumerate(self.active) if is_active]
        for place, index in enumerate(where, count):
            pair = dims[index], dims[place]
            if pair == (None, None):
                continue
            for one in (index, place):
                arrays[one] = batching.bdim_at_front(arrays[one], dims[one], size)
                dims[one] = 0
        whole, primals, axes, out = self.operation.expanded(
            size, dims[:count], arrays[:count]
        )
        moved = [
            t if axes[index] is None else jnp.moveaxis(t, 0, axes[index])
            for index, t in zip(where, arrays[count:], strict=True)
        ]
        axes = [*axes, *[axes[index] for index in where]]
        return _Derivative(whole, self.active), [*primals, *moved], axes, out

    def result_dims(self, arrays):
        return self.operation.result_dims(arrays[: len(self.active)])


def bind(operation: Operation, *arrays: Any) -> list[Any]:
    """Applies an operation.

    Args:
        operation: which.
        arrays: its arguments.

    Returns:
        Its results.
    """
    return operation_p.bind(*arrays, operation=operation)


def _abstract(*avals, operation):
    # Whatever JAX knows of an argument besides its shape (the mesh axes that it varies
    # over, say) is passed on, and comes out right.
    return jax.make_jaxpr(operation.run)(*map(_shape_of, avals)).out_avals


def _shape_of(aval):
    known = {}
    if varying_axes(aval):
        known = {"sharding": aval.sharding, "manual_axis_type": aval.mat}
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, **known)


def _batch(arrays, dims, *, operation):
    pairs = zip(arrays, dims, strict=True)
    size = next(a.shape[d] for a, d in pairs if d is not None)
    whole, moved, _, axis = operation.expanded(size, dims, arrays)
    results = bind(whole, *moved)
    if axis is None:
        return results, whole.result_dims(moved)
    return results, [axis] * len(results)


def _jvp(primals, tangents, *, operation):
    active = [type(t) is not ad.Zero for t in tangents]
    results, push = operation.linearised(active, primals)
    out = push([t for t in tangents if type(t) is not ad.Zero])
    zeros = [
        ad.Zero(jax.typeof(r).to_tangent_aval())
        if t is None or not jnp.issubdtype(r.dtype, jnp.inexact)
        else t
        for r, t in zip(results, out, strict=True)
    ]
    return results, zeros


def _transpose(cotangents, *arguments, operation):
    linear = [ad.is_undefined_primal(a) for a in arguments]
    given = [
        jax.ShapeDtypeStruct(a.aval.shape, a.aval.dtype) if is_linear else a
        for a, is_linear in zip(arguments, linear, strict=True)
    ]
    cotangents = [None if type(c) is ad.Zero else c for c in cotangents]
    if all(c is None for c in cotangents):
        return [None] * len(arguments)
    return operation.transposed(linear, cotangents, given)


@ft.lru_cache(maxsize=256)
def _kept(operation):
    return jax.jit(operation.run)


def _alone(operation):
    """Compiled outside of any `jit`; what closes over arrays is not kept."""
    return _kept(operation) if operation.reusable else jax.jit(operation.run)


operation_p = jex.core.Primitive("djx_operation")
operation_p.multiple_results = True
operation_p.def_impl(lambda *arrays, operation: _alone(operation)(*arrays))
operation_p.def_abstract_eval(_abstract)
ad.primitive_jvps[operation_p] = _jvp
ad.primitive_transposes[operation_p] = _transpose
batching.primitive_batchers[operation_p] = _batch
mlir.register_lowering(
    operation_p,
    mlir.lower_fun(
        lambda *arrays, operation: operation.run(*arrays), multiple_results=True
    ),
)
