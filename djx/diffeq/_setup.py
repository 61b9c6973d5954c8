"""From diffrax's arguments to the engine's: types, direction, one trace."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import PyTree

from ..core import varying_alike
from ._step import close, Equation


class Span(NamedTuple):
    """The interval of a solve, turned so that time runs upwards."""

    t0: Any
    t1: Any
    dt0: Any
    direction: Any
    """1 or -1; a whole number where it is known before tracing."""

    @property
    def forwards(self) -> bool:
        """Whether time is known to run upwards already."""
        return isinstance(self.direction, int) and self.direction == 1

    def turned(self, t: Any) -> Any:
        """A time of the caller's in the engine's sense, and back."""
        return t if self.forwards else t * self.direction


def concrete(*values: Any) -> bool:
    """Whether all values are known before tracing."""
    return not any(isinstance(v, Tracer) for v in values)


def span(t0: Any, t1: Any, dt0: Any, ts: list[Any], *, direction: int | None) -> Span:
    """Gives times one type and one direction.

    Args:
        t0: start.
        t1: end.
        dt0: first step, or None.
        ts: arrays of times to save at, for their type.
        direction: 1 or -1 where it is known before tracing.

    Returns:
        The interval.

    Raises:
        ValueError: for times that are not real.
    """
    given = [x for x in (t0, t1, dt0, *ts) if x is not None]
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*given)
    if jnp.issubdtype(dtype, jnp.integer):
        dtype = jnp.result_type(float)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"times must be real numbers; t0, t1, dt0 or ts are {dtype}")
    start, end = jnp.asarray(t0, dtype), jnp.asarray(t1, dtype)
    step = None if dt0 is None else jnp.asarray(dt0, dtype)
    if direction == 1:
        return Span(start, end, step, 1)
    sign = jnp.where(start < end, 1, -1) if direction is None else direction
    step = None if step is None else step * sign
    return Span(start * sign, end * sign, step, sign)


def promoted(y0: PyTree, dtype: Any) -> PyTree:
    """The state as arrays whose type holds the times too."""

    def promote(leaf):
        with jax.numpy_dtype_promotion("standard"):
            return jnp.asarray(leaf, jnp.result_type(leaf, dtype))

    return jax.tree.map(promote, y0)


class Turned(diffrax.AbstractTerm):
    """A term whose time may run downwards, seen with time running upwards."""

    term: diffrax.AbstractTerm
    span: Span

    def vf(self, t, y, args):
        return self.term.vf(self.span.turned(t), y, args)

    def contr(self, t0, t1, **kwargs):
        if self.span.forwards:
            return self.term.contr(t0, t1, **kwargs)
        sign = self.span.direction
        start, end = jnp.where(sign == 1, t0, -t1), jnp.where(sign == 1, t1, -t0)
        control = self.term.contr(start, end, **kwargs)
        return jax.tree.map(lambda c: sign * c, control)

    def prod(self, vf, control):
        with jax.numpy_dtype_promotion("standard"):
            return self.term.prod(vf, control)

    def vf_prod(self, t, y, args, control):
        with jax.numpy_dtype_promotion("standard"):
            return self.term.vf_prod(self.span.turned(t), y, args, control)


def equation_of(
    term: Any, span: Span, y0: PyTree, args: Any, *, control: Any = None
) -> tuple[Equation, list[Any]]:
    """Traces a term's field once.

    Args:
        term: an ODE term, a control term or a sum of such.
        span: the interval.
        y0: initial state.
        args: the field's arguments.
        control: an example of the control where the term's own path has none.

    Returns:
        The equation, and its constants: every array that the field depends on.
    """
    turned = Turned(term, span)
    sources = (y0, args, term, span)
    time, y = varying_alike((span.t0, y0), sources)
    field, of_field = close(lambda t, y: turned.vf(t, y, args), time, y)
    count = len(of_field)
    value = jax.eval_shape(field, of_field, time, y)

    def evaluate(constants, t, y):
        return field(constants[:count], t, y)

    if type(term) is diffrax.ODETerm:
        sign = span.direction

        def length(constants, t0, t1):
            return t1 - t0 if span.forwards else (t1 - t0) * constants[count]

        def scale(constants, f, h):
            return jax.tree.map(lambda v: h.astype(v.dtype) * v, f)

        constants = of_field if span.forwards else [*of_field, jnp.asarray(sign)]
        return Equation(evaluate, length, scale), constants

    path, of_path = _undriven, []
    if control is None:
        path, of_path = close(lambda a, b: turned.contr(a, b), time, time)
        control = jax.eval_shape(path, of_path, time, time)
    middle = count + len(of_path)

    def drive(constants, t0, t1):
        return path(constants[count:middle], t0, t1)

    example = varying_alike(jax.tree.map(zeros_like, (value, control)), sources)
    product, of_product = close(turned.prod, *example)

    def times(constants, f, control):
        return product(constants[middle:], f, control)

    return Equation(evaluate, drive, times), [*of_field, *of_path, *of_product]


def _undriven(*_: Any) -> Any:
    raise AssertionError("the control of a step is passed where a path has no times")


def zeros_like(shape: Any) -> Any:
    """Zeros of a shape and type."""
    return jnp.zeros(shape.shape, shape.dtype)


def arrays_of(tree: PyTree) -> tuple[PyTree, PyTree]:
    """Splits a tree into its arrays and the rest."""
    return eqx.partition(tree, eqx.is_array)
