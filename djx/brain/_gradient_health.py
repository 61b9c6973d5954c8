"""How far back a gradient can be trusted: its norm against the horizon."""

import functools as ft
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree


RESCUE = 2.0**100  # within what any float can hold, near enough to its ends


class Health(NamedTuple):
    """A gradient's norm, by how many steps lie between cause and loss.

    Attributes:
        horizons: steps.
        losses: at their ends.
        log10_norms: of the gradients. -inf is for zero, nan for what no scale of the
            loss, up to 2^100 smaller or larger, keeps finite.
        finite: whether the gradient, as it is, has finite numbers only.
        growth_per_ms: slope of the norm's natural logarithm by time, fitted to all that
            are finite and not zero; nan of fewer than two. Of a gradient by the initial
            state it is near the largest Lyapunov exponent.
        verdict: "healthy", "explodes", "vanishes", "zero", "not finite" or "loss not
            finite".
        advice: what it means and what could be done, in one line; empty if healthy.
    """

    horizons: np.ndarray
    losses: np.ndarray
    log10_norms: np.ndarray
    finite: np.ndarray
    growth_per_ms: float
    verdict: str
    advice: str

    @property
    def first_not_finite(self) -> int | None:
        """The shortest horizon whose gradient, as it is, is not finite."""
        steps = self.horizons[~self.finite]
        return int(steps.min()) if steps.size else None


def gradient_health(
    loss_of_steps: Callable[[PyTree, int], Float[Array, ""]],
    argument: PyTree,
    horizons: Sequence[int],
    dt_ms: float = 1.0,
    limit: float = 1e3,
) -> Health:
    """Takes gradients over longer and longer runs, and warns where they are no use.

    Each horizon is a program of its own. Where a gradient is too large or too small for
    its floats, it is taken anew of a loss that is scaled by 2^100, so that norms are
    known far beyond what floats can hold. Nothing here can be traced.

    Args:
        loss_of_steps: from the argument and a number of steps to a scalar.
        argument: arrays by which to differentiate; of the initial state, if the growth
            is to be that of a disturbance.
        horizons: numbers of steps.
        dt_ms: length of a step.
        limit: by how many times the norm may differ between the shortest and the
            longest horizon.

    Returns:
        What was found; a line of advice is given as a warning as well.

    Raises:
        ValueError: where there are no horizons, or nothing to differentiate by.
    """
    horizons = sorted({int(h) for h in horizons})
    if not horizons or horizons[0] < 1:
        raise ValueError(f"horizons={horizons}: some numbers of steps, from 1 on")
    kinds = [jnp.result_type(leaf) for leaf in jax.tree.leaves(argument)]
    if not kinds or not all(jnp.issubdtype(kind, jnp.inexact) for kind in kinds):
        raise ValueError(
            f"argument: arrays of real numbers, not {[str(k) for k in kinds]}; leave "
            "others to loss_of_steps"
        )
    rows = [_at(loss_of_steps, argument, steps) for steps in horizons]
    losses, norms, finite = map(np.asarray, zip(*rows, strict=True))
    growth_per_ms = _growth(np.asarray(horizons) * dt_ms, norms)
    verdict, advice = _judged(
        horizons, losses, norms, finite, growth_per_ms, dt_ms, limit
    )
    found = Health(
        np.asarray(horizons), losses, norms, finite, growth_per_ms, verdict, advice
    )
    if found.advice:
        warnings.warn(found.advice, stacklevel=2)
    return found


def _at(loss_of_steps, argument, steps):
    """Loss, decimal logarithm of the gradient's norm, and whether that is finite."""

    @jax.jit
    def gradient(argument, scale):
        loss, pull = jax.vjp(ft.partial(_scalar, loss_of_steps, steps), argument)
        return loss, pull(scale.astype(loss.dtype))[0]

    loss, plain = gradient(argument, jnp.asarray(1.0))
    norm = _log10_norm(plain)
    finite = not np.isnan(norm)
    if not np.isfinite(norm):
        # What flows back is linear in what it begins with: of zeros in a larger one,
        # of what is not finite in a smaller one.
        scale = RESCUE if finite else 1 / RESCUE
        norm = _log10_norm(gradient(argument, jnp.asarray(scale))[1]) - np.log10(scale)
    return float(loss), norm, finite


def _scalar(loss_of_steps, steps, argument):
    loss = jnp.asarray(loss_of_steps(argument, steps))
    if loss.shape != () or not jnp.issubdtype(loss.dtype, jnp.floating):
        raise ValueError(
            f"loss_of_steps: to a real scalar, not to {loss.dtype} of {loss.shape}"
        )
    return loss


def _log10_norm(tree: Any) -> float:
    """In doubles, of the largest times a sum of squares below 1: nan if not finite."""
    leaves = [np.abs(np.asarray(x)).astype(float) for x in jax.tree.leaves(tree)]
    most = np.max([np.max(x, initial=0) for x in leaves])
    if not np.isfinite(most):
        return np.nan
    if most == 0:
        return -np.inf
    return np.log10(most) + np.log10(sum(np.sum((x / most) ** 2) for x in leaves)) / 2


def _growth(times_ms, log10_norms):
    there = np.isfinite(log10_norms)
    if there.sum() < 2:
        return np.nan
    line = np.polyfit(times_ms[there], log10_norms[there] * np.log(10), 1)
    return float(line[0])


def _judged(horizons, losses, norms, finite, growth_per_ms, dt_ms, limit):
    """A verdict and a line of advice."""

    def at(steps):
        return f"{steps} step{'s' * (steps > 1)} ({steps * dt_ms:.4g} ms)"

    if not np.all(np.isfinite(losses)):
        first = horizons[int(np.argmin(np.isfinite(losses)))]
        return "loss not finite", (
            f"the loss itself is not finite over {at(first)}: no gradient can be; "
            "shorten dt_ms, or look at what drives the run"
        )
    if np.all(norms == -np.inf):
        return "zero", (
            "the gradient is zero over all horizons: nothing leads from the argument "
            "to the loss but spikes without a slope, perhaps; give a surrogate"
        )
    known = np.isfinite(norms)
    grows = growth_per_ms > 0
    if not finite.all() and not grows:
        first = horizons[int(np.argmin(finite))]
        return "not finite", (
            f"the gradient is not finite over {at(first)}, and not by growth: look for "
            "0 / 0 or the slope of a root at 0 (jax_debug_nans)"
        )
    last = int(np.flatnonzero(known)[-1])
    change = norms[last] - norms[known][0]
    reached = f"to a norm of 10^{norms[last]:.1f} over {at(horizons[last])}"
    if grows and (change > np.log10(limit) or not finite.all()):
        beyond, efolds = "", growth_per_ms * dt_ms
        if not finite.all():
            first = horizons[int(np.argmin(finite))]
            beyond = f", beyond what its floats can hold from {at(first)} on"
        return "explodes" if finite.all() else "not finite", (
            f"the gradient grows e-fold each {1 / growth_per_ms:.3g} ms, {reached}"
            f"{beyond}: damp it (by {np.exp(-efolds):.3g} a step), truncate it (after "
            f"{max(int(np.log(limit) / efolds), 1)} steps), or detach resets or "
            "recurrence"
        )
    if norms[-1] == -np.inf or change < -np.log10(limit):
        return "vanishes", (
            f"the gradient shrinks, {reached} and at {growth_per_ms:.3g} e-folds a ms: "
            "what is further back has no say; give the network a slower variable, or a "
            "wider surrogate"
        )
    return "healthy", ""
