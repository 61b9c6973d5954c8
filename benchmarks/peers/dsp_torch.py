"""magenta's definitions of harmonics, noise and spectral loss in torch."""

# Torch comes with the bench extra only.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import numpy as np
import torch

from ..dsp_problems import (
    BANDS,
    BATCH,
    Controls,
    FRAMES,
    HOP,
    noise_controls,
    RATE,
    room,
    SIZES,
    sound_pairs,
)
from .torch_ode import one_thread


def _upsampled(a):
    """Linear between frames; the last one is held."""
    a = torch.cat([a, a[:, -1:]], 1)
    w = (torch.arange(HOP) / HOP).reshape(HOP, *[1] * (a.ndim - 2))
    mixed = torch.lerp(a[:, :-1, None], a[:, 1:, None], w)
    return mixed.reshape(a.shape[0], -1, *a.shape[2:])


def oscillator_bank(f0, amplitudes):
    """A running phase for every harmonic, as magenta's oscillator bank."""
    numbers = torch.arange(1, amplitudes.shape[2] + 1, dtype=f0.dtype)
    frequency = _upsampled(f0[:, :, None] * numbers)
    heard = _upsampled(amplitudes) * (frequency < RATE / 2)
    steps = frequency * (2 * np.pi / RATE)
    phase = torch.cumsum(steps, 1) - steps
    return torch.sum(heard * torch.sin(phase), -1)


def one_phase(f0, amplitudes):
    """One running phase, as magenta's harmonic bank for streams."""
    numbers = torch.arange(1, amplitudes.shape[2] + 1, dtype=f0.dtype)
    steps = _upsampled(f0) * (2 * np.pi / RATE)
    phase = torch.cumsum(steps, 1) - steps
    heard = _upsampled(amplitudes * (f0[:, :, None] * numbers < RATE / 2))
    return torch.sum(heard * torch.sin(phase[:, :, None] * numbers), -1)


def harmonics_call(synth, controls: Controls, gradient: bool, read):
    """`make` of a synthesiser, alone or with the gradient of a linear loss."""

    def make():
        one_thread()
        f0, amplitudes, weights = (torch.tensor(c) for c in controls)
        given = [f0.requires_grad_(gradient), amplitudes.requires_grad_(gradient)]

        def call():
            if not gradient:
                with torch.no_grad():
                    return synth(*given)
            return torch.autograd.grad(torch.sum(synth(*given) * weights), given)

        def told(result):
            if gradient:
                return read([part.numpy() for part in result])
            return read(result.numpy())

        return call, told

    return make


def filtered_noise(noise, magnitudes):
    """Every frame by a filter of its own: windowed impulse responses, overlap-add."""
    taps = 2 * (BANDS - 1)
    impulse = torch.fft.irfft(magnitudes)
    impulse = torch.roll(impulse, taps // 2, -1) * torch.hann_window(taps)
    frames = noise.reshape(BATCH, FRAMES, HOP)
    size = 256  # the next power of two, as there
    spectrum = torch.fft.rfft(frames, size) * torch.fft.rfft(impulse, size)
    out = torch.fft.irfft(spectrum, size).transpose(1, 2)
    length = (FRAMES - 1) * HOP + size
    whole = torch.nn.functional.fold(out, (1, length), (1, size), stride=(1, HOP))
    return whole.reshape(BATCH, -1)[:, taps // 2 : taps // 2 + FRAMES * HOP]


def noise_call():
    """`make` of filtered noise with the gradient of a linear loss."""
    one_thread()
    magnitudes, weights = (torch.tensor(c) for c in noise_controls())
    magnitudes.requires_grad_()

    def call():
        noise = torch.rand(BATCH, FRAMES * HOP) * 2 - 1
        sound = filtered_noise(noise, magnitudes)
        return torch.autograd.grad(torch.sum(sound * weights), [magnitudes])

    return call, lambda result: {}


def reverb_call():
    """`make` of a reverberation with the gradients of a linear loss."""
    one_thread()
    audio, weights = (torch.tensor(c) for c in sound_pairs())
    impulse = torch.tensor(room()).requires_grad_()
    audio.requires_grad_()
    size = 1 << (audio.shape[1] + len(impulse) - 2).bit_length()

    def call():
        spectrum = torch.fft.rfft(audio, size) * torch.fft.rfft(impulse, size)
        wet = torch.fft.irfft(spectrum, size)[:, : audio.shape[1]]
        return torch.autograd.grad(torch.sum(wet * weights), [audio, impulse])

    return call, lambda result: {"gradient": float(torch.linalg.norm(result[1]))}


def spectral_loss(audio, target):
    """Magnitudes and their logarithms at six sizes, mean distances."""
    total = torch.zeros(())
    for size in SIZES:
        hop, window = size // 4, torch.hann_window(size)
        frames = -(-audio.shape[1] // hop)
        pad = (frames - 1) * hop + size - audio.shape[1]
        pair = []
        for sound in (audio, target):
            cut = torch.nn.functional.pad(sound, (0, pad)).unfold(1, size, hop)
            pair.append(torch.abs(torch.fft.rfft(cut * window)))
        ours, theirs = pair
        total = total + torch.mean(torch.abs(ours - theirs))
        logs = torch.log(ours + 1e-5) - torch.log(theirs + 1e-5)
        total = total + torch.mean(torch.abs(logs))
    return total


def loss_call():
    """`make` of the spectral loss with its gradient."""
    one_thread()
    audio, target = (torch.tensor(c) for c in sound_pairs())
    audio.requires_grad_()

    def call():
        loss = spectral_loss(audio, target)
        return loss, torch.autograd.grad(loss, [audio])

    return call, lambda result: {"loss": float(result[0].detach())}
