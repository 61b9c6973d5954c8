"""A gradient through 1000 steps: `python -m benchmarks.brain_gradient [--quick]`.

4000 cells of the COBA network for 100 ms. Every contestant is a process of its own on
the same core.
"""

from . import brain_problems as problems, record
from .brain_coba import cpu_ratio
from .diffeq_calls import command_line, Options, Part
from .harness import Isolated, race
from .peers.brain_brainpy import REQUIREMENTS as BRAINPY


FORWARD, GRADIENT, WHOLE = "djx, forward", "djx, gradient", "djx, gradient, one segment"
PEER_FORWARD, PEER = "BrainPy 2.8.2, forward", "BrainPy 2.8.2, gradient"
NOTES = (
    f"{problems.SMALL} cells, 1000 steps of 0.1 ms, exponential Euler, float32. The "
    "loss is the mean voltage at the end. djx: by one weight of each cell, native, "
    "states kept every 32 steps, or none but the first (one segment). BrainPy: "
    "brainpy.state with brainevent's rows, by two weights in all, nothing computed "
    "anew. Surrogate of both: a triangle, zero from "
    f"{problems.WIDTH_MV:g} mV on, {problems.HEIGHT:g} per mV high. A gradient's call "
    "also returns the loss. Rate: spikes a second of a cell. Gradient: its norm, which "
    "depends on what it is by. Temporaries: MB that the compiled program asks for "
    "besides arguments and results. A turn is as many calls as fit in about "
    "{seconds:g} s. First: seconds of the first call, in BrainPy with compilation; "
    "compile: djx's."
)


def gradient_race(options: Options):
    """The group and its bars."""
    where, seconds = "benchmarks.peers.brain_{}:gradient_setup", str(options.seconds)
    kinds = {FORWARD: "forward", GRADIENT: "gradient", WHOLE: "unsegmented"}
    contestants = [
        Isolated(name, where.format("djx"), (), (kind, seconds))
        for name, kind in kinds.items()
    ]
    contestants += [
        Isolated(name, where.format("brainpy"), BRAINPY, (kind, seconds))
        for name, kind in ((PEER_FORWARD, "forward"), (PEER, "gradient"))
    ]
    taken = race(contestants, options.turns)
    group = {
        "title": "100 ms of 4000 cells, and back",
        "notes": NOTES.format(seconds=options.seconds),
        "per": "call",
        "columns": ["rate", "loss", "gradient", "temporaries", "first", "compile"],
        "contestants": taken,
    }
    what = "1000 steps of 4000 cells"
    used = taken[GRADIENT]["turns"][0]["temporaries"]
    bars = [
        cpu_ratio(taken, GRADIENT, FORWARD, what, at_most=8.0),
        record.bar(f"{what}: MB of temporaries, {GRADIENT}", used, 10.0),
        cpu_ratio(taken, GRADIENT, PEER, what, at_most=0.1),
    ]
    return [group], bars


def parts() -> dict[str, Part]:
    """All of it is one part."""
    return {"gradient": gradient_race}


if __name__ == "__main__":
    command_line("brain_gradient", "A gradient through spikes", parts, ["gradient"])
