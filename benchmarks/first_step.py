"""One run of the command line in a fresh process, and when its first step was done.

`python -m benchmarks.first_step BEGAN CONFIG [a.b=value ...] --out DIR`; BEGAN is the
parent's `time.time()` at the start. The last line on standard output is JSON.
"""

import contextlib
import importlib
import json
import sys
import time
import tomllib
from pathlib import Path

from .meters import peak_mib


def main() -> None:
    """Runs, with clocks attached."""
    entered, started = time.time(), float(sys.argv[1])
    import jax

    from djx.run import _program
    from experiments import run as command

    config = tomllib.loads(Path(sys.argv[2]).read_text())
    importlib.import_module(f"experiments.{config['experiment']}")
    imported = time.time()
    spent = {"trace": 0.0, "compile": 0.0}
    first: dict[str, float] = {}
    advance, spend = _program.Program.advance, _program.Program._spend

    def timed_advance(self, leaves, start, counts):
        out = advance(self, leaves, start, counts)
        if not first:
            jax.block_until_ready(out)
            first.update(spent, first_step=time.time() - started)
        return out

    def timed_spend(self, what, seconds):
        if what in spent:
            spent[what] += seconds
        spend(self, what, seconds)

    _program.Program.advance = timed_advance
    _program.Program._spend = timed_spend
    with contextlib.redirect_stdout(sys.stderr):
        status = command.main(sys.argv[2:])
    if status:
        sys.exit(status)
    rest = first["first_step"] - first["trace"] - first["compile"]
    told = first | {
        "interpreter": entered - started,
        "import": imported - entered,
        "other": rest - (imported - started),
        "process": time.time() - started,
        "peak": peak_mib(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
