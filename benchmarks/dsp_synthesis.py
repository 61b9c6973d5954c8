"""Harmonics, filtered noise and spectral loss: `python -m benchmarks.dsp_synthesis`.

Sixteen sounds of four seconds at 16 kHz.
"""

import functools

from . import record
from .diffeq_calls import (
    agreement,
    command_line,
    least,
    Options,
    Part,
    per_call,
    raced,
    ratio,
)


DJX, NAIVE = "djx", "JAX, as defined"
BANK, ONE_PHASE, TORCH = "torch, oscillator bank", "torch, one phase", "torch"
WHAT = "16 sounds of 4 s at 16 kHz in frames of 64 samples, float32. "
OWN_PORT = "torch: magenta's definitions, written anew for this race. "


def _race(makes, options: Options, title: str, notes: str, columns: list[str]):
    notes = f"{WHAT}{notes}{OWN_PORT}"
    return raced(makes, options, title, notes, columns)


def harmonics_race(harmonics: int, gradient: bool, options: Options):
    """Forward, or the gradient of a linear loss by frequencies and amplitudes."""
    import numpy as np

    from .dsp_problems import exact_harmonics, harmonic_controls
    from .peers import dsp_jax, dsp_torch

    controls = harmonic_controls(harmonics)
    exact = exact_harmonics(controls)

    def read(result):
        if gradient:
            return {"gradient": float(np.linalg.norm(result[1]))}
        return {"error": float(np.max(np.abs(result[:1] - exact)))}

    makes = {
        name: dsp_jax.harmonics_call(synth, controls, gradient, read)
        for name, synth in {
            DJX: dsp_jax.djx_harmonics,
            NAIVE: dsp_jax.plain_harmonics,
        }.items()
    } | {
        name: dsp_torch.harmonics_call(synth, controls, gradient, read)
        for name, synth in {
            BANK: dsp_torch.oscillator_bank,
            ONE_PHASE: dsp_torch.one_phase,
        }.items()
    }
    what = f"{harmonics} harmonics, {'gradient' if gradient else 'forward'}"
    notes = (
        "Error: the largest of the first sound, against float64. Gradient: the norm of "
        "that by the amplitudes. "
    )
    column = "gradient" if gradient else "error"
    group, taken = _race(makes, options, what, notes, [column])
    fastest = least(taken, BANK, ONE_PHASE)
    limit = 20.0 if gradient else 40.0
    bars = [ratio(taken, fastest, DJX, what, at_least=limit)]
    if gradient:
        bars.append(agreement(taken, ("gradient",), what, at_most=1e-3))
    return [group], bars


PAIRS = {
    # The same calls of djx and torch: a title, notes, and the number that has to agree.
    "noise": ("filtered noise", "The noise is drawn in each call. ", None),
    "reverb": ("reverberation of 1 s", "", "gradient"),
    "loss": ("multi-scale spectral loss", "", "loss"),
}


def pair_race(kind: str, options: Options):
    """Djx and torch, with the gradient."""
    from .peers import dsp_jax, dsp_torch

    title, notes, number = PAIRS[kind]
    makes = {
        name: getattr(peer, f"{kind}_call")
        for name, peer in ((DJX, dsp_jax), (TORCH, dsp_torch))
    }
    what = f"{title}, gradient"
    group, taken = _race(makes, options, what, notes, [number] if number else [])
    bars = [ratio(taken, TORCH, DJX, what, at_least=2.5)]
    if number:
        bars.append(agreement(taken, (number,), what, at_most=1e-4))
    return [group], bars


def stream_race(options: Options):
    """One frame of a stream: how long a call takes, and how much sound it makes."""
    from .dsp_problems import HOP, RATE
    from .peers import dsp_jax

    makes = {DJX: lambda: dsp_jax.stream_call(60)}
    what = "a block of 64 samples: 60 harmonics, noise of 65 bands, two poles"
    notes = "Alone: a call from Python renders one block of 4 ms. "
    group, taken = _race(makes, options, what, notes, [])
    seconds = per_call(taken[DJX])
    bars = [
        record.bar(f"{what}: microseconds", 1e6 * seconds, at_most=100.0),
        record.bar(f"{what}: times real time", HOP / RATE / seconds, at_least=1.0),
    ]
    return [group], bars


def parts() -> dict[str, Part]:
    """What is raced."""
    out: dict[str, Part] = {}
    for harmonics in (60, 100):
        for gradient in (False, True):
            name = f"harmonics-{harmonics}-{'gradient' if gradient else 'forward'}"

            out[name] = functools.partial(harmonics_race, harmonics, gradient)
    for kind in PAIRS:
        out[kind] = functools.partial(pair_race, kind)
    return out | {"stream": stream_race}


if __name__ == "__main__":
    command_line("dsp_synthesis", "Synthesis of sound", parts, ["noise", "loss"])
