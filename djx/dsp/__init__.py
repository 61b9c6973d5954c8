"""Synthesis and analysis of sound, differentiable and in streams."""

from ._allpole import allpole as allpole, last_outputs as last_outputs
from ._biquads import (
    biquad_all_pass as biquad_all_pass,
    biquad_band_pass as biquad_band_pass,
    biquad_high_pass as biquad_high_pass,
    biquad_high_shelf as biquad_high_shelf,
    biquad_low_pass as biquad_low_pass,
    biquad_low_shelf as biquad_low_shelf,
    biquad_notch as biquad_notch,
    biquad_peaking as biquad_peaking,
)
from ._catalogue import (
    graph_of as graph_of,
    NodeTable as NodeTable,
    PROCESSORS as PROCESSORS,
    Sum as Sum,
)
from ._consistency import (
    amplitude_consistency as amplitude_consistency,
    HarmonicConsistency as HarmonicConsistency,
    KernelConsistency as KernelConsistency,
    TransportConsistency as TransportConsistency,
)
from ._controls import (
    exp_sigmoid as exp_sigmoid,
    FeatureScale as FeatureScale,
    harmonic_amplitudes as harmonic_amplitudes,
    HarmonicControls as HarmonicControls,
    NoiseControls as NoiseControls,
)
from ._conversion import (
    harmonic_to_sinusoidal as harmonic_to_sinusoidal,
    sinusoidal_to_harmonic as sinusoidal_to_harmonic,
)
from ._convolution import (
    Convolution as Convolution,
    ConvolutionState as ConvolutionState,
    convolve as convolve,
    decaying_noise as decaying_noise,
    reverberated as reverberated,
)
from ._decoders import (
    Decoder as Decoder,
    DilatedDecoder as DilatedDecoder,
    RecurrentDecoder as RecurrentDecoder,
)
from ._delay import (
    DelayState as DelayState,
    fractional_delay as fractional_delay,
    ModulatedDelay as ModulatedDelay,
)
from ._dynamics import (
    ballistics as ballistics,
    Compressor as Compressor,
    CompressorState as CompressorState,
    gain_reduction_db as gain_reduction_db,
)
from ._encoders import TimbreEncoder as TimbreEncoder
from ._fir import FilterState as FilterState, FrequencyFilter as FrequencyFilter
from ._frame_samples import (
    FrameSamples as FrameSamples,
    FrameSamplesState as FrameSamplesState,
)
from ._graph import Graph as Graph, GraphState as GraphState, Node as Node
from ._harmonic import (
    Harmonic as Harmonic,
    HarmonicState as HarmonicState,
    nyquist_gain as nyquist_gain,
)
from ._harmonic_sum import harmonic_sum as harmonic_sum
from ._iir import lfilter as lfilter, sosfilt as sosfilt
from ._loudness import a_weighting as a_weighting, loudness_db as loudness_db
from ._loudness_loss import LoudnessLoss as LoudnessLoss
from ._mel import (
    hz_to_mel as hz_to_mel,
    log_mel as log_mel,
    mel_filters as mel_filters,
    mel_spectrum as mel_spectrum,
    mel_to_hz as mel_to_hz,
    mfcc as mfcc,
)
from ._mismatch import two_way_mismatch as two_way_mismatch
from ._noise import (
    FilteredNoise as FilteredNoise,
    NoiseState as NoiseState,
    white_noise as white_noise,
)
from ._packed import packed as packed
from ._phase import frame_phases as frame_phases
from ._pitch_encoder import PitchEncoder as PitchEncoder
from ._pyin import pyin as pyin, VoicedPitch as VoicedPitch
from ._rooms import (
    DecayingRoom as DecayingRoom,
    ImpulseRoom as ImpulseRoom,
    NoiseRoom as NoiseRoom,
    Room as Room,
)
from ._sinc import centred as centred, windowed_sinc as windowed_sinc
from ._sinusoids import Sinusoids as Sinusoids, SinusoidsState as SinusoidsState
from ._spectral_loss import SpectralLoss as SpectralLoss
from ._state_space import state_space as state_space
from ._state_variable import (
    state_variable as state_variable,
    StateVariable as StateVariable,
)
from ._stft import stft as stft
from ._transport import SpectralTransport as SpectralTransport
from ._wasserstein import wasserstein as wasserstein
from ._wavetable import Wavetable as Wavetable, WavetableState as WavetableState
from ._yin import Pitch as Pitch, yin as yin
