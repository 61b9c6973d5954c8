"""NEST on one thread: a worker in an environment of its own."""

# NEST is in the worker's environment only.
# pyright: reportMissingImports=false

import time

import numpy as np

from .. import brain_problems as problems
from ..harness import Numbers, Run


REQUIREMENTS = ("nest-simulator==3.10.0", "numpy==2.4.6")


def setup(cells: str, parts: str) -> Run:
    """`setup` of a second, or of a part of it.

    Args:
        cells: how many.
        parts: turns that are a second.

    Returns:
        One turn: as many steps, from where the last one ended.
    """
    import nest

    nest.set_verbosity("M_ERROR")
    nest.ResetKernel()
    nest.resolution = problems.DT_MS
    nest.local_num_threads = 1
    count, share = int(cells), int(parts)
    excitatory = problems.excitatory(count)
    began = time.perf_counter()
    edges = problems.random_edges(count)
    neurons = nest.Create(
        "iaf_cond_exp",
        count,
        {
            "E_L": problems.REST_MV,
            "V_th": problems.THRESHOLD_MV,
            "V_reset": problems.RESET_MV,
            "t_ref": problems.REFRACTORY_MS,
            "E_ex": problems.EXCITES_MV,
            "E_in": problems.INHIBITS_MV,
            "C_m": problems.C_PF,
            "g_L": problems.LEAK_NS,
            "tau_syn_ex": problems.EXCITATION_MS,
            "tau_syn_in": problems.INHIBITION_MS,
            "I_e": problems.DRIVE_MV * problems.LEAK_NS,
        },
    )
    neurons.V_m = problems.voltages_mv(count).astype(float).tolist()
    numbers = np.asarray(neurons.tolist())
    weights = problems.LEAK_NS * np.array([problems.EXCITATION, -problems.INHIBITION])
    senders = edges.senders
    nest.Connect(
        numbers[senders],
        numbers[edges.targets],
        "one_to_one",
        {
            "synapse_model": "static_synapse",
            "weight": weights[(senders >= excitatory).astype(int)],
            "delay": np.full(len(senders), problems.DT_MS),
        },
    )
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    nest.Prepare()
    built = {"build": time.perf_counter() - began}
    steps, seen = problems.SECOND // share, 0

    def turn() -> Numbers:
        nonlocal seen
        _, took = problems.timed(lambda: nest.Run(steps * problems.DT_MS))
        events = recorder.events
        spikes, times = (np.asarray(events[k])[seen:] for k in ("senders", "times"))
        seen += len(spikes)
        rate = problems.rate_hz(len(spikes), count, steps)
        numbers = built | {"rate": rate, "CV": problems.variation(spikes, times)}
        return numbers | {name: share * seconds for name, seconds in took.items()}

    return turn
