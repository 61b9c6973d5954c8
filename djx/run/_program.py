"""One compiled program for the lanes (arm x seed) that share their code and shapes."""

import functools as ft
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jax import core as jax_core
from jax.extend.core import ClosedJaxpr
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from ..core import give_memory_back, leaf_names, seed_keys, stream_key
from ._experiment import Experiment
from ._schema import Config, traced_values, with_values


_LONG_CALL = 1000  # steps that one call can hold, where the config does not say

_LANES, _REPLICATED = PartitionSpec("lanes"), PartitionSpec()

Lanes = list[Array]  # the leaves of the state, each with a leading axis of lanes


class Traced(NamedTuple):
    """A function of one lane, traced once; its closed-over arrays are arguments."""

    jaxpr: ClosedJaxpr
    out: PyTree

    def __call__(self, consts: Sequence[Array], *args: PyTree) -> PyTree:
        flat = jax.tree.leaves(args)
        out = jax_core.eval_jaxpr(self.jaxpr.jaxpr, consts, *flat)
        arrays = map(jnp.asarray, out)  # an output may be a constant of the trace
        return jax.tree.unflatten(jax.tree.structure(self.out), arrays)


class Program:
    """The lanes of some arms: how they start, advance and are evaluated.

    The experiment's functions are traced once, for one lane; batching, turn-taking
    and sharding are applied to what was traced. Arrays that they close over (data)
    become arguments, so they are neither copied into the executable nor part of its
    cache key.
    """

    def __init__(
        self,
        arms: Mapping[str, Config],
        build: Callable[[Any], Experiment],
    ):
        self.arms, self.configs = list(arms), dict(arms)
        self.config = next(iter(arms.values()))
        self.build = build
        train = self.config.train
        self.chunk = train.chunk or -(-_LONG_CALL // train.log_every) * train.log_every
        self.chunk = min(self.chunk, max(train.steps, 1))
        self.seeds = self.config.seed_list()
        self.lanes = [(arm, seed) for arm in self.arms for seed in self.seeds]
        self.devices = jax.devices()[: min(train.shards, len(self.lanes))]
        self.seconds: dict[str, float] = {}
        # A last odd lane is repeated so that every device holds as many.
        padded = -(-len(self.lanes) // len(self.devices)) * len(self.devices)
        pad = [0] * (padded - len(self.lanes))
        self._index = np.asarray([*range(len(self.lanes)), *pad])
        values = [traced_values(arms[arm]) for arm, _ in self.lanes]
        self._mesh = Mesh(np.asarray(self.devices), ("lanes",))
        with self.precision():
            lanes = NamedSharding(self._mesh, _LANES)
            hyper = jax.tree.map(
                lambda *leaves: np.asarray(leaves, jnp.result_type(float))[self._index],
                *values,
            )
            self._hyper = jax.device_put(hyper, lanes)
            roots = seed_keys([seed for _, seed in self.lanes])[self._index]
            self._roots = jax.device_put(roots, lanes)

    def precision(self) -> AbstractContextManager:
        """The float width that this program's config asks for."""
        return jax.enable_x64(self.config.train.precision == "float64")

    # Tracing: each of these once.

    @ft.cached_property
    def _traced_init(self) -> Traced:
        def init(hyper, root):
            return self._experiment(hyper).init(stream_key(root, "init"))

        return self._trace(init, self._one(self._hyper), self._one(self._roots))

    @ft.cached_property
    def _traced_step(self) -> Traced:
        def step(leaves, index, hyper, root):
            state = jax.tree.unflatten(self._treedef, leaves)
            key = stream_key(root, "step", index)
            new, metrics = self._experiment(hyper).step(state, index, key)
            return self._check_state(state, new), _scalars(metrics)

        return self._trace(step, *self._step_arguments())

    @ft.cached_property
    def _traced_evaluate(self) -> Traced:
        def evaluate(leaves, index, hyper, root):
            state = jax.tree.unflatten(self._treedef, leaves)
            experiment = self._experiment(hyper)
            if experiment.evaluate is None:
                return {}
            return dict(experiment.evaluate(state, stream_key(root, "eval", index)))

        return self._trace(evaluate, *self._step_arguments())

    def _trace(self, function: Callable, *args: PyTree) -> Traced:
        began = time.perf_counter()
        with self.precision():
            jaxpr, out = jax.make_jaxpr(function, return_shape=True)(*args)
        self._spend("trace", time.perf_counter() - began)
        return Traced(jaxpr, out)

    def _experiment(self, hyper: Mapping[str, Any]) -> Experiment:
        return self.build(with_values(self.config, dict(hyper)))

    def _step_arguments(self):
        leaves = [_strong(leaf) for leaf in jax.tree.leaves(self._traced_init.out)]
        index = jax.ShapeDtypeStruct((), jnp.int32)
        return leaves, index, self._one(self._hyper), self._one(self._roots)

    def _one(self, lanes: PyTree) -> PyTree:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), lanes)

    @property
    def _treedef(self):
        return jax.tree.structure(self._traced_init.out)

    def _check_state(self, old: PyTree, new: PyTree) -> list[Array]:
        if jax.tree.structure(new) != self._treedef:
            raise TypeError(
                "step returned a state of another structure than init: "
                f"{jax.tree.structure(new)} instead of {self._treedef}"
            )
        pairs = zip(
            leaf_names(old), jax.tree.leaves(old), jax.tree.leaves(new), strict=True
        )
        leaves = []
        for name, before, after in pairs:
            if (before.shape, before.dtype) != (jnp.shape(after), after.dtype):
                raise TypeError(
                    f"step changed {name} from {before.dtype}{before.shape} to "
                    f"{after.dtype}{jnp.shape(after)}; the loop needs both alike"
                )
            leaves.append(after)
        return leaves

    # What the outside asks.

    @property
    def metric_names(self) -> dict[str, np.dtype]:
        """Metrics of every step, with their types."""
        return {name: leaf.dtype for name, leaf in self._traced_step.out[1].items()}

    @property
    def evaluated_names(self) -> dict[str, tuple[int, ...]]:
        """Metrics of an evaluation, with their shapes."""
        return {name: leaf.shape for name, leaf in self._traced_evaluate.out.items()}

    @property
    def evaluated_types(self) -> dict[str, np.dtype]:
        """Metrics of an evaluation, with their types."""
        return {name: leaf.dtype for name, leaf in self._traced_evaluate.out.items()}

    @property
    def state_shapes(self) -> PyTree:
        """Shapes and types of one lane's state."""
        return self._traced_init.out

    def start(self) -> Lanes:
        """The state of every lane before the first step."""
        traced = self._traced_init

        def init(consts, hyper, roots):
            return jax.tree.leaves(self._each(traced, consts, (0, 0), hyper, roots))

        run = self._compile(init, traced, self._hyper, self._roots)
        return run(self._consts(traced), self._hyper, self._roots)

    @ft.cached_property
    def _advance(self):
        traced, mapped = self._traced_step, self._in_turn
        stops = self.config.train.early_stop is not None

        def one_lane(consts, leaves, hyper, root, start, count):
            def body(i, carry):
                leaves, rows = carry
                new, metrics = traced(consts, leaves, start + i, hyper, root)
                return new, {k: rows[k].at[i].set(metrics[k]) for k in rows}

            rows = {k: _rows(v, (self.chunk,)) for k, v in traced.out[1].items()}
            return lax.fori_loop(0, count, body, (leaves, rows))

        def batched(consts, leaves, hyper, roots, start, counts):
            lanes = len(counts)
            step = jax.vmap(ft.partial(traced, consts), in_axes=(0, None, 0, 0))

            def body(i, carry):
                leaves, rows = carry
                new, metrics = step(leaves, start + i, hyper, roots)
                if stops:  # a lane that has stopped keeps its state
                    new = jax.tree.map(ft.partial(_where, i < counts), new, leaves)
                return new, {k: rows[k].at[i].set(metrics[k]) for k in rows}

            rows = {k: _rows(v, (self.chunk, lanes)) for k, v in traced.out[1].items()}
            leaves, rows = lax.fori_loop(0, jnp.max(counts), body, (leaves, rows))
            return leaves, {k: v.T for k, v in rows.items()}

        def advance(consts, leaves, hyper, roots, start, counts):
            if not mapped:
                return batched(consts, leaves, hyper, roots, start, counts)

            def lane(xs):
                leaves, hyper, root, count = xs
                return one_lane(consts, leaves, hyper, root, start, count)

            return self._turns(lane, (leaves, hyper, roots, counts))

        counts = np.zeros(len(self._index), np.int32)
        shapes = self._lane_shapes()
        args = (shapes, self._hyper, self._roots, np.int32(0), counts)
        return self._compile(advance, traced, *args, donate=(1,))

    @ft.cached_property
    def _evaluator(self):
        traced = self._traced_evaluate

        def evaluate(consts, leaves, hyper, roots, index):
            args = (leaves, index, hyper, roots)
            return self._each(traced, consts, (0, None, 0, 0), *args)

        args = (self._lane_shapes(), self._hyper, self._roots, np.int32(0))
        return self._compile(evaluate, traced, *args)

    def compile(self) -> None:
        """Traces and compiles everything, so that timings after it are of running."""
        _ = self._advance, self._evaluator

    def advance(self, leaves: Lanes, start: int, counts: np.ndarray):
        """Runs up to one chunk of steps; `leaves` are donated.

        Args:
            leaves: the state.
            start: index of the first step.
            counts: steps to run, per lane.

        Returns:
            The new state, and the metrics, each `(lanes, chunk)`, of which the first
            `counts` are filled; both without waiting for them.
        """
        counts = np.asarray(counts, np.int32)[self._index]
        consts = self._consts(self._traced_step)
        args = (self._hyper, self._roots, np.int32(start), counts)
        return self._advance(consts, leaves, *args)

    def evaluate(self, leaves: Lanes, step: int) -> Mapping[str, Array]:
        """Metrics of the present state, each with a leading axis of lanes."""
        consts = self._consts(self._traced_evaluate)
        return self._evaluator(consts, leaves, self._hyper, self._roots, np.int32(step))

    def unpad(self, lanes: PyTree) -> PyTree:
        """Host arrays with a leading axis of the real lanes only."""
        return jax.tree.map(lambda x: x[: len(self.lanes)], lanes)

    def pad(self, lanes: PyTree) -> Lanes:
        """Puts host arrays of the real lanes back onto the devices."""
        sharding = NamedSharding(self._mesh, _LANES)
        with self.precision():
            return [jax.device_put(x[self._index], sharding) for x in lanes]

    # How lanes are laid out.

    @property
    def _in_turn(self) -> bool:
        return self.config.seed_mode == "map" or len(self.lanes) == 1

    def _each(self, traced: Traced, consts, axes, *args):
        if not self._in_turn:
            return jax.vmap(ft.partial(traced, consts), in_axes=axes)(*args)
        lanes = [a for a, axis in zip(args, axes, strict=True) if axis == 0]

        def lane(xs):
            rest = iter(xs)
            full = [
                next(rest) if axis == 0 else a
                for a, axis in zip(args, axes, strict=True)
            ]
            return traced(consts, *full)

        return self._turns(lane, tuple(lanes))

    def _turns(self, lane: Callable, xs: PyTree) -> PyTree:
        """`lax.map`, except that a lone lane needs no loop around it."""
        if len(jax.tree.leaves(xs)[0]) > 1:
            return lax.map(lane, xs)
        out = lane(jax.tree.map(lambda x: x[0], xs))
        return jax.tree.map(lambda x: x[None], out)

    def _lane_shapes(self) -> list[jax.ShapeDtypeStruct]:
        lanes = len(self._index)
        return [
            jax.ShapeDtypeStruct((lanes, *leaf.shape), leaf.dtype)
            for leaf in jax.tree.leaves(self.state_shapes)
        ]

    def _consts(self, traced: Traced) -> list:
        key = id(traced)
        if key not in self._placed:
            everywhere = NamedSharding(self._mesh, _REPLICATED)
            with self.precision():
                self._placed[key] = [
                    jax.device_put(c, everywhere) for c in traced.jaxpr.consts
                ]
        return self._placed[key]

    @ft.cached_property
    def _placed(self) -> dict[int, list]:
        return {}

    def _compile(self, function, traced, *args, donate=()):
        """Compiles for this program's devices: lanes sharded, scalars replicated."""
        specs = [_REPLICATED] + [
            _REPLICATED if isinstance(arg, np.integer) else _LANES for arg in args
        ]
        with self.precision():
            began = time.perf_counter()
            if len(self.devices) > 1:
                # What is mapped was traced outside: equinox's closure conversion does
                # not survive being traced under a manual mesh axis.
                function = jax.shard_map(
                    function,
                    mesh=self._mesh,
                    in_specs=tuple(specs),
                    out_specs=_LANES,
                    check_vma=False,
                )
            shardings = tuple(NamedSharding(self._mesh, spec) for spec in specs)
            jitted = jax.jit(function, donate_argnums=donate, in_shardings=shardings)
            shapes = jax.tree.map(_abstract, (list(traced.jaxpr.consts), *args))
            lowered = jitted.lower(*shapes)
            middle = time.perf_counter()
            compiled = lowered.compile()
        give_memory_back()
        self._spend("trace", middle - began)
        self._spend("compile", time.perf_counter() - middle)

        def call(*given):
            with self.precision():
                return compiled(*given)

        return call

    def _spend(self, what: str, seconds: float) -> None:
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds


def group_arms(arms: Mapping[str, Config]) -> list[dict[str, Config]]:
    """Puts arms that differ in `Traced` fields only into one group.

    Args:
        arms: configs by name.

    Returns:
        Groups, in order of their first arms; each becomes one compiled program.
    """
    groups: dict[str, dict[str, Config]] = {}
    for name, config in arms.items():
        values = traced_values(config)
        shapes = {path: np.shape(value) for path, value in values.items()}
        fixed = with_values(config, dict.fromkeys(values)).model_dump(warnings=False)
        del fixed["description"], fixed["budget_seconds"]  # the program's the same
        key = json.dumps([fixed, shapes], sort_keys=True, default=str)
        groups.setdefault(key, {})[name] = config
    return list(groups.values())


def _scalars(metrics: Mapping[str, Array]) -> dict[str, Array]:
    for name, value in metrics.items():
        if jnp.shape(value) != ():
            raise TypeError(
                f"step's metric {name!r} has shape {jnp.shape(value)}; metrics of a "
                "step are scalars (arrays belong in evaluate)"
            )
    return {name: jnp.asarray(value) for name, value in metrics.items()}


def _strong(leaf) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _abstract(leaf) -> jax.ShapeDtypeStruct:
    kind = jax.typeof(leaf)
    return jax.ShapeDtypeStruct(kind.shape, kind.dtype)


def _rows(like, shape: tuple[int, ...]) -> Array:
    return jnp.zeros(shape, like.dtype)


def _where(lanes: Array, new: Array, old: Array) -> Array:
    return jnp.where(lanes.reshape(lanes.shape + (1,) * (new.ndim - 1)), new, old)
