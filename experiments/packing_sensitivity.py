"""How a jammed packing of soft spheres answers to the diameter of half of them.

Sources: Blondel et al. 2022 (section 4.4: implicit against unrolled sensitivities),
Schoenholz and Cubuk 2020 (JAX MD), Bitzek et al. 2006 (FIRE). One step of the loop is a
block of FIRE steps; evaluation settles the packing to rounding and differentiates.
"""

import functools as ft
from typing import Annotated, Any, cast, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from pydantic import Field

from djx import implicit
from djx.run import Config as BaseConfig, Experiment, Report, Results, Section
from experiments import _packing_sensitivity_figures as figures
from experiments._packing_sensitivity_fire import advance, Fire, rest
from experiments._packing_sensitivity_measure import (
    held_part,
    implicit_sensitivity,
    judged,
)
from experiments._packing_sensitivity_spheres import (
    backbone,
    contacts,
    energy,
    length,
    settle,
    slope,
    Spheres,
    spheres,
)


class Packing(Section):
    """Spheres in a periodic square, half of diameter 1, half smaller."""

    particles: Annotated[int, Field(ge=8)] = 128
    small: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Diameter of the small half, in which positions are differentiated."""
    fraction: Annotated[float, Field(gt=0)] = 0.9
    """Area of all spheres by that of the box; discs jam at about 0.84."""


class Relaxation(Section):
    """FIRE: how long, and how long its steps are."""

    block: Annotated[int, Field(gt=0)] = 100
    """FIRE steps of one step of the loop."""
    first_step: Annotated[float, Field(gt=0)] = 0.1
    """Of time."""
    longest_step: Annotated[float, Field(gt=0)] = 0.4
    """Of time."""


class Config(BaseConfig):
    """Sensitivity of a packing."""

    packing: Packing = Packing()
    relaxation: Relaxation = Relaxation()
    method: Literal["eigh", "cg", "lu", "unrolled"] = "eigh"
    """unrolled: FIRE's own steps in forward mode; the others: implicit, and the linear
    method that the Hessian is solved with."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of the linear solve; djx' own if absent."""


class State(NamedTuple):
    """The relaxation, and where it is differentiated its tangent."""

    fire: Fire
    tangent: Fire | None


def system_of(config: Config) -> Spheres:
    """The spheres of a config."""
    packing = config.packing
    return spheres(packing.particles, packing.small, packing.fraction)


def build(config: Config) -> Experiment:
    """The experiment of one arm."""
    system, relaxation = system_of(config), config.relaxation
    unrolled = config.method == "unrolled"

    def init(key):
        x = system.side * jr.uniform(key, (system.count, 2))
        force = -slope(system, x, jnp.asarray(config.packing.small))
        fire = rest(x, force, relaxation.first_step)
        return State(fire, jax.tree.map(jnp.zeros_like, fire) if unrolled else None)

    def block(fire, small):
        def one(_, fire):
            push = lambda x: -slope(system, x, small)  # noqa: E731
            return advance(push, fire, relaxation.longest_step)

        return jax.lax.fori_loop(0, relaxation.block, one, fire)

    def step(state, index, key):
        del index, key
        small = jnp.asarray(config.packing.small)
        if unrolled:
            one = jnp.ones_like(small)
            fire, tangent = jax.jvp(block, (state.fire, small), (state.tangent, one))
        else:
            fire, tangent = block(state.fire, small), None
        metrics = {
            "energy": energy(system, fire.x, small),
            "force": length(fire.force),
        }
        if tangent is not None:
            held = backbone(contacts(system, fire.x, small))
            metrics["l1"] = jnp.sum(jnp.abs(held_part(tangent.x, held)))
        return State(fire, tangent), metrics

    def evaluate(state, key):
        del key
        small = jnp.asarray(config.packing.small)
        x, tangent, told = sensitivity(config, state, small)
        return judged(system, small, x, tangent) | told

    return Experiment(init, step, evaluate, _report)


def sensitivity(config: Config, state: State, small: Any):
    """The settled packing, its derivative by the arm's method, and what that reports.

    Args:
        config: of the arm.
        state: of one lane.
        small: diameter of the small spheres.

    Returns:
        Positions and their derivative, `(particles, 2)`, and metrics.
    """
    system = system_of(config)
    x = settle(system, small, state.fire.x)
    if config.method == "unrolled":
        assert state.tangent is not None
        tangent = state.tangent.x
        # Nothing but a number that is none tells that an unrolled derivative is wrong.
        failed = 1 - jnp.all(jnp.isfinite(tangent)).astype(jnp.int32)
        return x, tangent, {"failed": failed}
    gradient = implicit.Gradient(linear=config.method, tolerance=config.tolerance)
    tangent, receipt = implicit_sensitivity(system, small, x, gradient)
    told = {
        "failed": receipt.failed,
        "solve_residual": receipt.residual,
        "solve_condition": receipt.condition,
        "solve_error": receipt.error,
        "solve_iterations": receipt.iterations,
    }
    return x, tangent, told


def _report(results: Results, report: Report) -> None:
    def packed(arm: str, lane: int):
        """One seed's packing, the sensitivity of what is held, and what that is."""
        config = cast(Config, results.arms[arm].config)
        small = jnp.asarray(config.packing.small)
        state = results.arms[arm].lane(lane)
        x, tangent, _ = jax.jit(ft.partial(sensitivity, config))(state, small)
        system = system_of(config)
        held = backbone(contacts(system, x, small))
        return x, held_part(tangent, held), held, system, config.packing.small

    figures.draw(results, report, packed)
