"""The autoencoder: features, a decoder, synthesisers and a room, as a graph."""

from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import Field

from djx.dsp import Graph, graph_of, NodeTable, PitchEncoder, TimbreEncoder
from djx.run import Section
from experiments._recordings_config import Recordings


Count = Annotated[int, Field(gt=0)]


class Node(Section):
    """A node of a graph of processors."""

    name: str
    processor: str
    """One of `djx.dsp.PROCESSORS`."""
    inputs: dict[str, str]
    """Argument to source: a node before, "node.part", or f0_hz, loudness_db, z."""
    options: dict[str, Any] = {}
    """What the processor is made with."""


class Model(Section):
    """What makes sound of pitch and loudness."""

    synthesiser: Literal["harmonics", "samples", "nearest"] = "harmonics"
    """harmonics: harmonics and filtered noise; samples: the same network puts out
    samples; nearest: the recording of the nearest key, resampled, learns nothing."""
    decoder: Literal["recurrent", "dilated"] = "recurrent"
    size: Count = 256
    """Of the decoder's layers."""
    hidden: Count = 512
    """Of recurrent units."""
    depth: Count = 1
    """Layers of a recurrent decoder's stacks, or of the dilated one's."""
    harmonics: Count = 60
    bands: Annotated[int, Field(ge=2)] = 65
    """Of the noise's filters."""
    room: Literal["none", "impulse", "decaying", "noise"] = "none"
    room_seconds: Annotated[float, Field(gt=0)] = 1.0
    """Length of its response."""
    timbre: Annotated[int, Field(ge=0)] = 0
    """Numbers a frame of z, from the sound itself; none if 0."""
    pitch: Literal["measured", "encoder"] = "measured"
    """measured: as the recordings' was; encoder: by a network that learns meanwhile,
    from sounds of harmonics whose pitch is known."""
    nodes: list[Node] = []
    """The graph in full, instead of all fields above but `synthesiser`, `timbre`
    and `pitch`."""


class Autoencoder(eqx.Module):
    """A graph that makes sound, and what is read from sound for it."""

    encoder: TimbreEncoder | None
    pitch: PitchEncoder | None
    voice: Graph

    def __init__(self, model: Model, data: Recordings, *, key: PRNGKeyArray):
        first, second = jr.split(key)
        rate, hop = data.sample_rate, data.hop
        self.pitch = None
        if model.pitch == "encoder":
            self.pitch = PitchEncoder(
                sample_rate=rate,
                hop=hop,
                least_hz=data.least_hz,
                greatest_hz=data.greatest_hz,
                key=jr.fold_in(key, 2),
            )
        self.encoder = None
        if model.timbre:
            self.encoder = TimbreEncoder(
                model.timbre,
                hidden=model.hidden,
                sample_rate=rate,
                hop=hop,
                key=first,
            )
        self.voice = graph_of(tables(model, rate, hop), key=second)

    def __call__(
        self,
        f0_hz: Float[Array, " frames"],
        loudness_db: Float[Array, " frames"],
        audio: Float[Array, " samples"],
        *,
        key: PRNGKeyArray,
    ) -> Float[Array, " samples"]:
        """The sound again, from what was measured of it."""
        if self.pitch is not None:
            # Spectra tell nothing of where a pitch should move that is far away: their
            # slope by it is left out.
            f0_hz = jax.lax.stop_gradient(self.pitch(audio).f0_hz)
        inputs = {"f0_hz": f0_hz, "loudness_db": loudness_db}
        if self.encoder is not None:
            inputs["z"] = self.encoder(audio)
        return self.voice(inputs, key=key)


def tables(model: Model, rate: int, hop: int) -> list[NodeTable]:
    """The graph's nodes: those of the config, or what its fields stand for.

    Args:
        model: the config's.
        rate: samples a second.
        hop: samples in a frame.

    Returns:
        The nodes; they read f0_hz, loudness_db, and z if there is one.
    """
    if model.nodes:
        return [
            NodeTable(n.name, n.processor, n.inputs, n.options) for n in model.nodes
        ]
    sizes = {"pitch": 1, "loudness": 1}
    sources = {"pitch": "features.pitch", "loudness": "features.loudness"}
    if model.timbre:
        sizes["z"], sources["z"] = model.timbre, "z"
    if model.synthesiser == "samples":
        outputs = {"samples": 2 * hop}
    else:
        outputs = {"amplitude": 1, "shares": model.harmonics, "noise": model.bands}
    network = {"size": model.size, "depth": model.depth}
    if model.decoder == "recurrent":
        network["hidden"] = model.hidden
    nodes = [
        NodeTable(
            "features",
            "feature_scale",
            {"f0_hz": "f0_hz", "loudness_db": "loudness_db"},
        ),
        NodeTable(
            "net",
            f"{model.decoder}_decoder",
            sources,
            {"inputs": sizes, "outputs": outputs} | network,
        ),
    ]
    if model.synthesiser == "samples":
        frames = {"samples": "net.samples"}
        nodes.append(NodeTable("dry", "frame_samples", frames, {"hop": hop}))
    else:
        nodes += _harmonics_and_noise(model, rate, hop)
    if model.room != "none":
        taps = max(1, round(model.room_seconds * rate))
        if model.room == "noise":
            taps = max(256, taps // 256 * 256)  # whole frames
        options = {"taps": taps, "hop": hop}
        if model.room == "decaying":
            options["sample_rate"] = rate
        nodes.append(NodeTable("room", f"{model.room}_room", {"audio": "dry"}, options))
    return nodes


def _harmonics_and_noise(model: Model, rate: int, hop: int) -> list[NodeTable]:
    rates = {"sample_rate": rate}
    shares = {"amplitude": "net.amplitude", "distribution": "net.shares"}
    return [
        NodeTable("stack", "harmonic_controls", shares | {"f0_hz": "f0_hz"}, rates),
        NodeTable(
            "tone",
            "harmonic",
            {"f0_hz": "f0_hz", "amplitudes": "stack"},
            rates | {"hop": hop},
        ),
        NodeTable("breath", "noise_controls", {"magnitudes": "net.noise"}),
        NodeTable(
            "hiss",
            "filtered_noise",
            {"magnitudes": "breath"},
            {"hop": hop, "bands": model.bands},
        ),
        NodeTable("dry", "sum", {"tone": "tone", "hiss": "hiss"}),
    ]
