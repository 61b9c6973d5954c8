"""Recursive filters in torch: torchlpc, and an equaliser that samples frequencies."""

# Torch comes with the bench extra only.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import torch

from ..dsp_filter_problems import equaliser, moving_poles, signals
from .torch_ode import one_thread


def torchlpc_allpole(audio, poles):
    """Torchlpc's filter, in C++, with its own adjoint."""
    import torchlpc

    return torchlpc.sample_wise_lpc(audio, poles)


def sampled_equaliser(audio, sections):
    """The sections' responses times the spectrum of the sound and as much silence.

    As dasp-pytorch does it. What rings for longer than the sound comes back at its
    beginning, here less than rounding.
    """
    size = 2 * audio.shape[1]
    responses = torch.fft.rfft(sections.unflatten(-1, (2, 3)), size)
    whole = torch.prod(responses[:, :, 0] / responses[:, :, 1], 1)
    return torch.fft.irfft(torch.fft.rfft(audio, size) * whole)[:, : audio.shape[1]]


def filter_call(function, kind: str, batch: int, gradient: bool):
    """`make` of a filter, alone or with the gradients of a linear loss."""

    def make():
        one_thread()
        audio, weights = map(torch.tensor, signals(batch))
        controls = torch.tensor((moving_poles if kind == "poles" else equaliser)(batch))
        given = [audio.requires_grad_(gradient), controls.requires_grad_(gradient)]

        def call():
            if not gradient:
                with torch.no_grad():
                    return [function(*given)]
            return torch.autograd.grad(torch.sum(function(*given) * weights), given)

        def read(result):
            names = ("by audio", "by controls") if gradient else ("output",)
            return {
                name: float(torch.linalg.norm(part.double()))
                for name, part in zip(names, result, strict=True)
            }

        return call, read

    return make
