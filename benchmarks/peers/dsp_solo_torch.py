"""The solo instrument's training step in torch, as magenta defines its parts."""

# Torch comes with the bench extra only.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import time

import numpy as np
import torch

from ..dsp_problems import BANDS, BATCH, FRAMES, harmonic_controls, HOP, solo_features
from .dsp_torch import (
    filtered_noise,
    harmonics_call,
    one_phase,
    oscillator_bank,
    spectral_loss,
)
from .torch_ode import one_thread


HARMONICS, SIZE, HIDDEN, ROOM = 60, 256, 512, 16000


class Stack(torch.nn.Sequential):
    """A linear map, a layer norm, a leaky ReLU."""

    def __init__(self, in_size: int):
        super().__init__(
            torch.nn.Linear(in_size, SIZE),
            torch.nn.LayerNorm(SIZE, eps=1e-3),
            torch.nn.LeakyReLU(0.2),
        )


class Solo(torch.nn.Module):
    """The instrument."""

    def __init__(self):
        super().__init__()
        self.pitch, self.loudness = Stack(1), Stack(1)
        self.gru = torch.nn.GRU(2 * SIZE, HIDDEN, batch_first=True)
        self.last = Stack(2 * SIZE + HIDDEN)
        self.head = torch.nn.Linear(SIZE, 1 + HARMONICS + BANDS)
        self.room = torch.nn.Parameter(1e-6 * torch.randn(ROOM))

    def forward(self, f0_hz, loudness_db):
        """Sounds of a batch."""
        pitch = (69 + 12 * torch.log2(f0_hz / 440)) / 127
        features = (
            self.pitch(pitch[..., None]),
            self.loudness((loudness_db / 80 + 1)[..., None]),
        )
        x = torch.cat(features, -1)
        out = self.head(self.last(torch.cat([x, self.gru(x)[0]], -1)))
        amplitude, shares, noise = out.split([1, HARMONICS, BANDS], -1)
        heard = exp_sigmoid(shares) * (
            f0_hz[..., None] * torch.arange(1, HARMONICS + 1) < 8000
        )
        shares = heard / heard.sum(-1, keepdim=True)
        tone = one_phase(f0_hz, exp_sigmoid(amplitude) * shares)
        white = torch.rand(BATCH, FRAMES * HOP) * 2 - 1
        dry = tone + filtered_noise(white, exp_sigmoid(noise - 5))
        taps = torch.cat([torch.zeros(1), self.room[1:]])
        size = 1 << (dry.shape[1] + ROOM - 2).bit_length()
        wet = torch.fft.irfft(torch.fft.rfft(dry, size) * torch.fft.rfft(taps, size))
        return dry + wet[:, : dry.shape[1]]


def exp_sigmoid(x):
    """2 sigmoid(x)^ln(10) + 1e-7."""
    return 2 * torch.sigmoid(x) ** np.log(10) + 1e-7


def training(batch: str):
    """`setup` of one step after another; only the whole batch is written out."""
    assert int(batch) == BATCH
    one_thread()
    torch.manual_seed(0)
    f0_hz, loudness_db, audio = (torch.tensor(x) for x in solo_features())
    model = Solo()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)

    def turn():
        optimiser.zero_grad()
        loss = spectral_loss(model(f0_hz, loudness_db), audio)
        loss.backward()
        optimiser.step()
        return {"loss": float(loss.detach()), "calls": 1}

    began = time.perf_counter()
    turn()
    first = time.perf_counter() - began
    return lambda: turn() | {"compile": first}


def harmonics(name: str):
    """`setup` of the gradient of 60 harmonics: "bank" or "one"."""
    synth = {"bank": oscillator_bank, "one": one_phase}[name]

    def read(result):
        return {"gradient": float(np.linalg.norm(result[1]))}

    call, told = harmonics_call(synth, harmonic_controls(HARMONICS), True, read)()
    call()
    return lambda: told(call()) | {"calls": 1}
