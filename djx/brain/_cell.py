"""What every neuron of one compartment is: a field, a threshold, a reset."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._drive import Drive
from ._stepping import exponential_euler


Parameter: TypeAlias = Float[Array, "..."] | float
"""One number for all cells, or one for each."""

State: TypeAlias = Any
"""A NamedTuple of arrays, with `v_mv` first and `refractory_ms` last."""


class Cell(eqx.Module):
    """Neurons of a kind, each by itself.

    Parameters are fields, so that they can be differentiated and mapped over. What
    changes is in the state, a NamedTuple whose first field is `v_mv`, and whose last is
    `refractory_ms`, the time for which the cell is yet to be refractory.

    A refractory cell's voltage stays at the reset for as many steps, after that of the
    spike, as `refractory_ms / dt_ms` is to the nearest whole number. In cells whose
    voltage goes on, the next spike is that many steps after the last at the earliest.
    What is left is rounded to whole steps at every step before one is taken off, so
    that no rounding error can add up: the number is right in any precision.
    """

    refractory_ms: eqx.AbstractVar[Parameter]
    holds_voltage: ClassVar[bool] = True  # while refractory; else it only cannot fire

    @property
    def tau_ms(self) -> Parameter | None:
        """The membrane's time constant, where it is a linear leak; else None."""
        return None

    @abc.abstractmethod
    def init(self, count: int | tuple[int, ...]) -> State:
        """Cells at rest.

        Args:
            count: how many, or their shape.

        Returns:
            Their state.
        """

    @abc.abstractmethod
    def field(self, state: State, drive: Drive) -> State:
        """How the state changes between spikes, had no cell been refractory.

        Args:
            state: of cells.
            drive: what flows into them.

        Returns:
            Slopes a ms; None for `refractory_ms`, which the steps count down.
        """

    @abc.abstractmethod
    def margin_mv(self, state: State) -> Float[Array, "..."]:
        """How far the voltage is above the threshold; a surrogate is a function of it.

        Args:
            state: of cells.

        Returns:
            mV, negative below it.
        """

    @abc.abstractmethod
    def reset(self, state: State, spiked: Bool[Array, "..."]) -> State:
        """What a spike does to those that fired.

        Args:
            state: before.
            spiked: who fired.

        Returns:
            The state after.
        """

    def may_fire(self, state: State) -> Bool[Array, "..."]:
        """Who is not refractory.

        Args:
            state: after integration, before the reset.

        Returns:
            Who could.
        """
        return state.refractory_ms <= 0

    def spiked(self, state: State) -> Bool[Array, "..."]:
        """Who has reached the threshold, and may fire.

        Args:
            state: after integration, before the reset.

        Returns:
            Who fires.
        """
        return (self.margin_mv(state) >= 0) & self.may_fire(state)

    def integrate(
        self,
        state: State,
        drive: Drive,
        dt_ms: Float[Array, ""] | float,
        method: Callable = exponential_euler,
    ) -> State:
        """The first part of a step: all but threshold and reset.

        Args:
            state: at the step's start.
            drive: over the step.
            dt_ms: its length, ms.
            method: `exponential_euler`, `forward_euler` or `heun`.

        Returns:
            The state at the step's end, with a step less of refractoriness.
        """
        left = whole_steps(state.refractory_ms, dt_ms)
        held = None
        if self.holds_voltage:
            held = jax.tree.map(lambda _: None, state)._replace(v_mv=left > 0)
        state = method(lambda s: self.field(s, drive), state, dt_ms, held)
        left = self.steps_after(state, left) * dt_ms
        return state._replace(refractory_ms=left.astype(state.refractory_ms.dtype))

    def steps_after(
        self, state: State, left: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """Refractory steps that are left after one more.

        Args:
            state: at the step's end.
            left: before it.

        Returns:
            Whole numbers.
        """
        return one_less(left)

    def step(
        self,
        state: State,
        drive: Drive,
        dt_ms: Float[Array, ""] | float,
        method: Callable = exponential_euler,
    ) -> tuple[State, Bool[Array, "..."]]:
        """One step: integrates, counts refractoriness down, looks for spikes, resets.

        Args:
            state: at the step's start.
            drive: over the step.
            dt_ms: its length, ms.
            method: `exponential_euler`, `forward_euler` or `heun`.

        Returns:
            The state after it, and who fired at its end.
        """
        state = self.integrate(state, drive, dt_ms, method)
        spiked = self.spiked(state)
        return self.reset(state, spiked), spiked


def whole_steps(
    left_ms: Float[Array, "..."], dt_ms: Float[Array, ""] | float
) -> Float[Array, "..."]:
    """A time in steps, to the nearest whole number."""
    return jnp.round(left_ms * (1 / dt_ms))


def one_less(left: Float[Array, "..."]) -> Float[Array, "..."]:
    """Steps that are left after one more."""
    return jnp.maximum(left - 1, 0)


def term(cell: Cell, drive_of_t: Callable[[Any], Drive]):
    """A cell between spikes as an equation for `djx.diffeq.diffeqsolve` or diffrax.

    Neither threshold nor refractoriness are in it.

    Args:
        cell: which; its parameters may be differentiated by.
        drive_of_t: what flows in at a time in ms.

    Returns:
        A `diffrax.ODETerm`, whose state is the cell's.
    """
    import diffrax

    return diffrax.ODETerm(_FieldOfTime(cell, drive_of_t))


class _FieldOfTime(eqx.Module):
    cell: Cell
    drive_of_t: Callable[[Any], Drive]

    def __call__(self, t, y, args):
        slopes = self.cell.field(y, self.drive_of_t(t))
        return jax.tree.map(
            lambda x, slope: jnp.zeros_like(x) if slope is None else slope,
            y,
            slopes,
            is_leaf=lambda x: x is None,
        )


def everywhere(
    count: int | tuple[int, ...], *values: Parameter
) -> tuple[Float[Array, "..."], ...]:
    """The same for every cell, or each cell's own.

    Args:
        count: of cells, or their shape.
        values: of variables.

    Returns:
        An array for each, in the default precision.
    """
    return tuple(jnp.full(count, value, float) for value in values)
