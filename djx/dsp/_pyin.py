"""Pitch by autocorrelation, as a hidden path that is voiced or not."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer
from scipy.special import betainc

from ._frames import check_rate
from ._yin import dips, normalised_differences, period_bounds, vertices


LEAST = 1e-37  # of probabilities: their logarithms are finite in single precision


class VoicedPitch(NamedTuple):
    """What was found at every frame."""

    f0_hz: Float[Array, " frames"]
    """Where there is no voice, where the path waits for it."""
    voiced: Bool[Array, " frames"]
    voiced_probability: Float[Array, " frames"]
    """Of all candidates together, before neighbouring frames were asked."""


def pyin(
    audio: Float[Array, " samples"],
    sample_rate: float,
    *,
    hop: int = 64,
    least_hz: float = 50.0,
    greatest_hz: float = 2000.0,
    thresholds: int = 100,
    beta: tuple[float, float] = (2.0, 18.0),
    preference: float = 2.0,
    deepest_weight: float = 0.01,
    bins_per_semitone: int = 10,
    octaves_per_second: float = 35.92,
    switch_probability: float = 0.01,
) -> VoicedPitch:
    """The fundamental frequency by probabilistic YIN (Mauch and Dixon 2014).

    YIN's dips are asked under many thresholds, each as probable as a beta distribution
    says; so periods become candidates with probabilities (their section 2.1). In a
    hidden Markov model of pitches, voiced or not, steps are triangular in log frequency
    (section 2.2); Viterbi's algorithm chooses the likeliest path through all frames. It
    goes from bin to bin; what is returned is the frequency of the candidate in the bin.

    Args:
        audio: samples.
        sample_rate: in Hz.
        hop: samples from frame to frame; windows are centred on 0, hop, ..
        least_hz: lowest pitch that is looked for; the window is two of its periods.
        greatest_hz: highest pitch.
        thresholds: how many, up to 1.
        beta: the distribution's two parameters.
        preference: of a dip over the next longer one under the same threshold, as a
            logarithm (Boltzmann's distribution); `inf` takes the shortest alone, as the
            paper does.
        deepest_weight: the probability of the deepest dip under thresholds that no dip
            is below.
        bins_per_semitone: resolution of the path.
        octaves_per_second: how quickly a pitch may change.
        switch_probability: that voice begins or ends at a frame.

    Returns:
        Frequencies within the bounds, whether there is voice, and how probable it is.
        Derivatives are those of the chosen candidates' frequencies.

    Raises:
        ValueError: where the bounds leave no period, or an argument is out of range.
    """
    check_rate(sample_rate, hop)
    shortest, longest = period_bounds(sample_rate, least_hz, greatest_hz)
    positive, inside = "has to be positive", "from 0 to 1"
    for name, value, fine, remedy in (
        ("thresholds", thresholds, thresholds >= 1, "one or more"),
        ("beta", beta, min(beta) > 0, "both have to be positive"),
        ("preference", preference, preference > 0, positive),
        ("deepest_weight", deepest_weight, 0 <= deepest_weight <= 1, inside),
        ("bins_per_semitone", bins_per_semitone, bins_per_semitone >= 1, "1 or more"),
        ("octaves_per_second", octaves_per_second, octaves_per_second > 0, positive),
        ("switch_probability", switch_probability, 0 < switch_probability < 1, inside),
    ):
        if not fine:
            raise ValueError(f"{name}={value}: {remedy}")
    gap = normalised_differences(audio, hop, longest)
    periods, depths = jax.vmap(vertices)(gap)
    bottoms = jax.vmap(dips, (0, None))(gap, shortest)
    heights = jax.lax.stop_gradient(jnp.where(bottoms, depths, jnp.inf))
    chances = _chances(heights, thresholds, beta, preference, deepest_weight)
    hz = jnp.clip(sample_rate / jnp.maximum(periods, 1), least_hz, greatest_hz)

    per_octave = 12 * bins_per_semitone
    count = math.floor(per_octave * math.log2(greatest_hz / least_hz)) + 1
    height = per_octave * jnp.log2(jax.lax.stop_gradient(hz) / least_hz)
    bins = jnp.round(height).astype(jnp.int32)
    bins = jnp.minimum(bins, count - 1)
    rows = jnp.arange(len(gap))[:, None]
    seen = jnp.zeros((len(gap), count), gap.dtype).at[rows, bins].add(chances)
    probability = jnp.minimum(jnp.sum(chances, 1), 1)
    unseen = jnp.broadcast_to((1 - probability[:, None]) / count, seen.shape)
    observed = jnp.log(jnp.maximum(jnp.stack([seen, unseen], 1), LEAST))

    reach = octaves_per_second * hop / sample_rate * per_octave
    reach = min(max(round(reach), 1), count - 1)
    kinds, places = _likeliest_path(observed, reach, switch_probability)

    there = jnp.where(bins == places[:, None], chances, 0)
    best = jnp.argmax(there, 1)[:, None]
    own, found = (jnp.take_along_axis(a, best, 1)[:, 0] for a in (hz, there))
    centres = least_hz * 2 ** (places.astype(gap.dtype) / per_octave)
    return VoicedPitch(jnp.where(found > 0, own, centres), kinds == 0, probability)


def _chances(heights, count: int, beta, preference, deepest_weight):
    """Of every lag at every frame, to be the period: (frames, lags).

    Heights are those of dips; elsewhere infinite.
    """
    levels = np.linspace(0, 1, count + 1)
    prior = np.diff(betainc(*beta, levels)).astype(heights.dtype)
    levels = levels[1:].astype(heights.dtype)
    ratio = math.exp(-preference)

    def passed(left, height):
        return jnp.where(height[:, None] < levels, ratio * left, left)

    # A geometric distribution over the dips below a threshold, the shortest lag first.
    ones = jnp.ones((len(heights), count), heights.dtype)
    left, _ = jax.lax.scan(lambda c, h: (passed(c, h), None), ones, heights.T)
    some = left < 1
    first = jnp.where(some, prior / jnp.where(some, 1 - left, 1), 0)

    def at_lag(left, height):
        after = passed(left, height)
        return after, jnp.sum(left - after, 1)

    chances = jax.lax.scan(at_lag, first, heights.T)[1].T
    rest = deepest_weight * jnp.sum(jnp.where(some, 0, prior), 1)
    deepest = jnp.arange(heights.shape[1]) == jnp.argmin(heights, 1)[:, None]
    there = deepest & jnp.isfinite(heights)
    return chances + jnp.where(there, rest[:, None], 0)


def _likeliest_path(
    observed: Float[Array, "frames 2 bins"], reach: int, switch: float
) -> tuple[Integer[Array, " frames"], Integer[Array, " frames"]]:
    """Viterbi's algorithm, where a step is to one of few neighbouring bins.

    Args:
        observed: logarithms of probabilities, of two kinds of states.
        reach: how many bins a step may go up or down; the nearer the more probable.
        switch: the probability of the other kind.

    Returns:
        The kind and the bin, frame by frame.
    """
    frames, _, bins = observed.shape
    dtype = observed.dtype
    if frames == 0:
        return jnp.zeros(0, jnp.int32), jnp.zeros(0, jnp.int32)
    numbers, steps = np.arange(bins), np.arange(-reach, reach + 1)
    triangle = reach + 1 - np.abs(steps)
    ends = numbers[:, None] + steps
    left = np.log(np.sum(triangle * ((ends >= 0) & (ends < bins)), 1)).astype(dtype)
    ways = np.log(triangle).astype(dtype)
    turns = np.log([[1 - switch, switch], [switch, 1 - switch]]).astype(dtype)

    def sent(score):
        """What a bin gives to each of those within reach."""
        sides = ((0, 0), (reach, reach))
        return jnp.pad(score - left, sides, constant_values=-jnp.inf)

    def step(score, seen):
        given = sent(score)

        def longer(way, best):
            came = jax.lax.dynamic_slice_in_dim(given, way, bins, 1)
            return jnp.maximum(best, came + jnp.asarray(ways)[way])

        best = jnp.full_like(score, -jnp.inf)
        best = jax.lax.fori_loop(0, len(ways), longer, best)
        score = jnp.max(best[:, None] + turns[:, :, None], 0) + seen
        # Levels do not matter; without them, digits do not run out.
        score = score - jnp.max(score)
        return score, score

    def back(state, score):
        kind, place = state
        given = jax.lax.dynamic_slice_in_dim(sent(score), place, len(ways), 1)
        given = given + ways + jnp.asarray(turns)[kind, :, None]
        origin = jnp.argmax(given)
        before = origin // len(ways), place + origin % len(ways) - reach
        before = tuple(b.astype(jnp.int32) for b in before)
        return before, before

    scores = jax.lax.scan(step, observed[0], observed[1:])[1]
    scores = jnp.concatenate([observed[:1], scores])
    end = jnp.divmod(jnp.argmax(scores[-1]).astype(jnp.int32), bins)
    _, path = jax.lax.scan(back, end, scores[:-1], reverse=True)
    kinds, places = (jnp.append(p, e) for p, e in zip(path, end, strict=True))
    return kinds, places
