"""Cells that integrate, and fire at a threshold."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._cell import Cell, everywhere, Parameter


MOST_EXPONENT = 20.0  # a spike rises by 5e8 slope factors a membrane time there


class Resetting(Cell):
    """Fires at a voltage and starts again from another."""

    threshold_mv: eqx.AbstractVar[Parameter]
    reset_mv: eqx.AbstractVar[Parameter]

    def margin_mv(self, state):
        """Voltage less threshold."""
        return state.v_mv - self.threshold_mv

    def reset(self, state, spiked):
        """The voltage starts again; refractoriness begins."""
        return state._replace(
            v_mv=jnp.where(spiked, self.reset_mv, state.v_mv),
            refractory_ms=jnp.where(spiked, self.refractory_ms, state.refractory_ms),
        )


class MembraneState(NamedTuple):
    """Voltage, mV, and refractory time left, ms."""

    v_mv: Float[Array, "..."]
    refractory_ms: Float[Array, "..."] | None


class LIF(Resetting):
    """Leaky integrate-and-fire: C v' = g_L (E_L - v) + I.

    The drive decides whether its input is currents or conductances. Defaults are those
    of Vogels & Abbott 2005 (benchmark 1 of Brette et al. 2007).
    """

    c_pf: Parameter = 200.0
    g_leak_ns: Parameter = 10.0
    e_leak_mv: Parameter = -60.0
    threshold_mv: Parameter = -50.0
    reset_mv: Parameter = -60.0
    refractory_ms: Parameter = 5.0

    @property
    def tau_ms(self):
        """The membrane's time constant."""
        return self.c_pf / self.g_leak_ns

    def init(self, count):
        """Cells at the leak's reversal potential."""
        return MembraneState(*everywhere(count, self.e_leak_mv, 0.0))

    def field(self, state, drive):
        """Leak and drive."""
        leak_pa = self.g_leak_ns * (self.e_leak_mv - state.v_mv)
        return MembraneState((leak_pa + drive.at(state.v_mv)) / self.c_pf, None)


class ExpIF(Resetting):
    """Exponential integrate-and-fire, whose spikes set off by themselves.

    C v' = g_L (E_L - v) + g_L D exp((v - V_T) / D) + I. The exponent is cut at 20, that
    is at V_T + 20 D. Defaults are those of Fourcaud-Trocme et al. 2003, whose 1 uF/cm2
    and 0.1 mS/cm2 are here those of 1e-4 cm2.

    Attributes:
        v_t_mv: voltage V_T at which the field is least, where a current is just enough.
        slope_mv: slope factor D.
        threshold_mv: where a spike, which would soon be infinite, is cut.
    """

    c_pf: Parameter = 100.0
    g_leak_ns: Parameter = 10.0
    e_leak_mv: Parameter = -65.0
    v_t_mv: Parameter = -59.9
    slope_mv: Parameter = 3.48
    threshold_mv: Parameter = -30.0
    reset_mv: Parameter = -68.0
    refractory_ms: Parameter = 1.7

    def init(self, count):
        """Cells where leak and exponential are in balance."""
        v_mv = _balance(self.e_leak_mv, self.v_t_mv, self.slope_mv, 1.0)
        return MembraneState(*everywhere(count, v_mv, 0.0))

    def field(self, state, drive):
        """Leak, exponential and drive."""
        v_mv = state.v_mv
        own_pa = self.g_leak_ns * (
            self.e_leak_mv - v_mv + _upstroke(v_mv, self.v_t_mv, self.slope_mv)
        )
        return MembraneState((own_pa + drive.at(v_mv)) / self.c_pf, None)


class AdExState(NamedTuple):
    """Voltage, mV, adaptation current, pA, and refractory time left, ms."""

    v_mv: Float[Array, "..."]
    w_pa: Float[Array, "..."]
    refractory_ms: Float[Array, "..."] | None


class AdEx(Resetting):
    """Adaptive exponential integrate-and-fire (Brette & Gerstner 2005).

    C v' = g_L (E_L - v) + g_L D exp((v - V_T) / D) - w + I, tau_w w' = a (v - E_L) - w;
    a spike adds b to w. The exponent is cut at 20, that is at V_T + 20 D, and what w
    follows at the threshold. Defaults are the paper's.

    Attributes:
        v_t_mv: voltage V_T at which the exponential's slope is the leak's.
        slope_mv: slope factor D.
        threshold_mv: where a spike, which would soon be infinite, is cut.
        a_ns: adaptation by the voltage.
        b_pa: adaptation by a spike.
    """

    c_pf: Parameter = 281.0
    g_leak_ns: Parameter = 30.0
    e_leak_mv: Parameter = -70.6
    v_t_mv: Parameter = -50.4
    slope_mv: Parameter = 2.0
    threshold_mv: Parameter = 20.0
    reset_mv: Parameter = -70.6
    refractory_ms: Parameter = 0.0
    tau_w_ms: Parameter = 144.0
    a_ns: Parameter = 4.0
    b_pa: Parameter = 80.5

    def init(self, count):
        """Cells where leak, exponential and adaptation are in balance."""
        leaks = 1.0 + self.a_ns / self.g_leak_ns
        v_mv = _balance(self.e_leak_mv, self.v_t_mv, self.slope_mv, leaks)
        w_pa = self.a_ns * (v_mv - self.e_leak_mv)
        return AdExState(*everywhere(count, v_mv, w_pa, 0.0))

    def field(self, state, drive):
        """Leak, exponential, adaptation and drive."""
        v_mv = state.v_mv
        own_pa = self.g_leak_ns * (
            self.e_leak_mv - v_mv + _upstroke(v_mv, self.v_t_mv, self.slope_mv)
        )
        # A step may end far above the cut; adaptation is not to take that for real.
        above_leak_mv = jnp.minimum(v_mv, self.threshold_mv) - self.e_leak_mv
        return AdExState(
            (own_pa - state.w_pa + drive.at(v_mv)) / self.c_pf,
            (self.a_ns * above_leak_mv - state.w_pa) / self.tau_w_ms,
            None,
        )

    def reset(self, state, spiked):
        """The voltage starts again; adaptation gains b."""
        state = super().reset(state, spiked)
        return state._replace(
            w_pa=jnp.where(spiked, state.w_pa + self.b_pa, state.w_pa)
        )


class IzhikevichState(NamedTuple):
    """Voltage, mV, recovery, mV/ms, and refractory time left, ms."""

    v_mv: Float[Array, "..."]
    u_mv_per_ms: Float[Array, "..."]
    refractory_ms: Float[Array, "..."] | None


class Izhikevich(Resetting):
    """Izhikevich's simple model (2003).

    v' = 0.04 v^2 + 5 v + 140 - u + I, u' = a (b v - u); a spike adds d to u. The
    paper's current has no unit but that of v', mV/ms, which is pA/pF: its I is the
    drive's pA over `c_pf`. It has no capacitance either; 100 pF is that of the regular
    spiking cell of Izhikevich 2007, chapter 8, so that I = 10 is 1000 pA. Defaults are
    the regular spiking cell.

    Attributes:
        a_per_ms: rate of recovery.
        b_per_ms: recovery by the voltage.
        reset_mv: the paper's c.
        d_mv_per_ms: recovery by a spike.
    """

    c_pf: Parameter = 100.0
    a_per_ms: Parameter = 0.02
    b_per_ms: Parameter = 0.2
    threshold_mv: Parameter = 30.0
    reset_mv: Parameter = -65.0
    d_mv_per_ms: Parameter = 8.0
    refractory_ms: Parameter = 0.0

    def init(self, count):
        """Cells at rest, or, where b is too large for any, where v' is least."""
        line = 5.0 - self.b_per_ms
        room = line**2 - 4 * 0.04 * 140
        # The root's slope at 0 is no number, also where the root is not taken.
        root = jnp.where(room > 0, jnp.sqrt(jnp.where(room > 0, room, 1)), 0)
        v_mv = -(line + root) / 0.08
        return IzhikevichState(*everywhere(count, v_mv, self.b_per_ms * v_mv, 0.0))

    def field(self, state, drive):
        """The two equations."""
        v_mv, u = state.v_mv, state.u_mv_per_ms
        return IzhikevichState(
            (0.04 * v_mv + 5.0) * v_mv + 140.0 - u + drive.at(v_mv) / self.c_pf,
            self.a_per_ms * (self.b_per_ms * v_mv - u),
            None,
        )

    def reset(self, state, spiked):
        """The voltage starts again; recovery gains d."""
        state = super().reset(state, spiked)
        u = state.u_mv_per_ms
        return state._replace(u_mv_per_ms=jnp.where(spiked, u + self.d_mv_per_ms, u))


class AdaptiveLIFState(NamedTuple):
    """Voltage, mV, the threshold's excess, mV, and refractory time left, ms."""

    v_mv: Float[Array, "..."]
    excess_mv: Float[Array, "..."]
    refractory_ms: Float[Array, "..."] | None


class AdaptiveLIF(Cell):
    """Leaky integrate-and-fire with a threshold that spikes raise (Bellec et al. 2020).

    A spike lowers the voltage by `threshold_mv - e_leak_mv`, whatever the threshold is
    by then, and the voltage goes on at once: a refractory cell only cannot fire. Both
    happen at the end of the spike's step, in the paper at the end of the next. The
    threshold is 10 mV above the leak, as in Bellec et al. 2018; the rest is that of the
    2020 paper's evidence accumulation, whose threshold of 0.6 is here those 10 mV.

    Attributes:
        threshold_mv: without excess.
        excess_mv: what a spike adds to the threshold.
        tau_excess_ms: over which that goes.
    """

    c_pf: Parameter = 200.0
    g_leak_ns: Parameter = 10.0
    e_leak_mv: Parameter = -60.0
    threshold_mv: Parameter = -50.0
    excess_mv: Parameter = 0.29
    tau_excess_ms: Parameter = 2000.0
    refractory_ms: Parameter = 5.0
    holds_voltage: ClassVar[bool] = False

    @property
    def tau_ms(self):
        """The membrane's time constant."""
        return self.c_pf / self.g_leak_ns

    def init(self, count):
        """Cells at the leak's reversal potential, with the lowest threshold."""
        return AdaptiveLIFState(*everywhere(count, self.e_leak_mv, 0.0, 0.0))

    def field(self, state, drive):
        """Leak and drive; the excess decays."""
        leak_pa = self.g_leak_ns * (self.e_leak_mv - state.v_mv)
        return AdaptiveLIFState(
            (leak_pa + drive.at(state.v_mv)) / self.c_pf,
            -state.excess_mv / self.tau_excess_ms,
            None,
        )

    def margin_mv(self, state):
        """Voltage less the threshold with its excess."""
        return state.v_mv - self.threshold_mv - state.excess_mv

    def reset(self, state, spiked):
        """Voltage down, threshold up."""
        v_mv, excess_mv = state.v_mv, state.excess_mv
        lower_mv = v_mv - (self.threshold_mv - self.e_leak_mv)
        return AdaptiveLIFState(
            jnp.where(spiked, lower_mv, v_mv),
            jnp.where(spiked, excess_mv + self.excess_mv, excess_mv),
            jnp.where(spiked, self.refractory_ms, state.refractory_ms),
        )


def _upstroke(v_mv, v_t_mv, slope_mv):
    """The exponential, as the voltage by which it outweighs the leak."""
    exponent = jnp.minimum((v_mv - v_t_mv) / slope_mv, MOST_EXPONENT)
    return slope_mv * jnp.exp(exponent)


def _balance(e_leak_mv, v_t_mv, slope_mv, leaks):
    """The lower voltage at which the leak, so many times, outweighs the upstroke."""
    # Newton's steps rise to it from the left, as the excess is convex; without a
    # balance they stop a little below V_T.
    v_mv = jnp.asarray(e_leak_mv, float)
    for _ in range(12):
        upstroke = _upstroke(v_mv, v_t_mv, slope_mv)
        excess = upstroke - leaks * (v_mv - e_leak_mv)
        v_mv = v_mv + excess / jnp.maximum(leaks - upstroke / slope_mv, 1e-3)
        v_mv = jnp.minimum(v_mv, v_t_mv - 1e-3 * slope_mv)
    return v_mv
