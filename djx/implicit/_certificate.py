"""How wrong a hypergradient is."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._gradient import Gradient


class Certificate(eqx.Module):
    """The estimated error of a gradient through implicit solves.

    Attributes:
        error: Euclidean norm of the difference from the corrected gradient.
        relative: that over the norm of the corrected gradient.
    """

    error: Float[Array, ""]
    relative: Float[Array, ""]


def value_and_grad(
    loss: Callable[..., Any],
    *,
    gradient: Gradient | None = None,
    certify: Literal["off", "estimate", "correct"] = "estimate",
    has_aux: bool = False,
) -> Callable[..., tuple[Any, PyTree, Certificate | None]]:
    """Like `jax.value_and_grad`, with an estimate of the gradient's error.

    The gradient is computed a second time, with every solution moved by one Newton step
    and every adjoint solved to rounding. Their difference estimates the error of the
    first, and the second is right to second order in the error of the solutions (Ye et
    al. 2024). Costs one more gradient.

    Args:
        loss: of parameters and further arguments, to one number; it hands the keyword
            `gradient` on to the solves in it.
        gradient: how the solves differentiate.
        certify: "off": no second gradient. "estimate": return the first. "correct":
            return the second.
        has_aux: whether the loss also returns something else.

    Returns:
        A function with the loss' arguments that returns its value, the gradient with
        respect to the first argument, and the certificate (None if "off").

    Raises:
        ValueError: where `certify` is none of the three.
    """
    if certify not in ("off", "estimate", "correct"):
        raise ValueError(
            f"certify={certify!r}: choose from 'off', 'estimate', 'correct'"
        )
    plain = gradient or Gradient()
    tight = dataclasses.replace(
        plain,
        mode="exact",
        ridge=0.0,
        tolerance=float(jnp.finfo(jnp.result_type(float)).eps) ** 0.75,
        on_failure="report",
        refinements=max(plain.refinements, 2),
        certify="correct",
    )

    def of(how):
        return jax.value_and_grad(
            lambda params, *args: loss(params, *args, gradient=how), has_aux=has_aux
        )

    def run(params, *args):
        value, found = of(plain)(params, *args)
        if certify == "off":
            return value, found, None
        _, better = of(tight)(params, *args)
        difference = _norm(jax.tree.map(lambda a, b: a - b, found, better))
        size = _norm(better)
        relative = difference / jnp.where(size > 0, size, 1)
        certificate = Certificate(difference, relative)
        return value, better if certify == "correct" else found, certificate

    return run


def _norm(tree):
    leaves = [leaf for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)]
    return jnp.sqrt(sum((jnp.sum(jnp.abs(v) ** 2) for v in leaves), jnp.zeros(())))
