"""Changes of weights: of edges of those that fired, and their derivatives."""

import functools as ft
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._connectivity import Connectivity
from ._incoming import Groups, Incoming
from ._loops import each_set, put, taken, words_of
from ._push import over_rows


class Factors(NamedTuple):
    """An edge is lowered by the product of the first two, raised by that of others."""

    weakens: Array  # of senders, or of every step sent in and sender
    by_cells: Array
    by_senders: Array  # likewise
    strengthens: Array  # of cells


class Wiring(eqx.Module):
    """Where edges are, and at which places of senders they look."""

    connectivity: Connectivity
    incoming: Incoming
    step: Int[Array, ""]

    def leaving(self, chosen):
        """Edges at which spikes arrive that were sent from some places."""
        groups, group = self._arriving(chosen)
        return groups.members(group)

    def each_leaving(self, place, visit, carry):
        """Those of one place in a loop, `visit` being `(edge, carry)`."""
        groups, group = self._arriving(place)
        return groups.each(group, lambda _, edge, carry: visit(edge, carry), carry)

    def _arriving(self, chosen):
        connectivity, groups = self.connectivity, self.incoming.by_arrival
        if groups is None:
            edges, longest = connectivity.edges, connectivity.longest
            return Groups(None, connectivity.rows, edges, longest), chosen
        count = connectivity.senders
        sent_in, sender = chosen // count, chosen % count
        since = (self.step - sent_in) % connectivity.latest
        none = chosen >= connectivity.latest * count
        return groups, jnp.where(none, chosen, since * count + sender)

    def sent_from(self, edge, sender, of):
        """The place from which came what is at an edge by now."""
        connectivity = self.connectivity
        if connectivity.delays is None:
            return sender
        since = of(connectivity.delays, edge) - 1
        sent_in = (self.step - since) % connectivity.latest
        return sent_in * connectivity.senders + sender

    def cell(self, edge, of):
        """Which an edge leads to."""
        return of(self.connectivity.targets, edge) % self.incoming.cells


def _one_of(array, place):
    return taken(array, (place,))


def _some_of(array, places):
    return array.at[places].get(mode="fill", fill_value=0)


def changed(
    powers: tuple[float, float],
    weights: Float[Array, " edges"],
    factors: Factors,
    bounds: tuple[Float[Array, ""], Float[Array, ""]],
    wiring: Wiring,
) -> Float[Array, " edges"]:
    """Weights after a step: first what weakens, then what strengthens.

    Args:
        powers: of what is left of the range, below a weight and above it.
        weights: before.
        factors: by how much.
        bounds: the lowest and the highest weight.
        wiring: which edges.

    Returns:
        The weights, by a look at the edges of those that fired; their derivatives, in
        both directions, by a look at all.
    """
    if not weights.size:
        return weights
    return _changed(powers, weights, factors, bounds, wiring)


@ft.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _changed(powers, weights, factors, bounds, wiring):
    # Lanes one after the other: in one loop for all each turn would copy the weights.
    @jax.custom_batching.sequential_vmap
    def one(*given):
        ways = {"cpu": _one_by_one, "default": _rows_at_once}
        ways = {name: ft.partial(way, powers) for name, way in ways.items()}
        return jax.lax.platform_dependent(*given, **ways)

    return one(weights, factors, bounds, wiring)


@_changed.defjvp
def _changed_jvp(powers, primals, tangents):
    def of_all(weights, factors, bounds):
        return _by_edges(powers, weights, factors, bounds, primals[3])

    along = jax.jvp(of_all, primals[:3], tangents[:3])[1]
    return _changed(powers, *primals), along


def _one_by_one(powers, weights, factors, bounds, wiring):
    """By edges of those that fired, in loops that XLA compiles as C++ would be."""
    by_cell, senders = wiring.incoming.by_cell, wiring.incoming.senders

    def lower(place, weights):
        weakens = _one_of(factors.weakens, place)

        def one(edge, weights):
            by = weakens * _one_of(factors.by_cells, wiring.cell(edge, _one_of))
            lower = _lowered(powers, _one_of(weights, edge), by, bounds)
            return put(weights, (edge,), lower)

        return wiring.each_leaving(place, one, weights)

    def higher(cell, weights):
        strengthens = _one_of(factors.strengthens, cell)

        def one(place, edge, weights):
            sent_from = wiring.sent_from(edge, _one_of(senders, place), _one_of)
            by = _one_of(factors.by_senders, sent_from) * strengthens
            higher = _raised(powers, _one_of(weights, edge), by, bounds)
            return put(weights, (edge,), higher)

        return by_cell.each(cell, one, weights)

    for who, visit in ((factors.weakens, lower), (factors.strengthens, higher)):
        weights = each_set(words_of(who != 0), (), visit, weights)
    return weights


def _rows_at_once(powers, weights, factors, bounds, wiring):
    """By edges of those that fired, some rows at a time."""
    incoming = wiring.incoming

    def lower(chosen, weights):
        edge = wiring.leaving(chosen)
        by = _some_of(factors.weakens, chosen)[:, None]
        by = by * _some_of(factors.by_cells, wiring.cell(edge, _some_of))
        return _put(
            weights, edge, _lowered(powers, _some_of(weights, edge), by, bounds)
        )

    def higher(chosen, weights):
        place = incoming.by_cell.places(chosen)
        edge = incoming.by_cell.members(chosen)
        sender = _some_of(incoming.senders, place)
        by = _some_of(factors.by_senders, wiring.sent_from(edge, sender, _some_of))
        by = by * _some_of(factors.strengthens, chosen)[:, None]
        return _put(weights, edge, _raised(powers, _some_of(weights, edge), by, bounds))

    for mask, turn in (
        (factors.weakens != 0, lower),
        (factors.strengthens != 0, higher),
    ):
        weights = over_rows(mask, 12 + mask.shape[0] // 512, turn, weights)
    return weights


def _by_edges(powers, weights, factors, bounds, wiring):
    """The same, edge by edge, whether anybody fired or not."""
    connectivity = wiring.connectivity
    edge = jnp.arange(connectivity.edges)
    cell = wiring.cell(edge, _some_of)
    place = wiring.sent_from(edge, connectivity.sender_of_edges(), _some_of)
    by = factors.weakens[place] * factors.by_cells[cell]
    weights = _lowered(powers, weights, by, bounds)
    by = factors.by_senders[place] * factors.strengthens[cell]
    return _raised(powers, weights, by, bounds)


def _put(weights, edge, values):
    return weights.at[edge].set(values, mode="drop", unique_indices=True)


def _lowered(powers, weights, by, bounds):
    least, most = bounds
    if powers[0]:
        by = by * _power((weights - least) / (most - least), powers[0])
    return _within(weights - by, bounds)


def _raised(powers, weights, by, bounds):
    least, most = bounds
    if powers[1]:
        by = by * _power((most - weights) / (most - least), powers[1])
    return _within(weights + by, bounds)


def _within(weights, bounds):
    # At a bound, `jnp.clip` would let half of a derivative through.
    least, most = bounds
    weights = jnp.where(weights < least, least, weights)
    return jnp.where(weights > most, most, weights)


def _power(share, power):
    there = share > 0  # at the bound a root's slope would be no number
    return jnp.where(there, jnp.where(there, share, 1) ** power, 0)
