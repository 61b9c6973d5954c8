"""BrainPy's two ways to build a network: a worker in an environment of its own.

Conductances are in siemens, in which its drive of 20 mA through a resistance of 1 ohm
is 20 mV, and a weight of 0.6 S is 0.6 of the leak. (With the millisiemens of its
`COBA_2005.py`, cells hardly notice one another.)
"""

# BrainPy is in the worker's environment only.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import importlib
import time

import numpy as np

from .. import brain_problems as problems
from ..diffeq_calls import Options, repeated
from ..harness import Numbers, Run


REQUIREMENTS = (
    "brainpy==2.8.2",
    "brainpy-state==0.1.0",
    "brainstate==0.5.4",
    "brainevent==0.2.1",
    "jax==0.10.1",
    "jaxlib==0.10.1",
    "numba==0.68.1",  # not asked for by it, but by its events on CPUs
    "numpy==2.4.6",
)


def state_network(cells: int, edges: problems.Edges, height: float | None = None):
    """`brainpy.state` with brainevent's rows.

    It has to be built outside of `jit`: inside, time constants are tracers, which
    print alike, and by what they print it takes both kinds of synapses for one.

    Args:
        cells: how many.
        edges: who is connected to whom.
        height: of the surrogate, per mV, for gradients; BrainPy's own if None.

    Returns:
        The network, and what sets it to its start.
    """
    import brainevent
    import brainpy
    import brainstate
    import braintools
    import brainunit as u

    excitatory = problems.excitatory(cells)
    voltages = problems.voltages_mv(cells) * u.mV
    surrogate = braintools.surrogate.ReluGrad()
    if height is not None:  # it is a function of the voltage in units of 10 mV
        unit_mv = problems.THRESHOLD_MV - problems.RESET_MV
        width = problems.WIDTH_MV / unit_mv
        surrogate = braintools.surrogate.ReluGrad(height * unit_mv / width, width)

    class Rows(brainstate.nn.Module):
        def __init__(self, first, last, weight):
            super().__init__()
            own = edges.of(first, last)
            shape = (last - first, cells)
            one = np.ones(1, np.float32) * u.siemens
            self.rows = brainevent.CSR((one, own.targets, own.rows), shape=shape)
            self.weight = brainstate.ParamState(weight * one)

        def update(self, spikes):
            rows = self.rows.with_data(self.weight.value)
            return brainevent.BinaryArray(spikes) @ rows

    class Network(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            self.cells = brainpy.state.LIFRef(
                cells,
                V_rest=problems.REST_MV * u.mV,
                V_th=problems.THRESHOLD_MV * u.mV,
                V_reset=problems.RESET_MV * u.mV,
                tau=problems.TAU_MS * u.ms,
                tau_ref=problems.REFRACTORY_MS * u.ms,
                V_initializer=braintools.init.Constant(0.0 * u.mV),
                spk_fun=surrogate,
            )
            self.excite, self.inhibit = (
                brainpy.state.AlignPostProj(
                    comm=Rows(first, last, weight),
                    syn=brainpy.state.Expon.desc(cells, tau=decay_ms * u.ms),
                    out=brainpy.state.COBA.desc(E=reversal_mv * u.mV),
                    post=self.cells,
                )
                for first, last, weight, decay_ms, reversal_mv in (
                    (
                        0,
                        excitatory,
                        problems.EXCITATION,
                        problems.EXCITATION_MS,
                        problems.EXCITES_MV,
                    ),
                    (
                        excitatory,
                        cells,
                        problems.INHIBITION,
                        problems.INHIBITION_MS,
                        problems.INHIBITS_MV,
                    ),
                )
            )

        def update(self, t):
            with brainstate.environ.context(t=t):
                spikes = self.cells.get_spike()
                self.excite(spikes[:excitatory])
                self.inhibit(spikes[excitatory:])
                self.cells(problems.DRIVE_MV * u.mA)
                return self.cells.get_spike()

    network = Network()
    brainstate.nn.init_all_states(network)
    network.cells.V.value = voltages
    states = network.states()
    first = {name: one.value for name, one in states.items()}

    def start():
        for name, one in states.items():
            one.value = first[name]

    return network, start


def state(cells: int, edges: problems.Edges):
    """Calls of `brainpy.state`: counts of spikes, and their raster in bits."""
    import brainstate
    import brainunit as u
    import jax.numpy as jnp

    network, start = state_network(cells, edges)
    counts = brainstate.ShortTermState(jnp.zeros(cells))

    def simulated(collect):
        @brainstate.transform.jit
        def call():
            start()
            counts.value = jnp.zeros(cells)

            def step(t):
                spikes = network.update(t)
                if collect:
                    return jnp.packbits(spikes > 0)
                counts.value += spikes

            with brainstate.environ.context(dt=problems.DT_MS * u.ms):
                times = jnp.arange(problems.SECOND) * problems.DT_MS * u.ms
                bits = brainstate.transform.for_loop(step, times)
            return bits if collect else counts.value

        return lambda: np.asarray(call())

    return simulated(False), simulated(True)


def dyn(cells: int, edges: problems.Edges):
    """Calls of `brainpy.dyn` with its `EventCSRLinear`, as of `state`."""
    import brainpy as bp
    import brainpy.math as bm
    import jax.numpy as jnp

    bm.set_dt(problems.DT_MS)
    excitatory = problems.excitatory(cells)

    class Network(bp.DynSysGroup):
        def __init__(self):
            super().__init__()
            self.cells = bp.dyn.LifRef(
                cells,
                V_rest=problems.REST_MV,
                V_th=problems.THRESHOLD_MV,
                V_reset=problems.RESET_MV,
                tau=problems.TAU_MS,
                tau_ref=problems.REFRACTORY_MS,
            )
            self.excite, self.inhibit = (
                bp.dyn.HalfProjAlignPostMg(
                    comm=self.rows(first, last, weight),
                    syn=bp.dyn.Expon.desc(cells, tau=decay_ms),
                    out=bp.dyn.COBA.desc(E=reversal_mv),
                    post=self.cells,
                )
                for first, last, weight, decay_ms, reversal_mv in (
                    (
                        0,
                        excitatory,
                        problems.EXCITATION,
                        problems.EXCITATION_MS,
                        problems.EXCITES_MV,
                    ),
                    (
                        excitatory,
                        cells,
                        problems.INHIBITION,
                        problems.INHIBITION_MS,
                        problems.INHIBITS_MV,
                    ),
                )
            )

        def rows(self, first, last, weight):
            own = edges.of(first, last)
            conn = bp.conn.CSRConn(own.targets, own.rows)
            return bp.dnn.EventCSRLinear(conn(last - first, cells), weight)

        def update(self):
            spikes = self.cells.spike
            self.excite(spikes[:excitatory])
            self.inhibit(spikes[excitatory:])
            return self.cells(problems.DRIVE_MV)

    network = Network()
    counts = bm.Variable(jnp.zeros(cells))
    voltages = problems.voltages_mv(cells)

    def simulated(collect):
        def step(i):
            spikes = network.step_run(i)
            if collect:
                return jnp.packbits(bm.as_jax(spikes) > 0)
            counts.value += spikes

        @bm.jit
        def run():
            return bm.for_loop(step, jnp.arange(problems.SECOND))

        def call():
            network.reset()
            network.cells.V.value = voltages
            counts.value = jnp.zeros(cells)
            bits = run()
            return np.asarray(bits if collect else counts.value)

        return call

    return simulated(False), simulated(True)


def setup(kind: str, cells: str) -> Run:
    """`setup` of a second.

    Args:
        kind: "state" or "dyn".
        cells: how many.

    Returns:
        One turn: the second from the start.
    """
    count = int(cells)
    importlib.import_module(f"brainpy.{kind}")
    began = time.perf_counter()
    edges = problems.random_edges(count)
    call, raster = {"state": state, "dyn": dyn}[kind](count, edges)
    told = {"build": time.perf_counter() - began}
    _, first = problems.timed(call)
    _, second = problems.timed(call)
    told["compile"] = first["wall"] - second["wall"]
    steps, fired = np.nonzero(np.unpackbits(raster(), axis=1, count=count))
    told["CV"] = problems.variation(fired, steps)

    def turn() -> Numbers:
        counts, took = problems.timed(call)
        return took | told | {"rate": problems.rate_hz(counts.sum(), count)}

    return turn


def gradient_setup(kind: str, seconds: str) -> Run:
    """`setup` of 100 ms of 4000 cells, and the way back.

    Args:
        kind: "forward", or "gradient" by the two weights.
        seconds: that a turn's calls should take.

    Returns:
        What `diffeq_calls.repeated` makes of them.
    """
    import brainstate
    import brainunit as u
    import jax
    import jax.numpy as jnp

    def make():
        edges = problems.random_edges(problems.SMALL)
        network, start = state_network(problems.SMALL, edges, problems.HEIGHT)
        counts = brainstate.ShortTermState(jnp.zeros(problems.SMALL))
        weights = network.states(brainstate.ParamState)

        def loss():
            counts.value = jnp.zeros(problems.SMALL)

            def step(t):
                counts.value += network.update(t)

            with brainstate.environ.context(dt=problems.DT_MS * u.ms):
                steps = jnp.arange(problems.GRADIENT_STEPS)
                brainstate.transform.for_loop(step, steps * problems.DT_MS * u.ms)
            return jnp.mean(network.cells.V.value / u.mV)

        @brainstate.transform.jit
        def run():
            start()
            if kind == "forward":
                return loss(), {}
            slopes, value = brainstate.transform.grad(
                loss, weights, return_value=True
            )()
            return value, slopes

        def call():
            value, slopes = run()
            slopes = jax.tree.leaves(slopes, is_leaf=u.math.is_quantity)
            return float(value), [float(u.get_mantissa(g)[0]) for g in slopes]

        def read(result):
            voltage, slopes = result
            spikes = np.asarray(counts.value).sum()
            rate = problems.rate_hz(spikes, problems.SMALL, problems.GRADIENT_STEPS)
            told = {"rate": rate, "loss": voltage}
            if slopes:
                told["gradient"] = float(np.linalg.norm(slopes))
            return told

        return call, read

    return repeated(kind, make, Options(False, 0, float(seconds))).setup()
