"""Who says that a gradient is wrong: `python -m benchmarks.implicit_gauntlet`.

No race: every library gets the same small problems, and a table says whether its
gradient was right, wrong and reported, or wrong without a word. `--only LIBRARY ...`
asks some; then, and with `--quick`, nothing is kept.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import record
from .harness import say
from .implicit_gauntlet_cases import Case, cases


PACKAGES = (
    "optimistix",
    "lineax",
    "jaxopt",
    "qpax",
    "torch",
    "torchdeq",
    "qpth",
    "cvxpylayers",
    "diffcp",
)
RIGHT, REPORTED, SILENT, NOT_ASKED = "right", "reported", "SILENT", "n/a"
NOTES = """\
Right: the gradient's relative error against a closed form in float64, in brackets, is
within 1e-3 (1e-2 of float32 data). Reported: it is wrong, or there is none, and the
library says so: by a status, an exception, a printed warning, NaN, or a number that it
compares with a tolerance of its own and that missed it. SILENT: it is finite, wrong
by the error in brackets, and nothing says so. Of a batch the worst lane counts, and
"others" is the worst error of the lanes that do have a gradient. At a kink every
derivative between the one-sided ones is right; "flagged": the library says that it is
at one, or that it does not trust a gradient which is right. n/a: not its kind of
problem. No float64 code can be right at condition 1e16, where the closed form is that
of the matrix before rounding; it can say so.

Every library is called as its documentation shows, with the defaults of what it leaves
open; optimistix has no default tolerances and gets 1e-8. Columns with a comma are the
same library told more: optimistix without exceptions; JAXopt with solvers at 1e-10 and
5000 steps; qpax, whose derivatives are smoothed by kappa = 1e-3 unless told otherwise,
with less; torchdeq with implicit derivatives at 1e-8. djx is asked for a receipt, and
where the solver is the caller's own, for a certificate; "djx, unasked" for neither: its
solution's result is all that speaks.
"""


class Answer(NamedTuple):
    """What a library returned."""

    gradient: np.ndarray
    value: np.ndarray
    """The solution."""
    reported: np.ndarray
    """Whether it says that something is wrong; of every lane, or of all together."""
    how: str
    """By what."""


class Verdict(NamedTuple):
    """What that is worth."""

    verdict: str
    error: float
    """Of the worst lane that counts; infinite where there is no gradient."""
    how: str = ""
    others: float | None = None
    """The worst error of the lanes that have a gradient, where some have none."""


def errors_of(gradient: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Relative errors of rows, from the nearest valid gradient.

    Args:
        gradient: found.
        low: one end of what is valid; NaN where nothing is.
        high: the other.

    Returns:
        An error for each row; absolute where the nearest gradient is zero, and infinite
        where there is none or what was found is not finite.
    """
    nearest = np.clip(gradient, np.minimum(low, high), np.maximum(low, high))
    size = np.linalg.norm(nearest, axis=-1)
    off = np.linalg.norm(gradient - nearest, axis=-1) / np.where(size > 0, size, 1)
    return np.where(np.isfinite(off), off, np.inf)


def classify(case: Case, answer: Answer) -> Verdict:
    """Whether an answer is right, and if not whether that was reported.

    Args:
        case: the problem.
        answer: what a library returned.

    Returns:
        The verdict.
    """
    high = case.low if case.high is None else case.high
    low, high, gradient, value = (
        np.atleast_2d(np.asarray(part, float))
        for part in (case.low, high, answer.gradient, answer.value)
    )
    errors = errors_of(gradient, low, high)
    finite = np.all(np.isfinite(gradient), -1) & np.all(np.isfinite(value), -1)
    told = np.broadcast_to(answer.reported, errors.shape)
    wrong = ~(errors <= case.tolerance)
    exists = np.all(np.isfinite(low), -1)
    others = None if np.all(exists) else float(np.max(errors[exists]))
    if not np.any(wrong):
        how = "flagged" if np.any(told) else ""
        return Verdict(RIGHT, float(np.max(errors)), how)
    silent = wrong & finite & ~told
    if np.any(silent):
        return Verdict(SILENT, float(np.max(errors[silent])), "", others)
    words = [answer.how] * bool(np.any(told & wrong))
    words += ["NaN"] * bool(np.any(~finite & wrong))
    return Verdict(REPORTED, float(np.max(errors)), ", ".join(words), others)


Ask = Callable[[Case], Answer | None]


def ask(case: Case, how: Ask) -> Verdict:
    """One library's verdict; exceptions are reports."""
    try:
        answer = how(case)
    except (AttributeError, ImportError, KeyError, NameError):
        raise  # of this file and its peers', not of a library's
    except Exception as error:
        others = np.inf if case.lanes else None
        return Verdict(REPORTED, np.inf, f"raises {type(error).__name__}", others)
    return Verdict(NOT_ASKED, np.nan) if answer is None else classify(case, answer)


def libraries() -> Mapping[str, Ask]:
    """How each is asked, by the name of its column."""
    from .peers import gauntlet_djx, gauntlet_jax, gauntlet_programs, gauntlet_torch

    return {
        **gauntlet_djx.LIBRARIES,
        **gauntlet_jax.LIBRARIES,
        **gauntlet_programs.libraries(),
        **gauntlet_torch.LIBRARIES,
    }


def run(asked: Mapping[str, Ask]) -> list[dict[str, Any]]:
    """All cases, with the verdict on every library."""
    rows = []
    for case in cases():
        say(f"implicit_gauntlet: {case.name}")
        verdicts = {name: ask(case, how)._asdict() for name, how in asked.items()}
        rows.append({"case": case.name, "verdicts": verdicts})
    return rows


def cell(verdict: Mapping[str, Any]) -> str:
    """A verdict as text."""
    word, error, others = (verdict[key] for key in ("verdict", "error", "others"))
    if word == NOT_ASKED:
        return word
    parts = []
    if word != REPORTED:
        parts.append(f"{error:.1g}" if np.isfinite(error) else "no gradient exists")
    if verdict["how"]:
        parts.append(verdict["how"])
    if others is not None:
        parts.append("others " + (f"{others:.1g}" if np.isfinite(others) else "lost"))
    text = f"{word} ({'; '.join(parts)})"
    return f"**{text}**" if word == SILENT else text


def counts(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """How often which word, by library."""
    words = (RIGHT, REPORTED, SILENT, NOT_ASKED)
    return {
        name: {
            word: sum(row["verdicts"][name]["verdict"] == word for row in rows)
            for word in words
        }
        for name in rows[0]["verdicts"]
    }


def markdown(kept: dict[str, Any], source: str) -> str:
    """The table of a record."""
    env, rows = kept["environment"], kept["cases"]
    versions = ", ".join(f"{k} {v}" for k, v in env["packages"].items() if v)
    tally = counts(rows)
    summary = ", ".join(
        f"{name} {many[SILENT]} of {len(rows) - many[NOT_ASKED]}"
        for name, many in tally.items()
    )
    names = list(tally)
    lines = [
        "# Who says that a gradient is wrong",
        "",
        f"From `{source}`. {env['date']}, {env['cpu']}, {env['cores']} cores, "
        f"{env['system']}, Python {env['python']}, {versions}; commit "
        f"{(env['commit'] or 'unknown')[:12]} with {env['changed_files']} changed "
        f"files.",
        "",
        f"Silent wrong gradients, of the cases that are a library's kind of problem: "
        f"{summary}.",
        "",
        NOTES,
        "| case | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for row in rows:
        cells = [cell(row["verdicts"][name]) for name in names]
        lines.append("| " + " | ".join([row["case"], *cells]) + " |")
    return "\n".join(lines) + "\n"


def plain(value: Any) -> Any:
    """Without infinities and NaN, which JSON has no words for."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.implicit_gauntlet")
    parser.add_argument("--quick", action="store_true", help="nothing is kept")
    parser.add_argument("--only", nargs="*", help="some libraries; nothing is kept")
    args = parser.parse_args()

    import jax

    jax.config.update("jax_enable_x64", True)
    environment = record.stamp(PACKAGES)
    asked = libraries()
    if args.only:
        asked = {name: asked[name] for name in args.only}
    kept = {"environment": environment, "cases": run(asked)}
    kept["counts"] = counts(kept["cases"])
    path = record.RESULTS / f"implicit_gauntlet-{environment['date']}.json"
    if args.quick or args.only:
        print(markdown(kept, "a trial, not kept"))
        return
    path.write_text(json.dumps(plain(kept), indent=1) + "\n")
    (record.RESULTS / "implicit_gauntlet.md").write_text(markdown(kept, path.name))
    print(path.relative_to(Path.cwd()).as_posix())


if __name__ == "__main__":
    main()
