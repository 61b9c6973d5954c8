"""Cells whose spikes are made by channels: sodium, potassium, leak."""

import abc
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._cell import Cell, everywhere, Parameter
from ._stepping import exprel


class HodgkinHuxleyState(NamedTuple):
    """Voltage, mV, gates, and time left in which no spike is counted, ms."""

    v_mv: Float[Array, "..."]
    m: Float[Array, "..."]
    h: Float[Array, "..."]
    n: Float[Array, "..."]
    refractory_ms: Float[Array, "..."] | None


class Rates(NamedTuple):
    """At which gates open and close, one a ms."""

    open_m: Float[Array, "..."]
    close_m: Float[Array, "..."]
    open_h: Float[Array, "..."]
    close_h: Float[Array, "..."]
    open_n: Float[Array, "..."]
    close_n: Float[Array, "..."]


class _SodiumPotassium(Cell):
    """C v' = g_L (E_L - v) + g_Na m^3 h (E_Na - v) + g_K n^4 (E_K - v) + I.

    Nothing is reset. A spike is the voltage's way up through `threshold_mv`; it counts
    where that lies more than `refractory_ms`, a step at least, after the last that
    counted. A cell that is put above the threshold fires at its first step.
    """

    c_pf: eqx.AbstractVar[Parameter]
    g_leak_ns: eqx.AbstractVar[Parameter]
    e_leak_mv: eqx.AbstractVar[Parameter]
    g_na_ns: eqx.AbstractVar[Parameter]
    e_na_mv: eqx.AbstractVar[Parameter]
    g_k_ns: eqx.AbstractVar[Parameter]
    e_k_mv: eqx.AbstractVar[Parameter]
    start_mv: eqx.AbstractVar[Parameter]
    threshold_mv: eqx.AbstractVar[Parameter]
    holds_voltage: ClassVar[bool] = False

    @abc.abstractmethod
    def rates(self, v_mv: Float[Array, "..."]) -> Rates:
        """Of the gates.

        Args:
            v_mv: mV.

        Returns:
            The rates, one a ms.
        """

    def init(self, count):
        """Cells at `start_mv`, with the gates that it would lead to."""
        r = self.rates(jnp.asarray(self.start_mv, float))
        gates = (
            r.open_m / (r.open_m + r.close_m),
            r.open_h / (r.open_h + r.close_h),
            r.open_n / (r.open_n + r.close_n),
        )
        return HodgkinHuxleyState(*everywhere(count, self.start_mv, *gates, 0.0))

    def field(self, state, drive):
        """Three currents and the drive; gates by their rates."""
        v_mv, m, h, n, _ = state
        r = self.rates(v_mv)
        own_pa = (
            self.g_leak_ns * (self.e_leak_mv - v_mv)
            + self.g_na_ns * m * m * m * h * (self.e_na_mv - v_mv)
            + self.g_k_ns * (n * n) * (n * n) * (self.e_k_mv - v_mv)
        )
        return HodgkinHuxleyState(
            (own_pa + drive.at(v_mv)) / self.c_pf,
            r.open_m * (1 - m) - r.close_m * m,
            r.open_h * (1 - h) - r.close_h * h,
            r.open_n * (1 - n) - r.close_n * n,
            None,
        )

    def margin_mv(self, state):
        """Voltage less threshold."""
        return state.v_mv - self.threshold_mv

    def reset(self, state, spiked):
        """Only a time begins in which no spike is counted."""
        return state._replace(
            refractory_ms=jnp.where(spiked, self.refractory_ms, state.refractory_ms)
        )


class HodgkinHuxley(_SodiumPotassium):
    """The squid's giant axon at 6.3 C (Hodgkin & Huxley 1952), with rest at -65 mV.

    The paper's 1 uF/cm2 and 120, 36 and 0.3 mS/cm2 are here those of 1e-4 cm2: its
    10 uA/cm2 are 1000 pA.

    Attributes:
        start_mv: where `init` puts cells, within 0.004 mV of rest.
        threshold_mv: through which a spike goes.
        refractory_ms: in which no other spike is counted.
    """

    c_pf: Parameter = 100.0
    g_leak_ns: Parameter = 30.0
    e_leak_mv: Parameter = -54.387
    g_na_ns: Parameter = 12000.0
    e_na_mv: Parameter = 50.0
    g_k_ns: Parameter = 3600.0
    e_k_mv: Parameter = -77.0
    start_mv: Parameter = -65.0
    threshold_mv: Parameter = 0.0
    refractory_ms: Parameter = 3.0

    def rates(self, v_mv):
        """Equations 12, 13, 20, 21, 23 and 24, with today's sign of the voltage."""
        u = v_mv + 65
        return Rates(
            open_m=_over_exprel((25 - u) / 10),
            close_m=4 * jnp.exp(-u / 18),
            open_h=0.07 * jnp.exp(-u / 20),
            close_h=jax.nn.sigmoid((u - 30) / 10),
            open_n=0.1 * _over_exprel((10 - u) / 10),
            close_n=0.125 * jnp.exp(-u / 80),
        )

    def steps_after(self, state, left):
        """One less; but the last is not over while the voltage is above."""
        above = self.margin_mv(state) >= 0
        return jnp.where(left > 0, jnp.maximum(left - 1, above), left)


class TraubMiles(_SodiumPotassium):
    """A pyramidal cell's soma: Traub & Miles 1991, in the form of Brette et al. 2007.

    It is benchmark 3's. Without a drive it has no rest, but fires at 13.8 Hz. A cell
    whose voltage stays above the threshold spikes again and again, as often as it is
    not refractory: so do those of Brian2, whose spikes the network of benchmark 3 has
    one by one.

    Attributes:
        v_t_mv: voltage from which those of the rates are counted.
        start_mv: where `init` puts cells.
        threshold_mv: through which a spike goes.
        refractory_ms: in which no other spike is counted.
    """

    c_pf: Parameter = 200.0
    g_leak_ns: Parameter = 10.0
    e_leak_mv: Parameter = -60.0
    g_na_ns: Parameter = 20000.0
    e_na_mv: Parameter = 50.0
    g_k_ns: Parameter = 6000.0
    e_k_mv: Parameter = -90.0
    v_t_mv: Parameter = -63.0
    start_mv: Parameter = -60.0
    threshold_mv: Parameter = -20.0
    refractory_ms: Parameter = 3.0

    def rates(self, v_mv):
        """Those of benchmark 3."""
        u = v_mv - self.v_t_mv
        return Rates(
            open_m=1.28 * _over_exprel((13 - u) / 4),
            close_m=1.4 * _over_exprel((u - 40) / 5),
            open_h=0.128 * jnp.exp((17 - u) / 18),
            close_h=4 * jax.nn.sigmoid((u - 40) / 5),
            open_n=0.16 * _over_exprel((15 - u) / 5),
            close_n=0.5 * jnp.exp((10 - u) / 40),
        )


def _over_exprel(z):
    # From z = 80 on it is nothing beside any other rate, and e^z soon not finite.
    return 1 / exprel(jnp.minimum(z, 80))
