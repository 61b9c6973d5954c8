"""Brian2's C++ standalone: a worker in an environment of its own."""

# Brian2 is in the worker's environment only.
# pyright: reportMissingImports=false

import tempfile
import time
from pathlib import Path

import numpy as np

from .. import brain_problems as problems
from ..harness import Numbers, Run


REQUIREMENTS = ("brian2==2.9.0", "numpy==2.3.5")  # it fails to import from 2.4 on

MODEL = """
dv/dt = (rest - v + drive + ge * (excites - v) + gi * (inhibits - v)) / tau
    : volt (unless refractory)
dge/dt = -ge / tau_e : 1
dgi/dt = -gi / tau_i : 1
"""
# The seconds of processor and of the wall that `run` takes within the program, which
# also reads the edges, sorts them, and writes results.
BEFORE = """
auto wall_before = std::chrono::steady_clock::now();
std::clock_t cpu_before = std::clock();
"""
AFTER = """
double cpu_taken = double(std::clock() - cpu_before) / CLOCKS_PER_SEC;
std::chrono::duration<double> wall_taken =
    std::chrono::steady_clock::now() - wall_before;
std::ofstream("taken.txt") << cpu_taken << " " << wall_taken.count() << std::endl;
"""


def setup(method: str, cells: str) -> Run:
    """`setup` of a second.

    Args:
        method: "exponential" or "euler".
        cells: how many.

    Returns:
        One turn: the compiled program, from the start.
    """
    import brian2 as b2
    from brian2 import device, ms, mV

    folder = tempfile.TemporaryDirectory()
    b2.set_device("cpp_standalone", directory=None, build_on_run=False)
    b2.defaultclock.dt = problems.DT_MS * ms
    count = int(cells)
    excitatory = problems.excitatory(count)
    began = time.perf_counter()
    edges = problems.random_edges(count)
    group = b2.NeuronGroup(
        count,
        MODEL,
        threshold="v >= threshold",
        reset="v = reset",
        refractory=problems.REFRACTORY_MS * ms,
        method="exponential_euler" if method == "exponential" else "euler",
        namespace={
            "rest": problems.REST_MV * mV,
            "reset": problems.RESET_MV * mV,
            "threshold": problems.THRESHOLD_MV * mV,
            "drive": problems.DRIVE_MV * mV,
            "excites": problems.EXCITES_MV * mV,
            "inhibits": problems.INHIBITS_MV * mV,
            "tau": problems.TAU_MS * ms,
            "tau_e": problems.EXCITATION_MS * ms,
            "tau_i": problems.INHIBITION_MS * ms,
        },
    )
    group.v = problems.voltages_mv(count) * mV
    synapses = []
    for first, last, effect in (
        (0, excitatory, f"ge_post += {problems.EXCITATION}"),
        (excitatory, count, f"gi_post += {problems.INHIBITION}"),
    ):
        own = edges.of(first, last)
        some = b2.Synapses(group[first:last], group, on_pre=effect)
        some.connect(i=own.senders, j=own.targets)
        synapses.append(some)
    spikes = b2.SpikeMonitor(group)
    network = b2.Network(group, *synapses, spikes)
    device.insert_code("before_network_run", BEFORE)
    device.insert_code("after_network_run", AFTER)
    b2.prefs.codegen.cpp.headers += ["<chrono>", "<ctime>", "<fstream>"]
    network.run(problems.SECOND * problems.DT_MS * ms)
    built = time.perf_counter()
    device.build(directory=folder.name, run=False)
    told = {"build": built - began, "compile": time.perf_counter() - built}

    def turn() -> Numbers:
        device.run(folder.name, with_output=False)
        cpu, wall = map(float, (Path(folder.name) / "taken.txt").read_text().split())
        times = np.asarray(spikes.t / ms)
        rate = problems.rate_hz(len(times), count)
        cv = problems.variation(np.asarray(spikes.i), times)
        return {"wall": wall, "cpu": cpu} | told | {"rate": rate, "CV": cv}

    return turn
