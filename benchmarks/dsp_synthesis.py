"""Harmonics, filtered noise and spectral loss: `python -m benchmarks.dsp_synthesis`.

Sixteen sounds of four seconds at 16 kHz.
"""

from . import record
from .diffeq_calls import (
    agreement,
    command_line,
    least,
    Options,
    Part,
    per_call,
    ratio,
    repeated,
)
from .harness import Contestant, Isolated, race


DJX, NAIVE = "djx", "JAX, as defined"
BANK, ONE_PHASE, TORCH = "torch, oscillator bank", "torch, one phase", "torch"
WHAT = "16 sounds of 4 s at 16 kHz in frames of 64 samples, float32. "
OWN_PORT = "torch: magenta's definitions, written anew for this race. "


def _race(makes, options: Options, title: str, notes: str, columns: list[str]):
    contestants: list[Contestant | Isolated] = [
        repeated(name, make, options) for name, make in makes.items()
    ]
    taken = race(contestants, options.turns)
    group = {
        "title": title,
        "notes": f"{WHAT}{notes}{OWN_PORT}{options.notes}",
        "per": "call",
        "columns": ["first", *columns],
        "contestants": taken,
    }
    return group, taken


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


def noise_race(options: Options):
    """Noise through filters of 65 bands, with the gradient by their magnitudes."""
    from .peers import dsp_jax, dsp_torch

    makes = {DJX: dsp_jax.noise_call, TORCH: dsp_torch.noise_call}
    what = "filtered noise, gradient"
    group, taken = _race(makes, options, what, "The noise is drawn in each call. ", [])
    return [group], [ratio(taken, TORCH, DJX, what, at_least=2.5)]


def reverb_race(options: Options):
    """Convolution with a second of a room, with the gradients by sounds and room."""
    from .peers import dsp_jax, dsp_torch

    makes = {DJX: dsp_jax.reverb_call, TORCH: dsp_torch.reverb_call}
    what = "reverberation of 1 s, gradient"
    group, taken = _race(makes, options, what, "", ["gradient"])
    bars = [
        ratio(taken, TORCH, DJX, what, at_least=2.5),
        agreement(taken, ("gradient",), what, at_most=1e-4),
    ]
    return [group], bars


def loss_race(options: Options):
    """The spectral loss at six sizes, with the gradient by one of the sounds."""
    from .peers import dsp_jax, dsp_torch

    makes = {DJX: dsp_jax.loss_call, TORCH: dsp_torch.loss_call}
    what = "multi-scale spectral loss, gradient"
    group, taken = _race(makes, options, what, "", ["loss"])
    bars = [
        ratio(taken, TORCH, DJX, what, at_least=2.5),
        agreement(taken, ("loss",), what, at_most=1e-4),
    ]
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

            def part(options, harmonics=harmonics, gradient=gradient):
                return harmonics_race(harmonics, gradient, options)

            out[name] = part
    return out | {
        "noise": noise_race,
        "reverb": reverb_race,
        "loss": loss_race,
        "stream": stream_race,
    }


if __name__ == "__main__":
    command_line("dsp_synthesis", "Synthesis of sound", parts, ["noise", "loss"])
