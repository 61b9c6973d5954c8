"""djx and magenta's own ddsp on TensorFlow: `python -m benchmarks.dsp_magenta`.

Sixteen sounds of four seconds at 16 kHz. Every contestant is a process of its own. The
first race makes ddsp's environment, which is large: 1.6 GB.
"""

import functools

from . import record
from .diffeq_calls import agreement, command_line, least, Options, Part, ratio, repeated
from .harness import Isolated, race


HERE, DJX = "benchmarks.dsp_magenta", "djx"
MAGENTA, COMPILED = "magenta ddsp 3.7.0", "magenta ddsp 3.7.0, XLA"

# Without what they depend on: ddsp's pins cannot be met, and TensorFlow's list is long.
REQUIREMENTS = (
    "--no-deps",
    "ddsp==3.7.0",
    "tensorflow-cpu==2.21.0",
    "tf-keras==2.21.0",
    "gin-config==0.5.0",
    "numpy==2.4.6",
    "scipy==1.17.1",
    *("protobuf==7.36.2", "h5py==3.14.0", "ml-dtypes==0.6.0", "absl-py", "astunparse"),
    *("flatbuffers", "gast", "opt-einsum", "packaging", "six", "termcolor", "wrapt"),
    *("typing-extensions", "requests", "certifi", "charset-normalizer", "idna"),
    "urllib3",
)

NOTES = (
    "16 sounds of 4 s at 16 kHz in frames of 64 samples, float32. magenta: the "
    "library's own functions, version 3.7.0, in a `tf.function` of TensorFlow 2.21 "
    "with legacy Keras, as a graph and with `jit_compile=True`; one thread. Every "
    "contestant has a process and the same single core; its peak is its own, libraries "
    "included. A turn is as many calls as fit in about {seconds:g} s, and every call "
    "waits for its result. First: seconds of the first call, with tracing and "
    "compilation."
)
HARMONICS_NOTES = (
    "Amplitudes go linearly from frame to frame; magenta's default is by windows. Its "
    "phase of a sample includes that sample's step, djx's does not. "
)
KINDS = {
    # A title, notes, a number for the table, and the least ratio.
    "forward": (
        "60 harmonics, forward",
        HARMONICS_NOTES
        + "Error: the largest of the first sound, against float64 with its own phase. ",
        "error",
        40.0,
    ),
    "harmonics": (
        "60 harmonics, gradient",
        HARMONICS_NOTES + "Gradient: the norm of that by the amplitudes. ",
        "gradient",
        20.0,
    ),
    "noise": (
        "filtered noise, gradient",
        "The noise is drawn in each call, by different generators. ",
        None,
        2.5,
    ),
    "reverb": (
        "reverberation of 1 s, gradient",
        "Gradient: the norm of that by the impulse response. ",
        "gradient",
        2.5,
    ),
    "loss": ("multi-scale spectral loss, gradient", "", "loss", 2.5),
}
AGREE = {"harmonics": 1e-3, "reverb": 1e-4, "loss": 1e-4}


def djx(kind: str, seconds: str):
    """`setup` of djx in a worker.

    Args:
        kind: of `KINDS`.
        seconds: that a turn's calls should take.

    Returns:
        What `diffeq_calls.repeated` makes of them.
    """
    import numpy as np

    from .dsp_problems import exact_harmonics, harmonic_controls
    from .peers import dsp_jax

    def read(result):
        if kind == "harmonics":
            return {"gradient": float(np.linalg.norm(result[1]))}
        error = result[:1] - exact_harmonics(controls)
        return {"error": float(np.max(np.abs(error)))}

    if kind in ("forward", "harmonics"):
        controls, gradient = harmonic_controls(60), kind == "harmonics"
        synth = dsp_jax.djx_harmonics
        make = dsp_jax.harmonics_call(synth, controls, gradient, read)
    else:
        make = getattr(dsp_jax, f"{kind}_call")
    return repeated(kind, make, Options(False, 0, float(seconds))).setup()


def magenta_race(kind: str, options: Options):
    """One kind of call."""
    what, notes, number, limit = KINDS[kind]
    seconds = str(options.seconds)
    where = "benchmarks.peers.dsp_magenta:setup"
    contestants = [Isolated(DJX, f"{HERE}:djx", arguments=(kind, seconds))] + [
        Isolated(name, where, REQUIREMENTS, (kind, compiler, seconds))
        for name, compiler in ((MAGENTA, "graph"), (COMPILED, "xla"))
    ]
    taken = race(contestants, options.turns)
    group = {
        "title": what,
        "notes": f"{notes}{NOTES.format(seconds=options.seconds)}",
        "per": "call",
        "columns": ["first", *([number] if number else [])],
        "contestants": taken,
    }
    bars = [ratio(taken, least(taken, MAGENTA, COMPILED), DJX, what, at_least=limit)]
    if kind == "harmonics":
        leanest = min((MAGENTA, COMPILED), key=lambda name: taken[name]["peak"])
        share = taken[DJX]["peak"] / taken[leanest]["peak"]
        title = f"{what}, peak memory: djx / {leanest}"
        bars.append(record.bar(title, share, at_most=0.5))
    if number and kind in AGREE:
        bars.append(agreement(taken, (number,), what, at_most=AGREE[kind]))
    return [group], bars


def parts() -> dict[str, Part]:
    """What is raced."""
    return {kind: functools.partial(magenta_race, kind) for kind in KINDS}


if __name__ == "__main__":
    command_line(
        "dsp_magenta", "djx and magenta's ddsp", parts, ["noise", "reverb", "loss"]
    )
