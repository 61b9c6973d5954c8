"""Compression of dynamics, with attack and release that are exactly differentiable."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import bind
from ._allpole import allpole
from ._frames import floating
from ._rows import Lanes, of_samples, unknown_to_compilers


BLOCK = 64  # samples
LEAST = 1e-3  # samples: a shorter time constant leaves nothing after one
SILENCE = 1e-20  # amplitude


def gain_reduction_db(
    level_db: Float[Array, "..."],
    threshold_db: Float[Array, "..."] | float,
    ratio: Float[Array, "..."] | float,
    knee_db: Float[Array, "..."] | float,
) -> Float[Array, "..."]:
    """By how much a compressor lowers a steady level (Giannoulis et al. 2012, eq. 4).

    Nothing below a knee around the threshold, (1 - 1 / ratio) of what exceeds the
    threshold above it, and a parabola between.

    Args:
        level_db: of the sound.
        threshold_db: the middle of the knee.
        ratio: of changes of level above, before and after; inf for a limiter.
        knee_db: the knee's whole width; 0 for none.

    Returns:
        The reduction in dB, from 0 up.
    """
    over = level_db - threshold_db
    wide = knee_db > 0
    place = over / jnp.where(wide, knee_db, 1) + 0.5
    place = jnp.where(place < 0, 0, jnp.where(place > 1, 1, place))
    bend = jnp.where(wide, knee_db * place * place / 2, 0)
    beyond = over - jnp.maximum(knee_db, 0) / 2
    return (1 - 1 / ratio) * (bend + jnp.where(beyond <= 0, 0, beyond))


def ballistics(
    level: Float[Array, " samples"],
    attack_samples: Float[Array, ""] | float,
    release_samples: Float[Array, ""] | float,
    past: Float[Array, ""] | float = 0.0,
) -> Float[Array, " samples"]:
    """y[n] = a y[n-1] + (1 - a) x[n], a the attack's where x[n] > y[n-1], or release's.

    After a step up, 1 - exp(-n / attack) of it is reached n samples later (Giannoulis
    et al. 2012, eqs. 7 and 16). The derivative is exact: where levels rise is known
    once they are, and what is left is a filter with one pole that changes from sample
    to sample, whose adjoint is the same filter run backwards. A stream in any chunks
    gives the bits of the whole. Samples are taken one by one.

    Args:
        level: x.
        attack_samples: time constant of rising; 0 for none.
        release_samples: time constant of falling; 0 for none.
        past: y before the first sample.

    Returns:
        y; its last is `past` for what follows.

    Raises:
        ValueError: where shapes do not agree.
    """
    level = floating(level)
    if level.ndim != 1:
        raise ValueError(f"level is (samples,), not {level.shape}")
    given = {
        "attack_samples": attack_samples,
        "release_samples": release_samples,
        "past": past,
    }
    for name, value in given.items():
        if jnp.shape(value):
            raise ValueError(f"{name} is one number, not {jnp.shape(value)}")
    attack, release, past = (
        floating(value).astype(level.dtype) for value in given.values()
    )
    shares = of_samples(_share, jnp.stack([attack, release]))
    return bind(_Branching(), level, shares[:1], shares[1:], past[None])[0]


def _share(samples):
    """1 - a, which single precision holds better than a."""
    there = samples > LEAST
    return jnp.where(there, -jnp.expm1(-1 / jnp.where(there, samples, 1)), 1)


class _Branching(Lanes):
    """Of (..., samples) levels, and (..., 1) attacks, releases and pasts."""

    def run(self, x, attack, release, past):
        lead, samples = x.shape[:-1], x.shape[-1]
        if x.size == 0:
            return [x]
        rows = x.reshape(math.prod(lead), samples)
        ends = [a.reshape(-1) for a in (attack, release, past)]
        out = jax.lax.map(lambda row: _one_by_one(*row), (rows, *ends))
        return [out.reshape(x.shape)]

    def linearised(self, active, primals):
        """dy[n] = (1 - b) dy[n-1] + b dx[n] + (x[n] - y[n-1]) db, where b = 1 - a."""
        x, attack, release, past = primals
        (y,) = bind(self, *primals)
        before = jnp.concatenate([past, y], -1)[..., :-1]
        rising = x > before
        share = jnp.where(rising, attack, release)

        def push(tangents):
            given = iter(tangents)
            dx, d_attack, d_release, d_past = (
                next(given) if is_active else None for is_active in active
            )
            into = jnp.zeros_like(x) if dx is None else share * dx
            for branch, change in ((rising, d_attack), (~rising, d_release)):
                if change is not None:
                    into = into + jnp.where(branch, (x - before) * change, 0)
            d_past = jnp.zeros_like(past) if d_past is None else d_past
            filtering = allpole
            for _ in x.shape[:-1]:
                filtering = jax.vmap(filtering)
            return [filtering(into, (share - 1)[..., None], d_past)]

        return [y], push


def _one_by_one(x, attack, release, past):
    """In blocks of one size, each sample a turn: chunks cannot change a bit."""
    samples = x.shape[0]
    blocks = -(-samples // BLOCK)
    # One block more: of a loop over one, compilers make something else.
    x = jnp.pad(x, (0, (blocks + 1) * BLOCK - samples)).reshape(blocks + 1, BLOCK)

    def step(last, x):
        out = last + jnp.where(x > last, attack, release) * (x - last)
        return out, out

    def of_block(index, carry):
        last, outs = carry
        given = jax.lax.dynamic_index_in_dim(x, index, 0, False)
        last, out = jax.lax.scan(step, last, given)
        return last, jax.lax.dynamic_update_index_in_dim(outs, out, index, 0)

    turns = unknown_to_compilers(blocks, x)
    _, out = jax.lax.fori_loop(0, turns, of_block, (past, jnp.zeros_like(x)))
    return out.reshape(-1)[:samples]


class CompressorState(NamedTuple):
    """Where a stream through a compressor stands."""

    reduction_db: Float[Array, ""]


class Compressor(eqx.Module):
    """Lowers what is loud: feed-forward, smoothed in dB after the gain computer.

    Attributes:
        threshold_db: level, of an amplitude of 1, above which it works.
        ratio: of changes of level above, before and after.
        knee_db: width around the threshold in which it sets in.
        attack_seconds: time constant of a growing reduction.
        release_seconds: time constant of one that shrinks.
        make_up_db: gain of all that comes out.
        sample_rate: in Hz.

    Source: Giannoulis, Massberg & Reiss 2012, Digital dynamic range compressor
    design: eqs. 4 and 16, the detector in the log domain.
    """

    threshold_db: Float[Array, ""] = eqx.field(converter=floating, default=-20.0)
    ratio: Float[Array, ""] = eqx.field(converter=floating, default=4.0)
    knee_db: Float[Array, ""] = eqx.field(converter=floating, default=6.0)
    attack_seconds: Float[Array, ""] = eqx.field(converter=floating, default=0.005)
    release_seconds: Float[Array, ""] = eqx.field(converter=floating, default=0.1)
    make_up_db: Float[Array, ""] = eqx.field(converter=floating, default=0.0)
    sample_rate: float = eqx.field(static=True, default=16000)

    def __check_init__(self):
        if not self.sample_rate > 0:
            raise ValueError(
                f"sample_rate={self.sample_rate}: has to be positive, in Hz"
            )

    @property
    def delay(self) -> int:
        """Of a stream, in samples: none."""
        return 0

    def __call__(self, audio: Float[Array, " samples"]) -> Float[Array, " samples"]:
        """The whole.

        Args:
            audio: samples.

        Returns:
            As many samples.

        Raises:
            ValueError: where shapes do not agree.
        """
        audio = floating(audio)
        return self.step(self.init(audio), audio)[1]

    def init(self, audio: Float[Array, " _"]) -> CompressorState:
        """A stream that begins, after silence.

        Args:
            audio: some samples, of which only the type is read.

        Returns:
            The state.
        """
        dtype = jnp.promote_types(audio.dtype, jnp.float32)
        return CompressorState(jnp.zeros((), dtype))

    def step(
        self, state: CompressorState, audio: Float[Array, " samples"]
    ) -> tuple[CompressorState, Float[Array, " samples"]]:
        """The next samples.

        Args:
            state: of the stream.
            audio: any number of samples.

        Returns:
            The state after them, and as many samples.
        """
        audio = floating(audio)
        if audio.ndim != 1:
            raise ValueError(f"audio is (samples,), not {audio.shape}")
        curve = self.threshold_db, self.ratio, self.knee_db
        curve = [c.astype(audio.dtype) for c in curve]
        wanted = of_samples(_wanted, audio, *curve)
        attack = self.attack_seconds * self.sample_rate
        release = self.release_seconds * self.sample_rate
        reduction = ballistics(wanted, attack, release, state.reduction_db)
        make_up = self.make_up_db.astype(audio.dtype)
        out = of_samples(_lowered, audio, reduction, make_up)
        last = jnp.concatenate([state.reduction_db[None], reduction])[-1]
        return CompressorState(last), out


def _wanted(audio, *curve):
    size = jnp.abs(audio)
    # Below, a level is that of near silence, and has no slope.
    size = jnp.where(size < SILENCE, SILENCE, size)
    return gain_reduction_db(20 / math.log(10) * jnp.log(size), *curve)


def _lowered(audio, reduction, make_up):
    return audio * jnp.exp(math.log(10) / 20 * (make_up - reduction))
