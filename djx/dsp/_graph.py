"""Processors that feed one another."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from ..core.errors import did_you_mean


class Node(eqx.Module):
    """A processor, and what it is given.

    Attributes:
        name: by which others find what comes out.
        processor: a function of arrays whose first axis is time. In streams it has
            `delay`, `init` and `step`, as `Harmonic`; one without them works on every
            frame or sample by itself.
        inputs: for every argument the name of a node or of an input of the graph;
            "name.part" is an entry of what is a dictionary.
    """

    name: str = eqx.field(static=True)
    processor: Any
    inputs: tuple[tuple[str, str], ...] = eqx.field(static=True)

    def __init__(self, name: str, processor: Any, inputs: Mapping[str, str]):
        """As the attributes.

        Args:
            name: of the node.
            processor: what it does.
            inputs: argument to source.
        """
        self.name, self.processor = name, processor
        self.inputs = tuple(inputs.items())


class GraphState(NamedTuple):
    """Where a stream through a graph stands."""

    nodes: tuple[Any, ...]
    """States of the processors; None for those without."""
    waiting: tuple[dict[str, Array], ...]
    """For every node, what of an argument waits for a later one."""


class Graph(eqx.Module):
    """Processors in a row, each fed by the graph's inputs or by those before it.

    A graph is a processor itself. In streams, nodes differ in how late they are; what
    is early waits, so that all that meets in a node is of one moment, and a stream
    gives what the whole gives, `delay` later.

    Attributes:
        nodes: in the order in which they run.
        output: name of the one that is heard.
    """

    nodes: tuple[Node, ...]
    output: str = eqx.field(static=True)

    def __init__(self, nodes: Sequence[Node], output: str | None = None):
        """A graph whose names fit.

        Args:
            nodes: each after those that feed it.
            output: name of the node that is heard; the last one if None.

        Raises:
            ValueError: where a name is given twice, a processor lacks an argument or
                has none of that name, or the output is no node.
        """
        if not nodes:
            raise ValueError("nodes: a graph has one or more")
        self.nodes = tuple(nodes)
        self.output = nodes[-1].name if output is None else output
        names = [node.name for node in nodes]
        for node in nodes:
            if names.count(node.name) > 1:
                raise ValueError(f"node {node.name!r}: there are two of that name")
            _check_arguments(node)
        if self.output not in names:
            raise ValueError(
                f"output={self.output!r}: is no node{did_you_mean(self.output, names)}"
            )

    @property
    def delay(self) -> int:
        """Of a stream, in samples."""
        return self._delays()[self.output]

    def __call__(
        self, inputs: Mapping[str, Any], *, key: PRNGKeyArray | None = None
    ) -> Any:
        """The whole.

        Args:
            inputs: by name.
            key: of the nodes that draw; each has one of its own.

        Returns:
            What the output node puts out.

        Raises:
            ValueError: naming the node, where a source is unknown or a processor
                refuses its arguments.
        """
        return self._values(inputs, key)[self.output]

    def _values(self, inputs, key):
        values = dict(inputs)
        for index, node in enumerate(self.nodes):
            given = _given(node, values) | _key(node, key, index)
            values[node.name] = _refusing(node, node.processor, given)
        return values

    def check(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What shapes come out of every node, without computing anything.

        Args:
            inputs: by name; arrays, or their shapes and types.

        Returns:
            By node, trees of shapes and types.

        Raises:
            ValueError: as a call does.
        """

        def whole(inputs):
            values = self._values(inputs, jax.random.key(0))
            return {node.name: values[node.name] for node in self.nodes}

        return jax.eval_shape(whole, dict(inputs))

    def init(
        self, inputs: Mapping[str, Any], *, key: PRNGKeyArray | None = None
    ) -> GraphState:
        """A stream that begins.

        Args:
            inputs: some frames of each, of which only types and widths are read.
            key: of the nodes that draw.

        Returns:
            The state.
        """
        shapes = dict(inputs) | self.check(inputs)
        late = self._delays()
        nodes, waiting = [], []
        for index, node in enumerate(self.nodes):
            given = _given(node, shapes)
            queue = {}
            for argument, rows in self._waits(node, late).items():
                like = given[argument]
                queue[argument] = jnp.zeros((rows, *like.shape[1:]), like.dtype)
            waiting.append(queue)
            if hasattr(node.processor, "init"):
                given |= _key(node, key, index)
                nodes.append(_refusing(node, node.processor.init, given))
            else:
                nodes.append(None)
        return GraphState(tuple(nodes), tuple(waiting))

    def step(
        self, state: GraphState, inputs: Mapping[str, Any]
    ) -> tuple[GraphState, Any]:
        """What follows, late by `delay`.

        Args:
            state: of the stream.
            inputs: by name, the next frames of each.

        Returns:
            The state after them, and what the output node puts out.
        """
        values, nodes, waiting = dict(inputs), [], []
        for node, own, queue in zip(
            self.nodes, state.nodes, state.waiting, strict=True
        ):
            given = _given(node, values)
            after = {}
            for argument, rows in queue.items():
                line = jnp.concatenate([rows, given[argument]])
                count = len(given[argument])
                given[argument], after[argument] = line[:count], line[count:]
            waiting.append(after)
            if hasattr(node.processor, "step"):
                own, out = _refusing(node, node.processor.step, {"state": own} | given)
            else:
                out = _refusing(node, node.processor, given)
            nodes.append(own)
            values[node.name] = out
        return GraphState(tuple(nodes), tuple(waiting)), values[self.output]

    def _delays(self) -> dict[str, int]:
        """By node, how late a stream of it is, in samples."""
        out: dict[str, int] = {}
        for node in self.nodes:
            out[node.name] = _arrival(node, out) + getattr(node.processor, "delay", 0)
        return out

    def _waits(self, node: Node, late: Mapping[str, int]) -> dict[str, int]:
        """By argument, how many rows of it wait until all have come."""
        out = {}
        arrival = _arrival(node, late)
        for argument, source in node.inputs:
            gap = arrival - late.get(source.partition(".")[0], 0)
            hop = _rate(node, argument)
            if gap and hop:
                if gap % hop:
                    raise ValueError(
                        f"node {node.name!r}: {argument} has frames of {hop} samples "
                        f"and cannot wait for {gap}"
                    )
                out[argument] = gap // hop
        return out


def _arrival(node: Node, late: Mapping[str, int]) -> int:
    return max((late.get(s.partition(".")[0], 0) for _, s in node.inputs), default=0)


def _rate(node: Node, argument: str) -> int:
    """Samples for which one row of an argument stands; 0 where rows are not time."""
    frames = getattr(node.processor, "frames", {})
    return frames.get(argument, 1)


def _given(node: Node, values: Mapping[str, Any]) -> dict[str, Any]:
    return {a: _found(node, values, source) for a, source in node.inputs}


def _found(node: Node, values: Mapping[str, Any], source: str) -> Any:
    name, _, part = source.partition(".")
    if name not in values:
        raise ValueError(
            f"node {node.name!r}: {source!r} comes from no node before it and no input"
            f"{did_you_mean(name, list(values))}"
        )
    value = values[name]
    if not part:
        return value
    if not isinstance(value, Mapping) or part not in value:
        known = list(value) if isinstance(value, Mapping) else []
        raise ValueError(
            f"node {node.name!r}: {name!r} has no part {part!r}"
            f"{did_you_mean(part, known)}"
        )
    return value[part]


def _refusing(node: Node, function: Any, given: Mapping[str, Any]) -> Any:
    try:
        return function(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"node {node.name!r}: {error}") from error


def _key(node: Node, key, index: int) -> dict[str, Any]:
    if "key" not in inspect.signature(node.processor).parameters:
        return {}
    if key is None:
        raise ValueError(f"node {node.name!r}: it draws, so the graph needs a key")
    return {"key": jax.random.fold_in(key, index)}


def _check_arguments(node: Node) -> None:
    known = inspect.signature(node.processor).parameters.values()
    any_name = any(p.kind is p.VAR_KEYWORD for p in known)
    names = [p.name for p in known if p.kind is not p.VAR_KEYWORD and p.name != "key"]
    given = [argument for argument, _ in node.inputs]
    for argument in given:
        if argument not in names and not any_name:
            raise ValueError(
                f"node {node.name!r}: its processor takes no {argument!r}"
                f"{did_you_mean(argument, names)}"
            )
    wanted = [p.name for p in known if p.name in names and p.default is p.empty]
    for argument in wanted:
        if argument not in given and not any_name:
            raise ValueError(f"node {node.name!r}: inputs lack {argument!r}")
