"""The gauntlet run by djx."""

# pyright: reportArgumentType=false

import functools
from typing import Any

import jax
import numpy as np

from djx import implicit

from ..implicit_gauntlet import Answer
from ..implicit_gauntlet_cases import Case
from .gauntlet_problems import arrays, PROBLEMS


def solved(case: Case, theta, data, **options) -> tuple[Any, Any]:
    """The solution and its result.

    Args:
        case: the problem.
        theta: what it depends on.
        data: of the lane.
        **options: `receipt` and `gradient`.

    Returns:
        x and a result of djx.
    """
    if case.kind == "program":
        constraints = (data[key] for key in "AbGh")
        found = implicit.qp(data["Q"], theta, *constraints, **options)
        return found.value.x, found.result
    more, start = case.data, data["start"]

    def function(x, theta):
        return PROBLEMS[case.kind].function(x, theta, data)

    match case.kind:
        case "minimum":
            if more["steps"]:
                options = options | {"solver": _descent(more["rate"], more["steps"])}
            if more["max_steps"]:
                options = options | {"max_steps": more["max_steps"]}
            found = implicit.argmin(function, start, theta, **options)
        case "root":
            found = implicit.root(function, start, theta, **options)
        case "squares":
            found = implicit.least_squares(function, start, theta, **options)
        case "fixed_point":
            steps = {"max_steps": more["steps"]} if more["steps"] else {}
            found = implicit.fixed_point(function, start, theta, **steps, **options)
        case _:
            found = implicit.proximal_argmin(
                function, implicit.prox.l1, start, theta, **options
            )
    return found.value, found.result


def _descent(rate: float, steps: int):
    """A solver of the caller's own."""

    def descend(function, x):
        slope = jax.grad(function)
        return implicit.descent.iterate(steps)(lambda x: x - rate * slope(x), x)

    return descend


def by_djx(case: Case, asked: bool = True) -> Answer:
    """Every solver at its defaults; asked for receipts, or for its result alone."""
    data, theta, axes = arrays(case)

    def loss(theta, receipt, data, gradient=None):
        options = {"receipt": receipt} if asked else {}
        x, result = solved(case, theta, data, gradient=gradient, **options)
        if case.kind == "program":
            value = data["w"] @ x
        else:
            value = PROBLEMS[case.kind].loss(x, data)
        return value, (x, result != implicit.RESULTS.successful)

    both = jax.grad(loss, argnums=(0, 1), has_aux=True)
    receipt = implicit.Receipt.zeros(case.theta.shape[:1] if case.lanes else ())
    if case.lanes:
        both = jax.vmap(both, in_axes=(0, 0, axes))
    (gradient, receipt), (x, lost) = jax.jit(both)(theta, receipt, data)
    signs = {"status": lost}
    if asked:
        signs["receipt"] = (receipt.failed > 0) & ~lost
        signs["kink"] = receipt.kinks > 0
    if asked and case.kind == "minimum" and case.data["steps"]:
        zeros = implicit.Receipt.zeros()
        certified = implicit.value_and_grad(
            lambda theta, gradient: loss(theta, zeros, data, gradient)[0]
        )
        _, _, certificate = jax.jit(certified)(theta)
        signs[f"certificate {float(certificate.relative):.1g}"] = (
            certificate.relative > case.tolerance
        )
    said = {word: np.asarray(sign) for word, sign in signs.items()}
    how = ", ".join(word for word, sign in said.items() if np.any(sign))
    told = functools.reduce(np.logical_or, said.values())
    return Answer(np.asarray(gradient), np.asarray(x), told, how)


LIBRARIES = {
    "djx": by_djx,
    "djx, unasked": functools.partial(by_djx, asked=False),
}
