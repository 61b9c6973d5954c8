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
        One turn: as many steps, from where the last one ended. Its CV is that of the
        last second, once there was one.
    """
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.resolution = problems.DT_MS
    nest.local_num_threads = 1
    count, share = int(cells), int(parts)
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
    senders, weights = edges.senders, problems.weights_ns(count).astype(float)
    weights[problems.excitatory(count) :] *= -1
    nest.Connect(
        numbers[senders],
        numbers[edges.targets],
        "one_to_one",
        {
            "synapse_model": "static_synapse",
            "weight": weights[senders],
            "delay": np.full(len(senders), problems.DT_MS),
        },
    )
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    nest.Prepare()
    built = {"build": time.perf_counter() - began}
    steps, now_ms = problems.SECOND // share, 0.0
    turn_ms, second_ms = steps * problems.DT_MS, problems.SECOND * problems.DT_MS

    def turn() -> Numbers:
        nonlocal now_ms
        _, took = problems.timed(lambda: nest.Run(turn_ms))
        now_ms += turn_ms
        events = recorder.events
        fired, times = np.asarray(events["senders"]), np.asarray(events["times"])
        # Times are those of steps' ends, but for rounding.
        late, last = (
            times > now_ms - ms + 0.5 * problems.DT_MS for ms in (turn_ms, second_ms)
        )
        told = built | {"rate": problems.rate_hz(late.sum(), count, steps)}
        if now_ms > second_ms - 0.5 * problems.DT_MS:
            told["CV"] = problems.variation(fired[last], times[last])
        return told | {name: share * seconds for name, seconds in took.items()}

    return turn
