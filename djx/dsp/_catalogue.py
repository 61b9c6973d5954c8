"""Graphs from tables: what a config says about a synthesiser."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from ..core.errors import did_you_mean
from ._controls import FeatureScale, HarmonicControls, NoiseControls
from ._decoders import DilatedDecoder, RecurrentDecoder
from ._delay import ModulatedDelay
from ._dynamics import Compressor
from ._fir import FrequencyFilter
from ._frame_samples import FrameSamples
from ._graph import Graph, Node
from ._harmonic import Harmonic
from ._noise import FilteredNoise
from ._rooms import DecayingRoom, ImpulseRoom, NoiseRoom
from ._sinusoids import Sinusoids
from ._wavetable import Wavetable


class Sum(eqx.Module):
    """Several sounds at once."""

    def __call__(self, **sounds: Float[Array, " samples"]) -> Float[Array, " samples"]:
        """Their sum, in the order in which they are named.

        Args:
            **sounds: equally long.

        Returns:
            As many samples.
        """
        first, *others = sounds.values()
        for other in others:
            first = first + other
        return first


class NodeTable(NamedTuple):
    """One node, as a config has it.

    Attributes:
        name: of the node.
        processor: which one, of `PROCESSORS`.
        inputs: argument to source, as `Node` takes them.
        options: what the processor is made with.
    """

    name: str
    processor: str
    inputs: Mapping[str, str]
    options: Mapping[str, Any] = {}


def filtered_noise(hop: int = 64, bands: int = 65) -> FilteredNoise:
    """Noise whose filters have so many bands, in frames of so many samples."""
    return FilteredNoise(FrequencyFilter(hop, bands))


PROCESSORS: dict[str, Callable[..., Any]] = {
    "compressor": Compressor,
    "decaying_room": DecayingRoom,
    "dilated_decoder": DilatedDecoder,
    "feature_scale": FeatureScale,
    "filtered_noise": filtered_noise,
    "frame_samples": FrameSamples,
    "frequency_filter": FrequencyFilter,
    "harmonic": Harmonic,
    "harmonic_controls": HarmonicControls,
    "impulse_room": ImpulseRoom,
    "noise_controls": NoiseControls,
    "noise_room": NoiseRoom,
    "modulated_delay": ModulatedDelay,
    "recurrent_decoder": RecurrentDecoder,
    "sinusoids": Sinusoids,
    "sum": Sum,
    "wavetable": Wavetable,
}


def graph_of(
    tables: Sequence[NodeTable], output: str | None = None, *, key: PRNGKeyArray
) -> Graph:
    """A graph from what a config says.

    Args:
        tables: its nodes, each after those that feed it.
        output: name of the node that is heard; the last one if None.
        key: of the weights; each node has one of its own, by its name's place.

    Returns:
        The graph.

    Raises:
        ValueError: naming the node, where a processor or one of its options is unknown
            or refused, or the names do not fit.
    """
    nodes = []
    for index, table in enumerate(tables):
        where = f"node {table.name!r}: "
        if table.processor not in PROCESSORS:
            raise ValueError(
                f"{where}there is no processor {table.processor!r}"
                f"{did_you_mean(table.processor, list(PROCESSORS))}"
            )
        make = PROCESSORS[table.processor]
        known = inspect.signature(make).parameters
        for option in table.options:
            if option not in known or option == "key":
                raise ValueError(
                    f"{where}{table.processor} has no option {option!r}"
                    f"{did_you_mean(option, [k for k in known if k != 'key'])}"
                )
        own = {"key": jax.random.fold_in(key, index)} if "key" in known else {}
        try:
            processor = make(**table.options, **own)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}{error}") from error
        nodes.append(Node(table.name, processor, table.inputs))
    return Graph(nodes, output)
