"""The experiment contract, and the usual case of it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from ..core import stream_key
from ..core.errors import ConfigError, Fault


State = PyTree
Metrics = Mapping[str, Array]


class Experiment(NamedTuple):
    """What the loop runs: pure functions, and a report made on the host."""

    init: Callable[[PRNGKeyArray], State]
    """Key to a pytree of arrays."""
    step: Callable[[State, Int[Array, ""], PRNGKeyArray], tuple[State, Metrics]]
    """One step, jittable; every scalar it returns is logged at every step."""
    evaluate: Callable[[State, PRNGKeyArray], Metrics] | None = None
    """Metrics of a state, jittable."""
    report: Callable[[Any, Any], None] | None = None
    """Figures, audio and tables from the results, after training."""


class TrainState(NamedTuple):
    """What `supervised` carries from step to step."""

    params: PyTree
    optimiser: PyTree
    average: PyTree
    data_key: PRNGKeyArray
    memory: PyTree = None
    adjoint: PyTree = None


def supervised(
    init: Callable[[PRNGKeyArray], PyTree],
    loss: Callable[..., tuple[Array, Any]],
    data: Callable[[PRNGKeyArray, Int[Array, ""]], PyTree],
    optimiser: optax.GradientTransformation,
    *,
    evaluate: Callable[[PyTree, PRNGKeyArray], Metrics] | None = None,
    report: Callable[[Any, Any], None] | None = None,
    ema: float | Array | None = None,
    precision: str = "float32",
    probe: PyTree = None,
    read_probe: Callable[[PyTree], Metrics] = lambda told: {},
    memory: Callable[[PyTree], PyTree] | None = None,
    adjoint: Callable[[PyTree], PyTree] | None = None,
) -> Experiment:
    """Gradient descent on a loss over batches.

    Args:
        init: key to model; its inexact arrays are trained.
        loss: `(model, batch, step, key)` to a scalar and a mapping of scalars.
        data: `(key, step)` to a batch; the key is one seed's, the same at every step.
        optimiser: an optax transformation.
        evaluate: `(model, key)` to metrics.
        report: passed on.
        ema: decay of averaged parameters, which evaluation then uses.
        precision: "bfloat16" runs the loss in that type on float32 parameters.
        probe: zeros that the loss takes as the keyword `probe`, in whose cotangent a
            backward pass reports: a receipt of `djx.implicit`, say.
        read_probe: that cotangent to scalars, which are logged at every step.
        memory: the first model to what a step leaves for the next: the solution of an
            inner problem, say, where the next solve starts. The loss takes it as the
            keyword `memory` and returns (metrics, memory) where it returns metrics
            else; it carries no derivatives.
        adjoint: the same for what a backward pass leaves: the first model to zeros
            where the first backward solve begins (`start` of `djx.implicit`). The loss
            takes it as the keyword `adjoint`, whose cotangent the next step is given.

    Returns:
        The experiment. Its state is a `TrainState`; `trained_model` gives the model.
    """

    def start(key):
        params = eqx.filter(init(stream_key(key, "model")), eqx.is_array)
        trained = eqx.filter(params, eqx.is_inexact_array)
        average = trained if ema is not None else None
        model = eqx.combine(params, _static(init))
        kept, backward = (
            None if first is None else jax.tree.map(_strong, first(model))
            for first in (memory, adjoint)
        )
        data_key = stream_key(key, "data")
        return TrainState(
            params, optimiser.init(trained), average, data_key, kept, backward
        )

    def step(state, index, key):
        static = _static(init)
        batch = data(state.data_key, index)
        trained, fixed = eqx.partition(state.params, eqx.is_inexact_array)

        def objective(trained, probe, adjoint):
            given = {} if probe is None else {"probe": probe}
            if adjoint is not None:
                given["adjoint"] = adjoint
            if memory is not None:
                given["memory"] = state.memory
            model = eqx.combine(trained, fixed, static)
            model, cast_batch = compute_cast((model, batch), precision)
            value, told = loss(model, cast_batch, index, key, **given)
            metrics, kept = told if memory is not None else (told, None)
            value = value.astype(jnp.promote_types(value.dtype, jnp.float32))
            return value, (metrics, jax.lax.stop_gradient(kept))

        both = jax.value_and_grad(objective, argnums=(0, 1, 2), has_aux=True)
        (value, (metrics, kept)), (grads, told, backward) = both(
            trained, probe, state.adjoint
        )
        updates, opt_state = optimiser.update(grads, state.optimiser, trained)
        trained = optax.apply_updates(trained, updates)
        average = state.average
        if ema is not None:
            average = optax.incremental_update(trained, average, 1 - ema)
            average = _as_types_of(average, trained)
        metrics = {"loss": value, **metrics}
        if probe is not None:
            metrics |= read_probe(told)
        new = TrainState(
            eqx.combine(trained, fixed),
            opt_state,
            average,
            state.data_key,
            kept,
            backward,
        )
        return new, metrics

    def evaluation(state, key):
        assert evaluate is not None
        return evaluate(trained_model(init, state), key)

    return Experiment(start, step, evaluation if evaluate else None, report)


def trained_model(init: Callable[[PRNGKeyArray], PyTree], state: TrainState) -> PyTree:
    """The model of a `supervised` state: averaged parameters where there are any.

    Args:
        init: the function that `supervised` was given.
        state: one lane's state.

    Returns:
        The model.
    """
    params = state.params
    if state.average is not None:
        params = eqx.combine(state.average, params)
    return eqx.combine(params, _static(init))


def compute_cast(tree: PyTree, precision: str) -> PyTree:
    """Casts floating arrays to the type that arithmetic runs in.

    Args:
        tree: any pytree.
        precision: "bfloat16" casts; "float32" and "float64" leave the tree alone.

    Returns:
        The tree.
    """
    if precision != "bfloat16":
        return tree

    def cast(leaf):
        return leaf.astype(jnp.bfloat16) if eqx.is_inexact_array(leaf) else leaf

    return jax.tree.map(cast, tree)


def epoch_batches(
    arrays: PyTree, batch: int
) -> Callable[[PRNGKeyArray, Int[Array, ""]], PyTree]:
    """Batches of arrays in memory, shuffled anew in every epoch.

    A batch is a function of the key and the step, so there is no iterator to save.
    The remainder of an epoch that fills no batch is left out of that epoch.

    Args:
        arrays: a pytree of arrays with one leading axis of examples.
        batch: examples per step.

    Returns:
        `data(key, step)` for `supervised`.

    Raises:
        ConfigError: where a batch is larger than the data.
    """
    size = len(jax.tree.leaves(arrays)[0])
    per_epoch = size // batch
    if per_epoch == 0:
        message = f"{batch} is more than the {size} examples that there are"
        raise ConfigError([Fault("config", "train.batch", message)])

    def data(key, step):
        epoch, position = step // per_epoch, step % per_epoch
        order = jr.permutation(jr.fold_in(key, epoch), size)
        index = jax.lax.dynamic_slice_in_dim(order, position * batch, batch)
        return jax.tree.map(lambda array: jnp.asarray(array)[index], arrays)

    return data


def _static(init):
    shapes = eqx.filter_eval_shape(init, jr.key(0))
    return eqx.partition(shapes, _is_shape)[1]


def _strong(leaf):
    # As the loss returns it: a weak type would be another one.
    leaf = jnp.asarray(leaf)
    return jax.lax.convert_element_type(leaf, leaf.dtype)


def _is_shape(leaf):
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _as_types_of(tree, like):
    return jax.tree.map(lambda a, b: a.astype(b.dtype), tree, like)
