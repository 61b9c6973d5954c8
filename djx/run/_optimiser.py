"""optax optimisers from a config table."""

import functools as ft
import inspect
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..core.errors import ConfigError, did_you_mean, Fault
from ._read import dotted
from ._schema import Cosine, Exponential, Linear, Optimiser, Train


def make_optimiser(train: Train) -> optax.GradientTransformation:
    """Builds the optimiser of `[train.optimiser]`.

    Clipping comes first, then the method, then decoupled weight decay; accumulation
    wraps all of it, so a clipped norm is that of the averaged gradient.

    Args:
        train: the validated table; learning rates and the like may be traced.

    Returns:
        An optax transformation.

    Raises:
        ConfigError: where `options` names no argument of the optax function.
    """
    table = train.optimiser
    faults = [
        Fault("config", dotted(("train", "optimiser", "options", name)), message)
        for name, message in option_faults(
            table.name, table.options, table.weight_decay
        ).items()
    ]
    if faults:
        raise ConfigError(faults)
    rate = learning_rate(table, max(train.steps // table.accumulate, 1))
    method = getattr(optax, table.name)
    options = dict(table.options)
    if table.weight_decay is not None and "weight_decay" in _options_of(method):
        options["weight_decay"] = 0.0  # the method's default would come on top
    parts = []
    if table.clip_norm is not None:
        parts.append(optax.clip_by_global_norm(table.clip_norm))
    parts.append(method(rate, **options))
    if table.weight_decay is not None:
        parts.append(_decoupled_decay(table.weight_decay, rate))
    chained = optax.chain(*parts)
    if table.accumulate > 1:
        return optax.MultiSteps(chained, table.accumulate).gradient_transformation()
    return chained


def learning_rate(table: Optimiser, updates: int) -> optax.ScalarOrSchedule:
    """The learning rate as optax takes it.

    Args:
        table: the optimiser's table.
        updates: how many updates the schedule spans.

    Returns:
        A number, or a function of the update's index.
    """
    peak, schedule = table.learning_rate, table.schedule
    shape: Any
    match schedule:
        case None:
            return peak
        case Cosine():
            warmup = schedule.warmup_steps // table.accumulate
            rest = max(updates - warmup, 1)
            shape = optax.cosine_decay_schedule(1.0, rest, schedule.final_fraction)
            if warmup:
                rise = optax.linear_schedule(0.0, 1.0, warmup)
                shape = optax.join_schedules([rise, shape], [warmup])
        case Exponential():
            shape = ft.partial(_exponential, schedule.final_fraction, updates)
        case Linear():
            shape = optax.linear_schedule(1.0, schedule.final_fraction, updates)
    return lambda count: peak * shape(count)


def _exponential(final, updates, count):
    return final ** (count / updates)


def _decoupled_decay(weight_decay, rate) -> optax.GradientTransformation:
    decay = optax.add_decayed_weights(weight_decay)
    if callable(rate):
        scale = optax.scale_by_schedule(lambda count: -1.0 * jnp.asarray(rate(count)))
    else:
        scale = optax.scale(-rate)
    return _added(optax.chain(decay, scale))


def _added(term: optax.GradientTransformation) -> optax.GradientTransformation:
    """Adds what a transformation makes of a zero gradient to the running update."""

    def update(updates, state, params=None):
        zeros = jax.tree.map(jnp.zeros_like, updates)
        extra, state = term.update(zeros, state, params)
        return jax.tree.map(lambda a, b: a + b, updates, extra), state

    return optax.GradientTransformation(term.init, update)


def option_faults(
    method: str, options: Iterable[str], weight_decay: Any
) -> dict[str, str]:
    """Finds the options that an optax function does not take.

    Args:
        method: the function's name.
        options: names of keyword arguments.
        weight_decay: the table's own, if any.

    Returns:
        What is wrong, by option.
    """
    known = _options_of(getattr(optax, method))
    faults = {}
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known)
            faults[name] = f"optax.{method} takes no {name!r}{hint}"
        elif name == "weight_decay" and weight_decay is not None:
            faults[name] = "train.optimiser.weight_decay is given too; keep one"
    return faults


def _options_of(method) -> set[str]:
    """The arguments that are numbers or switches."""
    names = set(inspect.signature(method).parameters) - {"learning_rate"}
    return {name for name in names if not name.endswith(("dtype", "mask"))}
