"""Synthesis and analysis of sound, differentiable and in streams."""

from ._harmonic import (
    Harmonic as Harmonic,
    HarmonicState as HarmonicState,
    nyquist_gain as nyquist_gain,
)
from ._harmonic_sum import harmonic_sum as harmonic_sum
from ._phase import frame_phases as frame_phases
