"""djx's network, by each way that its spikes can take."""

import dataclasses
import time
from hashlib import sha256
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from djx import brain
from djx.brain import _native

from .. import brain_problems as problems
from ..diffeq_calls import Options, repeated
from ..harness import Numbers, Run


class Counts(eqx.Module):
    """Spikes of each cell, and no more."""

    spikes: jax.Array

    def see(self, spiked, step, state):
        """After a step."""
        del step, state
        return Counts(self.spikes + spiked)


class Fingerprints(eqx.Module):
    """Of each cell a number that hangs on all steps at which it fired."""

    words: jax.Array

    def see(self, spiked, step, state):
        """After a step."""
        del state
        word = self.words * jnp.uint32(0x9E3779B1) + step.astype(jnp.uint32) + 1
        return Fingerprints(jnp.where(spiked, word, self.words))


def network_of(
    cells: int,
    method: str,
    backend: str,
    surrogate: brain.Surrogate | None = None,
) -> brain.Network:
    """The network.

    Args:
        cells: how many.
        method: "exponential" or "euler".
        backend: of `push`.
        surrogate: for gradients.

    Returns:
        It, without its state.
    """
    edges = problems.random_edges(cells)
    inhibits = np.arange(cells) >= problems.excitatory(cells)
    plain = brain.from_edges(edges.senders, edges.targets, (cells, cells))
    steps = {"exponential": brain.exponential_euler, "euler": brain.forward_euler}
    return network_around(
        brain.onto_receptors(plain, inhibits, 2),
        jnp.asarray(problems.weights_ns(cells)),
        cells,
        backend=backend,
        surrogate=surrogate,
        method=steps[method],
    )


def network_around(
    edges, weights_ns, cells, backend=None, **options: Any
) -> brain.Network:
    """The network with given edges onto receptors, and their weights."""
    decay_ms = problems.EXCITATION_MS, problems.INHIBITION_MS
    reversal_mv = problems.EXCITES_MV, problems.INHIBITS_MV
    return brain.Network(
        brain.LIF(),  # its defaults are the benchmark's
        cells,
        {"receptors": brain.Receptors(decay_ms, reversal_mv)},
        {"edges": brain.Projection(edges, weights_ns, "receptors", backend=backend)},
        problems.DT_MS,
        **options,
    )


def start_of(network: brain.Network) -> brain.NetworkState:
    """Its state before the first step."""
    state = network.init()
    v_mv = jnp.asarray(problems.voltages_mv(network.cells))
    return state._replace(cells=state.cells._replace(v_mv=v_mv))


def simulated(network, state, monitors, steps=problems.SECOND, segment=None):
    """Many steps: the state after them, and the monitors."""
    current_pa = problems.DRIVE_MV * problems.LEAK_NS
    return brain.run(
        network, state, steps, monitors, segment=segment, current_pa=current_pa
    )


def setup(method: str, backend: str, cells: str) -> Run:
    """`setup` of a second.

    Args:
        method: "exponential" or "euler".
        backend: of `push`.
        cells: how many.

    Returns:
        One turn: the second from the start.
    """
    count = int(cells)
    _native.native_note()  # builds the library, if `pip install` has not
    began = time.perf_counter()
    network = network_of(count, method, backend)
    state = start_of(network)
    told: Numbers = {"build": time.perf_counter() - began}

    counts = Counts(jnp.zeros(count, jnp.int32))
    compiled, took = problems.timed(
        lambda: jax.jit(simulated).lower(network, state, counts).compile()
    )
    told["compile"] = took["wall"]
    monitors = (
        brain.SpikeStatistics.of(count),
        Fingerprints(jnp.zeros(count, jnp.uint32)),
    )
    _, (statistics, prints) = jax.jit(simulated)(network, state, monitors)
    told["CV"] = float(statistics.variation(problems.LEAST_INTERVALS))
    digest = sha256(np.asarray(prints.words).tobytes()).hexdigest()
    told["raster"] = int(digest[:12], 16)

    def turn() -> Numbers:
        seen, took = problems.timed(
            lambda: jax.block_until_ready(compiled(network, state, counts))[1]
        )
        rate = problems.rate_hz(np.asarray(seen.spikes).sum(), count)
        return took | told | {"rate": rate}

    return turn


def gradient_setup(kind: str, seconds: str) -> Run:
    """`setup` of 100 ms of 4000 cells, and the way back.

    Args:
        kind: "forward", "gradient" by a weight of each cell, or "unsegmented": the
            same without segments.
        seconds: that a turn's calls should take.

    Returns:
        What `diffeq_calls.repeated` makes of them.
    """
    surrogate = brain.Triangle(problems.WIDTH_MV, problems.HEIGHT)
    steps = problems.GRADIENT_STEPS
    segment = steps if kind == "unsegmented" else None

    def make():
        network = network_of(problems.SMALL, "exponential", "native", surrogate)
        state = start_of(network)
        edges = network.projections["edges"]

        def loss(weights, network, state):
            weighted = dataclasses.replace(
                network.projections["edges"], weights=weights
            )
            network = dataclasses.replace(network, projections={"edges": weighted})
            counts = Counts(jnp.zeros(network.cells, jnp.int32))
            after, seen = simulated(network, state, counts, steps, segment)
            return jnp.mean(after.cells.v_mv), jnp.sum(seen.spikes)

        whole = loss if kind == "forward" else jax.value_and_grad(loss, has_aux=True)
        given = edges.weights, network, state
        compiled, took = problems.timed(lambda: jax.jit(whole).lower(*given).compile())
        used = compiled.memory_analysis().temp_size_in_bytes

        def read(result):
            forward = kind == "forward"
            (voltage, spikes), slopes = (result, None) if forward else result
            rate = problems.rate_hz(spikes, problems.SMALL, steps)
            told = {"rate": rate, "loss": float(voltage), "compile": took["wall"]}
            if not forward:
                told["gradient"] = float(jnp.linalg.norm(slopes))
            return told | {"temporaries": used / 1e6}

        return lambda: jax.block_until_ready(compiled(*given)), read

    return repeated(kind, make, Options(False, 0, float(seconds))).setup()
