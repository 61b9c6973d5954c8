"""Memory of the COBA network: `python -m benchmarks.brain_memory [--quick]`.

400,000 cells with 80 synapses each, drawn and simulated by a process of its own for
every way to keep them.
"""

from . import record
from .diffeq_calls import command_line, Options, Part
from .harness import Isolated, race


CELLS, STEPS, TRIAL_STEPS = 400_000, 1000, 200
IMPORTED = "jax and djx imported"
KINDS = {
    # A contestant, and bytes of a further synapse.
    "shared": ("a weight of each cell", 4.5),
    "own": ("a weight of each synapse", 8.0),
    "procedural": ("edges drawn when needed", None),
}
NOTES = (
    "{cells} cells, 80 synapses each on average, drawn by `fixed_probability` or its "
    "procedural form, {steps} steps of 0.1 ms, native, float32. Peak MB: of the "
    "process's resident memory, libraries and the drawing of edges included. MB built: "
    "the same, up to when the edges were there. MB held: of the network's arrays. "
    "Bytes: of these a synapse. Further: bytes by which they grow for a synapse more, "
    "found with 80 and 160 of 4000 cells; the rest is of cells. 1 MB is 10^6 bytes. "
    "Rate: spikes a second of a cell; the same edges, so the same. Time: of the steps."
)


def memory_race(options: Options):
    """The group and its bars."""
    steps = TRIAL_STEPS if options.quick else STEPS
    where, arguments = "benchmarks.peers.brain_memory:", (str(CELLS), str(steps))
    contestants = [Isolated(IMPORTED, f"{where}imported")]
    contestants += [
        Isolated(name, f"{where}setup", (), (kind, *arguments))
        for kind, (name, _) in KINDS.items()
    ]
    taken = race(contestants, min(options.turns, 2))  # it is not time that is raced
    group = {
        "title": f"{CELLS} cells",
        "notes": NOTES.format(cells=CELLS, steps=steps),
        "columns": ["peak MB", "MB built", "MB held", "bytes", "further", "rate"],
        "contestants": taken,
    }
    last = {name: one["turns"][-1] for name, one in taken.items()}
    bars = [
        record.bar(f"bytes of a further synapse, {name}", last[name]["further"], limit)
        for name, limit in KINDS.values()
        if limit is not None
    ]
    bars += [
        record.bar(f"{CELLS} cells: peak MB, {name}", last[name]["peak MB"], 1000.0)
        for name, _ in KINDS.values()
    ]
    rates = {last[name]["rate"] for name, _ in KINDS.values()}
    bars.append(record.bar(f"{CELLS} cells: rates of all ways", len(rates), 1))
    return [group], bars


def parts() -> dict[str, Part]:
    """All of it is one part."""
    return {"memory": memory_race}


if __name__ == "__main__":
    command_line("brain_memory", "Memory of networks", parts, ["memory"])
