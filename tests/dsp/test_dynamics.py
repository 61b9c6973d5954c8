"""Compression against loops, closed forms, and its own adjoint."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp._dynamics import ballistics, Compressor, gain_reduction_db


def curve(level, threshold, ratio, knee):
    """Giannoulis et al. 2012, eq. 4, as it stands: the level that comes out."""
    over = level - threshold
    if 2 * over < -knee:
        return level
    if 2 * abs(over) <= knee and knee > 0:
        return level + (1 / ratio - 1) * (over + knee / 2) ** 2 / (2 * knee)
    return threshold + over / ratio if over > 0 else level


def smoothed(level, attack, release, past):
    """Their eqs. 7 and 16, with time constants in samples."""
    poles, out, y = [np.exp(-1 / t) for t in (attack, release)], [], past
    for x in level:
        pole = poles[0] if x > y else poles[1]
        y = pole * y + (1 - pole) * x
        out.append(y)
    return np.asarray(out)


def compressed(audio, threshold, ratio, knee, attack, release, make_up, rate=16000):
    with np.errstate(divide="ignore"):
        levels = 20 * np.log10(np.abs(audio))
    wanted = [x - curve(x, threshold, ratio, knee) if x > -400 else 0 for x in levels]
    reduction = smoothed(wanted, attack * rate, release * rate, 0.0)
    return audio * 10 ** ((make_up - reduction) / 20)


def sound(samples, seed=0):
    rng = np.random.default_rng(seed)
    swell = np.exp(-2 * np.cos(np.arange(samples) / 40))
    return jnp.asarray(0.3 * swell * rng.normal(size=samples))


@pytest.mark.parametrize("ratio", [1.0, 4.0, np.inf, 0.5])
@pytest.mark.parametrize("knee", [0.0, 6.0, 20.0])
def test_static_curve(ratio, knee):
    with jax.enable_x64(True):
        levels = np.linspace(-60, 10, 281)
        expected = [x - curve(x, -20.0, ratio, knee) for x in levels]
        found = gain_reduction_db(jnp.asarray(levels), -20.0, ratio, knee)
        np.testing.assert_allclose(found, expected, atol=1e-12)
        # Slopes are continuous where a knee begins and ends.
        slope = jax.vmap(jax.grad(lambda x: gain_reduction_db(x, -20.0, ratio, knee)))
        at = jnp.asarray([-20 - knee / 2 - 1, -20 + knee / 2 + (knee == 0)])
        np.testing.assert_allclose(slope(at), [0, 1 - 1 / ratio], atol=1e-12)


@pytest.mark.parametrize("attack, release", [(80.0, 1600.0), (3.0, 0.5), (1e5, 2e5)])
def test_steps_rise_and_fall_exponentially(attack, release):
    n = np.arange(1, 4001)
    level = jnp.concatenate([jnp.full(4000, 12.0), jnp.zeros(4000)])
    out = np.asarray(jax.jit(ballistics)(level, attack, release))
    top = -12 * np.expm1(-4000 / attack)
    np.testing.assert_allclose(out[:4000], -12 * np.expm1(-n / attack), rtol=1e-4)
    falling = top * np.exp(-n / release)
    np.testing.assert_allclose(out[4000:], falling, rtol=1e-4, atol=1e-6)


def test_against_a_loop():
    with jax.enable_x64(True):
        level = jnp.abs(sound(500))
        expected = smoothed(np.asarray(level), 5.0, 40.0, 0.2)
        found = ballistics(level, 5.0, 40.0, 0.2)
        np.testing.assert_allclose(found, expected, rtol=1e-11)
        audio, values = sound(400), (-25.0, 3.0, 8.0, 0.001, 0.01, 2.0)
        expected = compressed(np.asarray(audio), *values)
        found = Compressor(*values)(audio)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def both_modes(function, reference, primals, seed=1):
    rng = np.random.default_rng(seed)
    along = tuple(jnp.asarray(rng.normal(size=p.shape)) * p for p in primals)
    value, tangent = jax.jvp(function, primals, along)
    step = 1e-6
    moved = [
        reference(*(np.asarray(p + s * t) for p, t in zip(primals, along, strict=True)))
        for s in (step, -step)
    ]
    slope = (moved[0] - moved[1]) / (2 * step)
    np.testing.assert_allclose(tangent, slope, rtol=1e-5, atol=1e-7)
    g = jnp.asarray(rng.normal(size=value.shape))
    back = jax.vjp(function, *primals)[1](g)
    inner = sum(jnp.vdot(a, b) for a, b in zip(along, back, strict=True))
    np.testing.assert_allclose(jnp.vdot(g, tangent), inner, rtol=1e-11)


def test_derivatives():
    with jax.enable_x64(True):
        primals = (jnp.abs(sound(300)), *map(jnp.asarray, (5.0, 40.0, 0.2)))
        both_modes(jax.jit(ballistics), smoothed, primals)
        values = (-25.0, 3.0, 8.0, 0.001, 0.01, 2.0)
        primals = (sound(300), *map(jnp.asarray, values))

        def function(audio, *values):
            return Compressor(*values)(audio)

        both_modes(jax.jit(function), compressed, primals)

        def loss(times):
            return jnp.sum(ballistics(primals[0] ** 2, *times) ** 3)

        times = jnp.asarray([5.0, 40.0])
        hessian = jax.jit(jax.hessian(loss))(times)
        np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9)
        moved = [jax.grad(loss)(times.at[0].add(s)) for s in (1e-4, -1e-4)]
        np.testing.assert_allclose(hessian[0], (moved[0] - moved[1]) / 2e-4, rtol=1e-6)


def test_streams_and_batches_give_the_bits_of_the_whole():
    compressor = Compressor(-25.0, 3.0, 8.0, 0.001, 0.01, 2.0)
    audio = sound(1000).astype("float32")
    whole = eqx.filter_jit(compressor)(audio)
    step = eqx.filter_jit(lambda c, *given: c.step(*given))
    rng = np.random.default_rng(0)
    state, parts, here = compressor.init(audio), [], 0
    while here < 1000:
        size = int(rng.choice([1, 3, 64, 100]))
        state, out = step(compressor, state, audio[here : here + size])
        parts.append(out)
        here += size
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    for batch in (1, 3, 16):
        rows = jnp.stack([sound(1000, seed) for seed in range(batch)][::-1])
        many = jax.jit(jax.vmap(compressor.__call__))(rows.astype("float32"))
        np.testing.assert_array_equal(many[-1], whole)


def test_constants_round_as_what_is_computed_does():
    """A compiler who knows all arguments would evaluate exponentials itself."""
    level = jnp.ones(70)
    for attack in (3.7, 41.0, 777.7, 2900.0):
        known = jax.jit(lambda a=attack: ballistics(level, a, 2 * a))()
        given = jax.jit(lambda a: ballistics(level, a, 2 * a))(jnp.float32(attack))
        np.testing.assert_array_equal(known, given)


def test_edges():
    assert Compressor()(jnp.zeros(0)).shape == (0,)
    assert ballistics(jnp.zeros(0), 1.0, 1.0).shape == (0,)
    compressor = Compressor(knee_db=0.0)

    def loss(compressor, audio):
        return jnp.sum(compressor(audio) ** 2)

    both = jax.jit(jax.value_and_grad(loss, (0, 1)))
    for audio in (jnp.zeros(9), jnp.full(9, 1e-30), jnp.full(9, 1e4), jnp.ones(1)):
        value, grads = both(compressor, audio)
        assert all(np.all(np.isfinite(x)) for x in (value, *jax.tree.leaves(grads)))
    # Without time constants the curve is followed at once.
    level = jnp.abs(sound(50)).astype("float32")
    np.testing.assert_allclose(ballistics(level, 0.0, 0.0), level, rtol=1e-5)
    grads = jax.grad(lambda *x: jnp.sum(ballistics(*x)), (1, 2))(level, 0.0, 1e-30)
    np.testing.assert_array_equal(grads, 0)
    odd = jnp.ones(9).at[4].set(jnp.nan)
    np.testing.assert_array_equal(np.isnan(compressor(odd)), np.arange(9) >= 4)


def test_refusals_name_the_argument():
    with pytest.raises(ValueError, match="sample_rate=0: .* in Hz"):
        Compressor(sample_rate=0)
    with pytest.raises(ValueError, match=r"audio is \(samples,\), not \(2, 2\)"):
        Compressor()(jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"level is \(samples,\), not \(2, 2\)"):
        ballistics(jnp.zeros((2, 2)), 1.0, 1.0)
    with pytest.raises(ValueError, match=r"release_samples is one number, not \(2,\)"):
        ballistics(jnp.zeros(3), 1.0, jnp.ones(2))
