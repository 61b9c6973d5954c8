"""A column of cortex below 1 mm2 in numbers: those of Potjans and Diesmann 2014."""

from typing import NamedTuple

import numpy as np


POPULATIONS = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
CELLS = np.array([20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948])
# Chance of at least one synapse, to a row's population from a column's.
CHANCE = np.array(
    [
        [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0, 0.0076, 0.0],
        [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0, 0.0042, 0.0],
        [0.0077, 0.0059, 0.0497, 0.135, 0.0067, 0.0003, 0.0453, 0.0],
        [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0, 0.1057, 0.0],
        [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0],
        [0.0548, 0.0269, 0.0257, 0.0022, 0.06, 0.3158, 0.0086, 0.0],
        [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
        [0.0364, 0.001, 0.0034, 0.0005, 0.0277, 0.008, 0.0658, 0.1443],
    ]
)
OUTSIDE = np.array([1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100])  # inputs of a cell
OUTSIDE_HZ = 8.0
FULL_HZ = np.array([0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829])
FIRST_MV = np.array([-68.28, -63.16, -63.33, -63.45, -63.11, -61.66, -66.72, -61.43])
FIRST_SPREAD_MV = np.array([5.36, 4.57, 4.74, 4.94, 4.94, 4.55, 5.46, 4.48])
C_PF, TAU_MS, TAU_SYNAPSE_MS = 250.0, 10.0, 0.5
E_LEAK_MV, THRESHOLD_MV, REFRACTORY_MS = -65.0, -50.0, 2.0
PSP_MV, INHIBITORY, WEIGHT_SPREAD = 0.15, -4.0, 0.1
DELAY_MS, DELAY_SPREAD = (1.5, 0.75), 0.5  # from excitatory and inhibitory cells


class Column(NamedTuple):
    """A column with fewer cells and fewer synapses of each.

    Attributes:
        cells: of each population.
        synapses: in all, to a row's population from a column's.
        weights_pa: mean of theirs.
        outside_pa: of a synapse from outside.
        outside_hz: spikes that a cell of each population gets from there.
        constant_pa: what makes up for what is missing, of each population.
    """

    cells: np.ndarray
    synapses: np.ndarray
    weights_pa: np.ndarray
    outside_pa: float
    outside_hz: np.ndarray
    constant_pa: np.ndarray


def pa_of_psp() -> float:
    """The current of a synapse whose potential has a peak of 1 mV.

    C v' = -C v / tau_m + I e^(-t / tau_s) is I / C times a difference of exponentials,
    which is largest at t* = log(tau_m / tau_s) tau_m tau_s / (tau_m - tau_s).

    Returns:
        pA.
    """
    m, s = TAU_MS, TAU_SYNAPSE_MS
    peak_ms = np.log(m / s) * m * s / (m - s)
    shape = m * s / (m - s) * (np.exp(-peak_ms / m) - np.exp(-peak_ms / s))
    return C_PF / shape


def column(cells_scale: float, synapses_scale: float) -> Column:
    """Fewer synapses are stronger, so that the input's variance stays; a current is its
    mean's rest (van Albada et al. 2015).

    Args:
        cells_scale: part of the cells.
        synapses_scale: part of the synapses of a cell.

    Returns:
        The column.
    """
    pairs = np.outer(CELLS, CELLS)
    # As many draws of a pair, with replacement, as leave out each with that chance.
    full = np.log1p(-CHANCE) / np.log1p(-1 / pairs)
    weights_pa = np.tile(
        PSP_MV * pa_of_psp() * np.where(np.arange(8) % 2, INHIBITORY, 1.0), (8, 1)
    )
    weights_pa[0, 2] *= 2  # from layer 4 to layer 2/3
    outside_pa = PSP_MV * pa_of_psp()
    within = np.sum(weights_pa * full / CELLS[:, None] * FULL_HZ, 1)
    outside = outside_pa * OUTSIDE * OUTSIDE_HZ
    missing = (1 - np.sqrt(synapses_scale)) * TAU_SYNAPSE_MS / 1000
    stronger = 1 / np.sqrt(synapses_scale)
    return Column(
        np.round(CELLS * cells_scale).astype(int),
        np.round(full * cells_scale * synapses_scale).astype(int),
        weights_pa * stronger,
        float(outside_pa * stronger),
        OUTSIDE * synapses_scale * OUTSIDE_HZ,
        missing * (within + outside),
    )
