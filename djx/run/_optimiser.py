"""optax optimisers from a config table."""

import inspect

import jax
import optax

from ..core.errors import ConfigError, did_you_mean, Fault
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
    rate = learning_rate(table, train.steps // table.accumulate)
    method = getattr(optax, table.name)
    _check_options(method, table)
    parts = []
    if table.clip_norm is not None:
        parts.append(optax.clip_by_global_norm(table.clip_norm))
    parts.append(method(rate, **table.options))
    if table.weight_decay is not None:
        parts.append(_decoupled_decay(table.weight_decay, rate))
    chained = optax.chain(*parts)
    if table.accumulate > 1:
        steps = optax.MultiSteps(chained, table.accumulate)
        return optax.GradientTransformation(steps.init, steps.update)
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
    match schedule:
        case None:
            return peak
        case Cosine():
            warmup = schedule.warmup_steps // table.accumulate
            rest = max(updates - warmup, 1)
            cosine = optax.cosine_decay_schedule(1.0, rest, schedule.final_fraction)
            rise = optax.linear_schedule(0.0, 1.0, warmup)
            shape = optax.join_schedules([rise, cosine], [warmup])
        case Exponential():

            def shape(count):
                return schedule.final_fraction ** (count / updates)

        case Linear():
            shape = optax.linear_schedule(1.0, schedule.final_fraction, updates)
    return lambda count: peak * shape(count)


def _decoupled_decay(weight_decay, rate) -> optax.GradientTransformation:
    decay = optax.add_decayed_weights(weight_decay)
    if callable(rate):
        scale = optax.scale_by_schedule(lambda count: -rate(count))
    else:
        scale = optax.scale(-rate)
    return _added(optax.chain(decay, scale))


def _added(term: optax.GradientTransformation) -> optax.GradientTransformation:
    """Adds what a transformation makes of a zero gradient to the running update."""
    def update(updates, state, params=None):
        zeros = jax.tree.map(lambda u: u * 0, updates)
        extra, state = term.update(zeros, state, params)
        return jax.tree.map(lambda a, b: a + b, updates, extra), state

    return optax.GradientTransformation(term.init, update)


def _check_options(method, table: Optimiser) -> None:
    known = set(inspect.signature(method).parameters) - {"learning_rate"}
    faults = [
        Fault(
            "[train.optimiser]",
            f"train.optimiser.options.{name}",
            f"optax.{table.name} takes no {name!r}{did_you_mean(name, known)}",
        )
        for name in table.options
        if name not in known
    ]
    if faults:
        raise ConfigError(faults)
