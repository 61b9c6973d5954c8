"""Sizes of single spikes' effects, against solutions of the equations."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from djx.brain._coupling import coupling, membrane_of, warn_of_coupling
from djx.brain._hodgkin_huxley import TraubMiles
from djx.brain._integrate_and_fire import AdaptiveLIF, AdEx, ExpIF, Izhikevich, LIF


WANG = LIF(c_pf=500.0, g_leak_ns=25.0, e_leak_mv=-70.0, threshold_mv=-50.0)
MICROCIRCUIT = LIF(c_pf=250.0, g_leak_ns=25.0, e_leak_mv=-65.0, threshold_mv=-50.0)
CUBA = LIF(e_leak_mv=-49.0)
USUAL = {  # weights, reversal, decay, cell, fan-in: networks that are known to work
    "coba excitation": (6.0, 0.0, 5.0, LIF(), 64),
    "coba inhibition": (67.0, -80.0, 10.0, LIF(), 16),
    "cobahh excitation": (6.0, 0.0, 5.0, TraubMiles(), 64),
    "cobahh inhibition": (67.0, -80.0, 10.0, TraubMiles(), 16),
    "cuba excitation": (16.2, None, 5.0, CUBA, 64),
    "cuba inhibition": (-90.0, None, 10.0, CUBA, 16),
    "microcircuit": (87.8, None, 0.5, MICROCIRCUIT, 100),
    "microcircuit at a tenth": (87.8 * 10**0.5, None, 0.5, MICROCIRCUIT, 2),
    "decision AMPA": (0.05, 0.0, 2.0, WANG, 1600),
    "decision AMPA between pools": (0.05 * 0.8765, 0.0, 2.0, WANG, 240),
    "decision NMDA": (0.165, 0.0, 100.0, WANG, 1600),
    "decision GABA": (1.3, -70.0, 5.0, WANG, 400),
    "decision background": (2.1, 0.0, 2.0, WANG, 1),
}


@pytest.mark.parametrize("name", USUAL)
def test_a_slip_of_units_is_found_where_a_network_that_works_is_not(name):
    weights, *rest = USUAL[name]
    found = coupling(weights, *rest)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_coupling(name, found)
    assert found.verdict == "usual" and found.advice(name) == ""
    unit = "pA" if rest[0] is None else "nS"
    with pytest.warns(
        UserWarning, match=f"{name}: .* too weak .* are in {unit}, drive"
    ):
        warn_of_coupling(name, coupling(weights * 1e-3, *rest))


@pytest.mark.parametrize("name", ["coba", "cobahh", "cuba"])
@pytest.mark.parametrize("sign", ["excitation", "inhibition"])
def test_and_the_other_way(name, sign):
    weights, *rest = USUAL[f"{name} {sign}"]
    with pytest.warns(UserWarning, match="too strong .* drive in pA") as told:
        warn_of_coupling("all", coupling(weights * 1e3, *rest))
    assert "\n" not in str(told[0].message)


def peak(weight, reversal_mv, decay_ms, cell):
    """Of the voltage over a leak after one spike."""

    def slope(t, v):
        g = weight * np.exp(-t / decay_ms)
        force = 1.0 if reversal_mv is None else reversal_mv - cell.e_leak_mv - v
        return (g * force - cell.g_leak_ns * v) / cell.c_pf

    times = np.linspace(0, 300, 60001)
    found = solve_ivp(slope, (0, 300), [0.0], "LSODA", times, rtol=1e-9, atol=1e-12)
    return np.max(np.abs(found.y))


@pytest.mark.parametrize("decay_ms", [0.5, 5.0, 20.0, 100.0])
def test_a_spikes_peak(decay_ms):
    # Of a current and of a small conductance exactly; r = 1 is among them.
    for weight, reversal in ((30.0, None), (0.01, 0.0)):
        found = coupling(weight, reversal, decay_ms, LIF(), 5, rate_hz=20.0)
        true = peak(weight, reversal, decay_ms, LIF())
        assert found.psp_mv == pytest.approx(true, rel=1e-3)
        assert found.psp == pytest.approx(true / 10, rel=1e-3)
        assert found.together == pytest.approx(5 * found.psp)
        # The mean of 100 spikes a second, each of which leaves weight times decay.
        mean = 0.1 * weight * decay_ms / 10 * (1 if reversal is None else 60)
        assert found.steady == pytest.approx(mean / 10, rel=1e-6)
    # Of x = g / g_L a conductance that stays has x / (1 + x), not 1 - e^-x.
    x = np.linspace(0.1, 10, 1000)
    most = np.max((1 - np.exp(-x)) * (1 + x) / x)
    for weight in (6.0, 67.0, 500.0):  # never beyond the reversal
        true = peak(weight, -80.0, decay_ms, LIF())
        found = coupling(weight, -80.0, decay_ms, LIF()).psp_mv
        assert true <= found <= min(most * true, 20)


def test_membranes_of_all_models():
    found = membrane_of(LIF(c_pf=jnp.array([500.0, 500.0, 200.0])))
    assert found == pytest.approx((500, 10, -60, 10))
    # At rest 0.04 v^2 + 4.8 v + 140 has the slope -0.8 + 0.2 of u, which stays.
    assert membrane_of(Izhikevich()) == pytest.approx((100, 60, -70, 100), rel=1e-5)
    # A leak, and nearly nothing of an upstroke ten slope factors away.
    assert membrane_of(AdEx()) == pytest.approx((281, 30, -70.6, 90.6), rel=1e-3)
    rest = membrane_of(ExpIF()).rest_mv
    slope = 10 * (1 - np.exp((rest + 59.9) / 3.48))
    assert membrane_of(ExpIF()).g_ns == pytest.approx(slope, rel=1e-3)
    assert membrane_of(AdaptiveLIF()) == pytest.approx((200, 10, -60, 10))
    assert membrane_of(CUBA) == pytest.approx((200, 10, -49, 10))
    # Without a leak a membrane remembers for a second.
    assert membrane_of(LIF(g_leak_ns=0.0)).g_ns == pytest.approx(0.2)


def test_which_weights_count():
    lone = coupling(6.0, 0.0, 5.0, LIF())
    assert coupling(jnp.array([0.0, -6.0, 6.0, 1e4, 0.0]), 0.0, 5.0, LIF()) == lone
    assert coupling(jnp.zeros(3), 0.0, 5.0, LIF()) is None
    # Shunting inhibition, whose force at rest is none, counts by that at the threshold.
    assert coupling(6.0, -60.0, 5.0, LIF()).psp == pytest.approx(0.09017, rel=1e-3)

    @jax.jit
    def traced(weights, cell):
        assert coupling(weights, 0.0, 5.0, LIF()) is None
        assert coupling(6.0, 0.0, 5.0, cell) is None
        warn_of_coupling("nothing", None)
        return weights

    traced(jnp.ones(3), LIF())
    lanes = eqx.filter_vmap(lambda w: coupling(w, 0.0, 5.0, LIF()) is None)
    assert lanes(jnp.ones(3)) is True or jnp.all(lanes(jnp.ones(3)))


@pytest.mark.parametrize("decay_ms, fan_in", [(0.0, 1), (np.inf, 1), (5.0, -1)])
def test_refusals(decay_ms, fan_in):
    with pytest.raises(ValueError, match=f"decay_ms={decay_ms}, fan_in={fan_in}"):
        coupling(6.0, 0.0, decay_ms, LIF(), fan_in)
