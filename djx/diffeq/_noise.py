"""What drives each step of a fixed grid, drawn for many steps at a time."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._brownian import BulkBrownianPath, CHUNK
from ._setup import Span, Turned


def path_of(term: Any) -> Any:
    """What drives a term: its path, also behind a term of djx's around it."""
    control = getattr(term, "control", None)
    inner = getattr(term, "term", None)
    return path_of(inner) if control is None and inner is not None else control


def is_bulk(term: Any) -> bool:
    """Whether a term's noise belongs to steps, not to times."""
    return isinstance(path_of(term), BulkBrownianPath)


def terms_of(terms: Any) -> list[Any]:
    """The single terms of a sum."""
    if isinstance(terms, diffrax.MultiTerm):
        return [one for term in terms.terms for one in terms_of(term)]
    return [terms]


def is_stochastic(terms: Any) -> bool:
    """Whether some term is driven by Brownian motion."""
    paths = [path_of(term) for term in terms_of(terms)]
    return any(isinstance(path, diffrax.AbstractBrownianPath) for path in paths)


def controls(term: Any, span: Span, first: Any, t0: Any, t1: Any) -> PyTree:
    """The controls of consecutive steps.

    Args:
        term: a term, or a sum of terms: then a tuple comes back.
        span: the interval.
        first: index of the first step, a multiple of `CHUNK`.
        t0: starts of the steps, shape (n,).
        t1: their ends.

    Returns:
        The controls with a leading axis of n.
    """
    if isinstance(term, diffrax.MultiTerm):
        return tuple(controls(one, span, first, t0, t1) for one in term.terms)
    if not is_bulk(term):
        if type(term) is diffrax.ODETerm:
            h = t1 - t0
            return h if span.forwards else h * span.direction
        return jax.vmap(Turned(term, span).contr)(t0, t1)
    count = t0.shape[0]
    chunks = -(-count // CHUNK)
    drawn = jax.vmap(path_of(term).normals)(first // CHUNK + jnp.arange(chunks))
    root = jnp.sqrt(t1 - t0)
    sign = 1 if span.forwards else span.direction

    def scale(normal):
        normal = normal.reshape(-1, *normal.shape[2:])[:count]
        wide = jnp.expand_dims(root, tuple(range(1, normal.ndim)))
        return normal * (sign * wide).astype(normal.dtype)

    return jax.tree.map(scale, drawn)
