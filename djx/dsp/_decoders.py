"""Networks from features of a sound to controls of synthesisers."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..nn.recurrent import GRU
from ._rows import unknown_to_compilers


Features = Mapping[str, Float[Array, "frames _"]]
Outputs = dict[str, Float[Array, "frames _"]]


class Stack(eqx.Module):
    """Linear maps, each followed by a layer norm and a leaky ReLU.

    Attributes:
        layers: the maps.
        norms: the norms.
    """

    layers: tuple[eqx.nn.Linear, ...]
    norms: tuple[eqx.nn.LayerNorm, ...]

    def __init__(self, in_size: int, size: int, depth: int, *, key: PRNGKeyArray):
        """A stack at random.

        Args:
            in_size: of an input.
            size: of every layer.
            depth: how many layers.
            key: of the weights.
        """
        keys = jax.random.split(key, depth)
        sizes = [in_size] + [size] * (depth - 1)
        self.layers = tuple(
            eqx.nn.Linear(s, size, key=k) for s, k in zip(sizes, keys, strict=True)
        )
        self.norms = tuple(eqx.nn.LayerNorm(size, eps=1e-3) for _ in keys)

    def __call__(self, x: Float[Array, "frames in_size"]):
        """Of every frame by itself, `(frames, size)`."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = jax.nn.leaky_relu(jax.vmap(norm)(linear(layer, x)), 0.2)
        return x


class Decoder(eqx.Module):
    """A network from features to controls, frame by frame, that looks only back.

    Attributes:
        inputs: names of features.
        outputs: names of controls, and how many numbers each has.
    """

    inputs: eqx.AbstractVar[tuple[str, ...]]
    outputs: eqx.AbstractVar[tuple[tuple[str, int], ...]]

    @property
    def delay(self) -> int:
        """Of a stream: none."""
        return 0

    @abc.abstractmethod
    def _decoded(self, state: Any, features: tuple[Array, ...]) -> tuple[Any, Array]:
        """The state after some frames, and all controls side by side."""

    @abc.abstractmethod
    def _start(self) -> Any:
        """The state before the first frame."""

    def __call__(self, **features: Float[Array, "frames _"]) -> Outputs:
        """Controls of the whole.

        Args:
            **features: by name, `(frames, size)`.

        Returns:
            By name, `(frames, size)`; any numbers.

        Raises:
            ValueError: where features are not those that were announced.
        """
        return self._named(self._decoded(self._start(), self._ordered(features))[1])

    def init(self, **features: Float[Array, "_ _"]) -> Any:
        """A stream that begins.

        Args:
            **features: are not read.

        Returns:
            The state.
        """
        del features
        return self._start()

    def step(
        self, state: Any, **features: Float[Array, "frames _"]
    ) -> tuple[Any, Outputs]:
        """Controls of the next frames, one by one.

        However they are cut, streams give the same bits; a call, whose products are
        larger, agrees to rounding. Gradients come from calls alone.

        Args:
            state: of the stream.
            **features: by name, `(frames, size)`.

        Returns:
            The state after them, and the controls.
        """

        def one(state, frame):
            state, out = self._decoded(state, tuple(f[None] for f in frame))
            return state, out[0]

        state, out = _one_by_one(one, state, self._ordered(features))
        return state, self._named(out)

    def _ordered(self, features):
        if set(features) != set(self.inputs):
            raise ValueError(
                f"the decoder's features are {', '.join(self.inputs)}, not "
                f"{', '.join(features) or 'none'}"
            )
        return tuple(features[name] for name in self.inputs)

    def _named(self, out):
        named, here = {}, 0
        for name, size in self.outputs:
            named[name] = out[:, here : here + size]
            here += size
        return named


class RecurrentDecoder(Decoder):
    """Stacks, a recurrent unit, a stack: magenta's RNN decoder (Engel et al. 2020).

    Attributes:
        inputs: names of features.
        outputs: names and sizes of controls.
        stacks: of the features.
        gru: over all of them.
        last: of what the unit says, beside what went in.
        head: the controls.
    """

    inputs: tuple[str, ...] = eqx.field(static=True)
    outputs: tuple[tuple[str, int], ...] = eqx.field(static=True)
    stacks: tuple[Stack, ...]
    gru: GRU
    last: Stack
    head: eqx.nn.Linear

    def __init__(
        self,
        inputs: Mapping[str, int],
        outputs: Mapping[str, int],
        *,
        size: int = 256,
        hidden: int = 512,
        depth: int = 1,
        key: PRNGKeyArray,
    ):
        """A decoder at random.

        Args:
            inputs: names and sizes of features.
            outputs: names and sizes of controls.
            size: of the stacks' layers.
            hidden: size of the recurrent unit.
            depth: layers of a stack.
            key: of the weights.
        """
        keys = iter(jax.random.split(key, len(inputs) + 3))
        self.inputs, self.outputs = tuple(inputs), tuple(outputs.items())
        self.stacks = tuple(
            Stack(s, size, depth, key=next(keys)) for s in inputs.values()
        )
        joint = size * len(inputs)
        self.gru = GRU(joint, hidden, key=next(keys))
        self.last = Stack(joint + hidden, size, depth, key=next(keys))
        self.head = eqx.nn.Linear(size, sum(outputs.values()), key=next(keys))

    def _start(self):
        return self.gru.init()

    def _decoded(self, state, features):
        pairs = zip(self.stacks, features, strict=True)
        x = jnp.concatenate([stack(feature) for stack, feature in pairs], 1)
        hidden = self.gru(x, state)
        joint = jnp.concatenate([x, hidden], 1)
        after = hidden[-1] if len(hidden) else state
        return after, linear(self.head, self.last(joint))


class _Layer(NamedTuple):
    """Of a dilated convolution: weights of three frames, dilated apart."""

    taps: Float[Array, "3 size size"]
    bias: Float[Array, " size"]
    norm: eqx.nn.LayerNorm


class DilatedDecoder(Decoder):
    """Residual dilated convolutions over frames, as magenta's, but causal.

    Layer k of a stack reaches 2^(k + 1) frames further back.

    Attributes:
        inputs: names of features.
        outputs: names and sizes of controls.
        dilations: of the layers.
        first: of all features.
        layers: the convolutions.
        head: the controls.
    """

    inputs: tuple[str, ...] = eqx.field(static=True)
    outputs: tuple[tuple[str, int], ...] = eqx.field(static=True)
    dilations: tuple[int, ...] = eqx.field(static=True)
    first: eqx.nn.Linear
    layers: tuple[_Layer, ...]
    head: eqx.nn.Linear

    def __init__(
        self,
        inputs: Mapping[str, int],
        outputs: Mapping[str, int],
        *,
        size: int = 128,
        depth: int = 5,
        stacks: int = 2,
        key: PRNGKeyArray,
    ):
        """A decoder at random.

        Args:
            inputs: names and sizes of features.
            outputs: names and sizes of controls.
            size: of the layers.
            depth: layers of a stack.
            stacks: how many.
            key: of the weights.
        """
        self.inputs, self.outputs = tuple(inputs), tuple(outputs.items())
        self.dilations = tuple(2**k for k in range(depth)) * stacks
        keys = iter(jax.random.split(key, len(self.dilations) + 2))
        self.first = eqx.nn.Linear(sum(inputs.values()), size, key=next(keys))
        self.layers = tuple(
            _Layer(
                jax.random.normal(next(keys), (3, size, size)) / (3 * size) ** 0.5,
                jnp.zeros(size),
                eqx.nn.LayerNorm(size, eps=1e-3),
            )
            for _ in self.dilations
        )
        self.head = eqx.nn.Linear(size, sum(outputs.values()), key=next(keys))

    def _start(self):
        """What every layer has heard, as far back as it reaches."""
        pairs = zip(self.layers, self.dilations, strict=True)
        return tuple(jnp.zeros((2 * d, len(layer.bias))) for layer, d in pairs)

    def _decoded(self, state, features):
        x = linear(self.first, jnp.concatenate(features, 1))
        after = []
        for layer, dilation, past in zip(
            self.layers, self.dilations, state, strict=True
        ):
            heard = jnp.concatenate([past.astype(x.dtype), jax.nn.relu(x)])
            parts = [heard[k * dilation : k * dilation + len(x)] for k in range(3)]
            moved = jnp.concatenate(parts, 1) @ layer.taps.reshape(-1, x.shape[1])
            x = x + jax.vmap(layer.norm)(moved + layer.bias)
            after.append(heard[len(x) :])
        return tuple(after), linear(self.head, x)


def linear(layer: eqx.nn.Linear, x: Float[Array, "frames in_size"]):
    """A linear map of every frame, as one product."""
    out = x @ layer.weight.T
    return out if layer.bias is None else out + layer.bias


def _one_by_one(
    function: Callable[[Any, tuple[Array, ...]], tuple[Any, Array]],
    state: Any,
    frames: tuple[Array, ...],
) -> tuple[Any, Array]:
    """A scan whose body is compiled alone, for one frame as for many."""
    count = len(frames[0])
    like = jax.eval_shape(function, state, tuple(f[0] for f in frames))[1]
    out = jnp.zeros((count, *like.shape), like.dtype)
    if not count:
        return state, out

    def turn(index, carry):
        state, out = carry
        frame = tuple(jax.lax.dynamic_index_in_dim(f, index, 0, False) for f in frames)
        state, told = function(state, frame)
        return state, jax.lax.dynamic_update_index_in_dim(out, told, index, 0)

    turns = unknown_to_compilers(count, frames[0])
    return jax.lax.fori_loop(0, turns, turn, (state, out))
