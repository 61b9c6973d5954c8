"""magenta's own ddsp on TensorFlow: a worker in an environment of its own.

ddsp's own pins go with no current Python, so it is installed without them. What it
imports and these calls do not use, such as a pitch tracker that downloads its weights,
is stood in for by empty modules.
"""

# TensorFlow and ddsp are in the worker's environment only.
# pyright: reportMissingImports=false, reportMissingModuleSource=false
# pyright: reportAttributeAccessIssue=false

import os
import sys
import types

import numpy as np

from ..diffeq_calls import Options, repeated
from ..dsp_problems import (
    BATCH,
    FRAMES,
    harmonic_controls,
    HOP,
    noise_controls,
    RATE,
    room,
    SIZES,
    sound_pairs,
)


UNUSED = ("crepe", "librosa", "tensorflow_probability")
SAMPLES = FRAMES * HOP


class Unused(types.ModuleType):
    """A module whose every name is an empty class, to be inherited from or ignored."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def imported():
    """TensorFlow on one thread, and ddsp."""
    os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    sys.modules |= {name: Unused(name) for name in UNUSED}
    sys.modules["tensorflow_probability"].distributions = Unused("distributions")
    import ddsp

    return tf, ddsp


def harmonics(tf, ddsp):
    """What makes a sound, what of, and the weights of a loss linear in the sound."""
    f0_hz, amplitudes, weights = harmonic_controls(60)
    synth = ddsp.synths.Harmonic(SAMPLES, RATE, amp_resample_method="linear")
    whole = tf.ones((BATCH, FRAMES, 1))

    def sound(f0_hz, amplitudes):
        return synth.get_signal(whole, amplitudes, f0_hz[:, :, None])

    return sound, (f0_hz, amplitudes), weights


def noise(tf, ddsp):
    """As `harmonics`, of filtered noise."""
    del tf
    magnitudes, weights = noise_controls()
    return ddsp.synths.FilteredNoise(SAMPLES).get_signal, (magnitudes,), weights


def reverb(tf, ddsp):
    """As `harmonics`, of the convolution that `ddsp.effects.Reverb` calls."""
    del tf
    audio, weights = sound_pairs()

    def wet(audio, impulse):
        return ddsp.core.fft_convolve(audio, impulse[None], "same", 0)

    return wet, (audio, room()), weights


def loss(tf, ddsp):
    """The sounds themselves, and their target."""
    del tf, ddsp
    audio, target = sound_pairs()
    return lambda audio: audio, (audio,), target


def exact(f0_hz, amplitudes):
    """The first sound in float64, its phase as ddsp has it: this step included."""
    at, frames = np.arange(SAMPLES) / HOP, np.arange(FRAMES)
    phase = np.cumsum(np.interp(at, frames, f0_hz[0])) / RATE
    return sum(
        np.interp(at, frames, a) * np.sin(2 * np.pi * (h * phase % 1))
        for h, a in enumerate(amplitudes[0].T, 1)
    )


def setup(kind: str, compiler: str, seconds: str):
    """`setup` of calls.

    Args:
        kind: a function above, for its gradient, or "forward" for harmonics alone.
        compiler: "graph", or "xla" to have the graph compiled.
        seconds: that a turn's calls should take.

    Returns:
        What `diffeq_calls.repeated` makes of them.
    """
    kinds = {"noise": noise, "reverb": reverb, "loss": loss}

    def make():
        tf, ddsp = imported()
        sound, numbers, other = kinds.get(kind, harmonics)(tf, ddsp)
        distance = ddsp.losses.SpectralLoss(SIZES, logmag_weight=1.0)

        @tf.function(jit_compile=compiler == "xla")
        def call(given, other):
            if kind == "forward":
                return sound(*given)
            with tf.GradientTape() as tape:
                tape.watch(given)
                heard = sound(*given)
                if kind == "loss":
                    value = distance(other, heard)
                else:
                    value = tf.reduce_sum(heard * other)
            return value, tape.gradient(value, given)

        given = tuple(tf.constant(number) for number in numbers)
        other = tf.constant(other)

        def read(result):
            if kind == "forward":
                return {"error": float(np.max(np.abs(result[0] - exact(*numbers))))}
            if kind == "loss":
                return {"loss": float(result[0])}
            return {"gradient": float(np.linalg.norm(result[1][-1]))}

        return lambda: call(given, other), read

    return repeated(kind, make, Options(False, 0, float(seconds))).setup()
