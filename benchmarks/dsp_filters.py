"""Recursive filters: `python -m benchmarks.dsp_filters`.

Sounds of four seconds at 16 kHz.
"""

import functools

from .diffeq_calls import (
    agreement,
    command_line,
    least,
    Options,
    Part,
    raced,
    ratio,
)


DJX, PLAIN = "djx", "JAX, lax.scan and autodiff"
TORCHLPC, SAMPLED, SCIPY = "torchlpc", "torch, sampled frequencies", "SciPy"
WHAT = "Sounds of 64,000 samples, float32; the gradient is by them and by the filters. "
NORMS = "The other columns are norms. "


def _race(makes, what, notes, gradient: bool, options: Options, apart=1e-4):
    columns = ("by audio", "by controls") if gradient else ("output",)
    group, taken = raced(makes, options, what, f"{WHAT}{notes}{NORMS}", columns)
    return group, taken, agreement(taken, columns, what, at_most=apart)


def allpole_race(batch: int, gradient: bool, options: Options):
    """Two poles that move at every sample."""
    from .peers import filters_jax, filters_torch

    given = "poles", batch, gradient
    makes = {
        DJX: filters_jax.filter_call(filters_jax.djx_allpole, *given),
        PLAIN: filters_jax.filter_call(filters_jax.plain_allpole, *given),
        TORCHLPC: filters_torch.filter_call(filters_torch.torchlpc_allpole, *given),
    }
    what = f"two moving poles, batch {batch}, {'gradient' if gradient else 'forward'}"
    group, taken, agreed = _race(makes, what, "", gradient, options)
    return [group], [ratio(taken, TORCHLPC, DJX, what, at_least=2.0), agreed]


def equaliser_race(gradient: bool, options: Options):
    """Six second-order sections, of each sound's own."""
    from .peers import filters_jax, filters_scipy, filters_torch

    given = "sections", 16, gradient
    makes = {
        DJX: filters_jax.filter_call(filters_jax.djx_equaliser, *given),
        PLAIN: filters_jax.filter_call(filters_jax.plain_equaliser, *given),
        SAMPLED: filters_torch.filter_call(filters_torch.sampled_equaliser, *given),
    }
    if not gradient:
        makes[SCIPY] = filters_scipy.equaliser_call(16)
    what = f"six sections, batch 16, {'gradient' if gradient else 'forward'}"
    notes = "Sampled frequencies: as dasp-pytorch does it, written anew for this race. "
    # Poles near 1, at 60 Hz, cost single precision a digit.
    group, taken, agreed = _race(makes, what, notes, gradient, options, apart=3e-4)
    if gradient:
        fastest = least(taken, PLAIN, SAMPLED)
        return [group], [ratio(taken, fastest, DJX, what, at_least=2.0), agreed]
    # SciPy's loop in C, which has no derivative, is the limit of a core.
    return [group], [ratio(taken, DJX, SCIPY, what, at_most=1.5), agreed]


def parts() -> dict[str, Part]:
    """What is raced."""
    out: dict[str, Part] = {}
    for gradient in (False, True):
        which = "gradient" if gradient else "forward"
        for batch in (1, 16):
            race_of = functools.partial(allpole_race, batch, gradient)
            out[f"allpole-{batch}-{which}"] = race_of
        out[f"equaliser-{which}"] = functools.partial(equaliser_race, gradient)
    return out


if __name__ == "__main__":
    quick = ["allpole-1-gradient", "equaliser-forward"]
    command_line("dsp_filters", "Recursive filters", parts, quick)
