"""A step of the solo instrument, and its memory: `python -m benchmarks.dsp_training`.

Every contestant is a process of its own, so that peaks of memory are its own.
"""

from . import record
from .diffeq_calls import command_line, least, Options, Part, ratio
from .harness import Isolated, race


DJX, TORCH = "djx", "torch"
PEERS = "benchmarks.peers"
BATCH = "16"


def training_race(options: Options):
    """Sixteen sounds of four seconds, forward, backward and Adam."""
    contestants = [
        Isolated(name, f"{PEERS}.{where}:training", arguments=(BATCH,))
        for name, where in ((DJX, "dsp_solo_jax"), (TORCH, "dsp_solo_torch"))
    ]
    what = "training step of the solo instrument"
    taken = race(contestants, options.turns)
    compiled = taken[DJX]["turns"][0]["compile"]
    group = {
        "title": what,
        "notes": "Decoder (GRU 512), 60 harmonics, noise of 65 bands, a room of 1 s, "
        "six sizes of spectra, Adam; 16 sounds of 4 s at 16 kHz, float32. torch: "
        "magenta's definitions, written anew for this race, with its own GRU. Compile: "
        "seconds of tracing and compiling; of torch, of the first step. Every "
        "contestant has a process and the same single core.",
        "per": "call",
        "columns": ["loss", "compile"],
        "contestants": taken,
    }
    bars = [
        ratio(taken, TORCH, DJX, what, at_least=2.5),
        record.bar(f"{what}: peak MiB of djx", taken[DJX]["peak"], at_most=1144.0),
        record.bar(f"{what}: seconds to compile", compiled, at_most=25.0),
    ]
    return [group], bars


def memory_race(options: Options):
    """The gradient of 60 harmonics: the peak of a process that does nothing else."""
    makes = {
        DJX: ("dsp_solo_jax", "djx"),
        "JAX, as defined": ("dsp_solo_jax", "plain"),
        "torch, oscillator bank": ("dsp_solo_torch", "bank"),
        "torch, one phase": ("dsp_solo_torch", "one"),
    }
    contestants = [
        Isolated(name, f"{PEERS}.{where}:harmonics", arguments=(which,))
        for name, (where, which) in makes.items()
    ]
    what = "memory of 60 harmonics, gradient"
    taken = race(contestants, min(options.turns, 3))
    group = {
        "title": what,
        "notes": "16 sounds of 4 s at 16 kHz, float32; peaks of whole processes, "
        "libraries included.",
        "per": "call",
        "columns": ["gradient"],
        "contestants": taken,
    }
    fastest = least(taken, "torch, oscillator bank", "torch, one phase")
    share = taken[DJX]["peak"] / taken[fastest]["peak"]
    return [group], [record.bar(f"{what}: djx / {fastest}", share, at_most=0.5)]


def parts() -> dict[str, Part]:
    """What is raced."""
    return {"training": training_race, "memory": memory_race}


if __name__ == "__main__":
    command_line("dsp_training", "Training an instrument", parts, ["training"])
