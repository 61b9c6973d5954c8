"""The COBA network on a GPU: `python -m benchmarks.brain_gpu [--quick] [--only PART]`.

4000 to 400,000 cells, a gradient, and several networks at once, in this process.
"""

import argparse
import dataclasses
import functools
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from unittest import mock

import numpy as np

from . import brain_problems as problems, record
from .diffeq_calls import per_call, ratio
from .harness import Contestant, Numbers, race, say


IN_ORDER, AS_THEY_COME = "kernels, in order", "kernel, as they come"
ONE_BY_ONE, ROWS = "kernels, in order, a step a turn", "XLA, rows at once"
NONE = "nothing is sent"
UNROLLED = 8  # steps of a turn of the loop
FEW = 500  # steps of those that are slow
# Seconds of a biological second that the peer's authors publish, on an RTX A6000.
PUBLISHED = {4000: 0.266, 400_000: 1.17}
BELIEVED = 25e-6  # seconds a step of 400,000 cells, estimated before there was a GPU
NOTES = (
    "{cells} cells, 80 synapses each on average, steps of 0.1 ms of exponential Euler "
    f"in float32; {problems.SECOND} steps a turn, {FEW} of what is slow. {UNROLLED} "
    "steps a turn of the loop, but one where XLA sends and where it is said. In order: "
    "events go into lists, whose terms are added in the order of edges; as they come: "
    "by atomic additions; rows at once: no kernel of our own. Nothing is sent: cells "
    "and synapses alone, at another rate. Rate: spikes a second of a cell; CV: the "
    "mean over cells of that of their intervals. "
)
TOGETHER = 32


@functools.cache
def network(cells: int):
    """The network, and its state at first."""
    from .peers.brain_djx import network_of, start_of

    whole = network_of(cells, "exponential", "pallas")
    return whole, start_of(whole)


def with_projection(network, **changes):
    """The network, with other properties of its projection."""
    edges = dataclasses.replace(network.projections["edges"], **changes)
    return dataclasses.replace(network, projections={"edges": edges})


def stepped(network, state, monitors, steps: int, unroll: int):
    """Many steps, several of them a turn of the loop."""
    import jax

    def one(carry, _):
        state, monitors = carry
        number = state.step
        state, spiked = network.step(
            state, current_pa=problems.DRIVE_MV * problems.LEAK_NS
        )
        see = lambda m: m.see(spiked, number, state)  # noqa: E731
        monitors = jax.tree.map(see, monitors, is_leaf=lambda m: hasattr(m, "see"))
        return (state, monitors), None

    return jax.lax.scan(one, (state, monitors), None, length=steps, unroll=unroll)[0]


def compiled(function: Callable, arguments, ordered: bool):
    """A program whose kernels add in order or not, and what compiling it took."""
    import jax

    from djx.brain import _pallas

    contract = functools.partial(_pallas.contract, ordered=ordered)
    with mock.patch.object(_pallas, "contract", contract):
        jax.clear_caches()
        return problems.timed(lambda: jax.jit(function).lower(*arguments).compile())


def contestant(
    cells: int,
    name: str,
    backend: str = "pallas",
    ordered: bool = True,
    unroll: int = UNROLLED,
    steps: int = problems.SECOND,
    sends: bool = True,
) -> Contestant:
    """Steps from the start are a turn."""

    def setup():
        import jax
        import jax.numpy as jnp

        from djx.brain import from_edges, SpikeStatistics

        from .peers.brain_djx import Counts, Fingerprints

        whole, state = network(cells)
        whole = with_projection(whole, backend=backend)
        if not sends:
            none = np.zeros(0, int)
            edges = from_edges(none, none, (cells, 2 * cells))
            whole = with_projection(whole, connectivity=edges)
        counts = Counts(jnp.zeros(cells, jnp.int32))
        prints = Fingerprints(jnp.zeros(cells, jnp.uint32))
        seen = SpikeStatistics.of(cells), prints
        function = functools.partial(stepped, steps=steps, unroll=unroll)
        program, took = compiled(function, (whole, state, counts), ordered)
        few = functools.partial(stepped, steps=FEW, unroll=unroll)
        raster, _ = compiled(few, (whole, state, seen), ordered)
        words = np.asarray(raster(whole, state, seen)[1][1].words)
        told: Numbers = {"compile": took["wall"]}
        told["raster"] = int(sha256(words.tobytes()).hexdigest()[:12], 16)
        second, _ = compiled(function, (whole, state, seen[0]), ordered)
        after = second(whole, state, seen[0])[1]
        told["CV"] = float(after.variation(problems.LEAST_INTERVALS))
        told["rate"] = problems.rate_hz(np.asarray(after.counts).sum(), cells, steps)

        def turn():
            jax.block_until_ready(program(whole, state, counts))
            return told | {"steps": steps}

        return turn

    return Contestant(name, setup)


def second_race(cells: int, turns: int):
    """One size: the group and its bars."""
    of = functools.partial(contestant, cells)
    taken = race(
        [
            of(IN_ORDER),
            of(AS_THEY_COME, ordered=False),
            of(ONE_BY_ONE, unroll=1),
            of(ROWS, backend="buffered", unroll=1, steps=FEW),
            of(NONE, sends=False),
        ],
        turns,
    )
    network.cache_clear()
    group = {
        "title": f"{cells} cells",
        "notes": NOTES.format(cells=cells),
        "per": "step",
        "columns": ["rate", "CV", "compile"],
        "contestants": taken,
    }
    what = f"{cells} cells"
    rasters = {t["turns"][0]["raster"] for n, t in taken.items() if n != NONE}
    rate = taken[IN_ORDER]["turns"][0]["rate"]
    bars = [
        record.bar(f"{what}: rasters of {FEW} steps", len(rasters), 1),
        record.bar(f"{what}: rate, Hz", rate, 24.3, at_least=17.0),
    ]
    seconds = taken[IN_ORDER]["median_wall"] / problems.SECOND
    if cells == 400_000:
        bars.append(record.bar(f"{what}: seconds a step", seconds, BELIEVED))
    if cells in PUBLISHED:
        quicker = PUBLISHED[cells] / (seconds * problems.SECOND)
        name = f"{what}: brainevent, published for another GPU / {IN_ORDER}"
        bars.append(record.bar(name, quicker, at_least=1.0))
    return [group], bars


def bits_race(turns: int):
    """No race: bits of `push` against a loop over edges on the host."""
    del turns
    import jax
    import jax.numpy as jnp

    from djx.brain import from_edges, push

    cells, rng = 40_000, np.random.default_rng(0)
    edges = problems.random_edges(cells)
    plain = from_edges(edges.senders, edges.targets, (cells, cells))
    weights, into = (
        rng.normal(size=n).astype(np.float32) for n in (len(edges.targets), cells)
    )
    sent = jax.jit(lambda s, w, to: push(plain, s, w, into=to, backend="pallas"))
    bars = []
    for share in (0.002, 0.2):
        spikes = np.where(rng.random(cells) < share, rng.uniform(0.5, 2, cells), 0)
        spikes = spikes.astype(np.float32)
        expected, fired = into.copy(), spikes[edges.senders] != 0
        terms = spikes[edges.senders] * weights
        np.add.at(expected, edges.targets[fired], terms[fired])  # in this order
        given = map(jnp.asarray, (spikes, weights, into))
        found = np.asarray(sent(*given))
        name = f"{cells} cells, {share:.1%} fire: sums with other bits than on the host"
        bars.append(record.bar(name, int(np.sum(found != expected)), 0))
    return [], bars


def gradient_race(turns: int):
    """100 ms of 4000 cells, and back."""
    import jax
    import jax.numpy as jnp

    from djx import brain

    from .peers.brain_djx import simulated

    def setup(differentiated):
        whole, state = network(problems.SMALL)
        surrogate = brain.Triangle(problems.WIDTH_MV, problems.HEIGHT)
        whole = dataclasses.replace(whole, surrogate=surrogate)
        none = jnp.zeros(problems.SMALL)
        state = state._replace(sent=brain.Sent(none, none != 0))

        def loss(weights, network, state):
            network = with_projection(network, weights=weights)
            after, _ = simulated(network, state, (), problems.GRADIENT_STEPS)
            return jnp.mean(after.cells.v_mv)

        given = whole.projections["edges"].weights, whole, state
        function = jax.value_and_grad(loss) if differentiated else loss
        program, took = compiled(function, given, True)
        used = program.memory_analysis().temp_size_in_bytes / 1e6

        def turn():
            jax.block_until_ready(program(*given))
            told = {"compile": took["wall"], "temporaries": used}
            return told | {"steps": problems.GRADIENT_STEPS}

        return turn

    forward, gradient = "forward", "gradient"
    taken = race(
        [
            Contestant(forward, functools.partial(setup, False)),
            Contestant(gradient, functools.partial(setup, True)),
        ],
        turns,
    )
    group = {
        "title": "1000 steps of 4000 cells, and back",
        "notes": "By one weight of each cell; a triangle of 1 mV around the threshold; "
        "states kept every 32 steps; one step a turn of the loop.",
        "per": "step",
        "columns": ["temporaries", "compile"],
        "contestants": taken,
    }
    return [group], [ratio(taken, gradient, forward, "1000 steps", at_most=8.0)]


def together_race(turns: int):
    """Many networks of 4000 cells that start from other voltages."""
    import jax
    import jax.numpy as jnp

    steps = problems.SECOND // 10

    def setup(count):
        whole, state = network(problems.SMALL)
        v_mv = jnp.stack([jnp.roll(state.cells.v_mv, 7 * n) for n in range(count)])

        def lanes(network, state, v_mv):
            def one(v_mv):
                started = state._replace(cells=state.cells._replace(v_mv=v_mv))
                return stepped(network, started, (), steps, UNROLLED)[0].cells.v_mv

            return jax.vmap(one)(v_mv)

        program, took = compiled(lanes, (whole, state, v_mv), True)

        def turn():
            jax.block_until_ready(program(whole, state, v_mv))
            return {"steps": steps, "compile": took["wall"]}

        return turn

    name = f"{TOGETHER} networks"
    taken = race(
        [
            Contestant("1 network", functools.partial(setup, 1)),
            Contestant(name, functools.partial(setup, TOGETHER)),
        ],
        turns,
    )
    group = {
        "title": f"{TOGETHER} networks of 4000 cells as one program",
        "notes": f"{steps} steps a turn, of all networks at once.",
        "per": "step",
        "columns": ["compile"],
        "contestants": taken,
    }
    share = per_call(taken[name]) / per_call(taken["1 network"]) / TOGETHER
    return [group], [record.bar(f"{name} / as many alone", share, at_most=0.5)]


PARTS = {
    "small": functools.partial(second_race, 4000),
    "middle": functools.partial(second_race, 40_000),
    "large": functools.partial(second_race, 400_000),
    "bits": bits_race,
    "gradient": gradient_race,
    "together": together_race,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.brain_gpu")
    parser.add_argument("--quick", action="store_true", help="a trial: nothing is kept")
    parser.add_argument("--turns", type=int, default=5, help="of each contestant")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="some parts")
    args = parser.parse_args()
    environment, turns = record.stamp(), 2 if args.quick else args.turns
    import jax

    device = jax.devices()[0].device_kind
    groups: list[dict[str, Any]] = []
    bars: list[dict[str, Any]] = []
    whole = {
        "race": "-".join(["brain_gpu", *(args.only or [])]),
        "title": f"The COBA network on one {device}",
        "environment": environment | {"device": device},
        "bars": bars,
        "groups": groups,
    }
    for name in args.only or (["small"] if args.quick else PARTS):
        say(f"brain_gpu: {name}")
        own, own_bars = PARTS[name](turns)
        groups += own
        bars += own_bars
        if not args.quick:
            say(str(record.write(whole)))  # what there is, should time run out
    if args.quick:
        print(record.markdown(whole, "a trial, not kept"))


if __name__ == "__main__":
    main()
