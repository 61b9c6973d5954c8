"""report.html: one file with the curves, the claims, the figures and the config."""

import base64
import importlib.resources
import io
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import tomli_w


class Report:
    """Collects what an experiment shows; written as one self-contained page."""

    def __init__(self):
        self.items: list[dict[str, Any]] = []

    def figure(self, figure: Any, caption: str = "") -> None:
        """Adds a matplotlib figure.

        Args:
            figure: the figure; it is closed.
            caption: what it shows.
        """
        self.items.append({"image": _png(figure), "caption": caption})

    def audio(self, samples: np.ndarray, rate_hz: int, caption: str = "") -> None:
        """Adds sound, as 16-bit PCM.

        Args:
            samples: shape `(time,)` or `(time, channels)`, within [-1, 1].
            rate_hz: samples per second.
            caption: what is heard.
        """
        import scipy.io.wavfile

        buffer = io.BytesIO()
        clipped = np.clip(np.nan_to_num(np.asarray(samples, float)), -1, 1)
        scipy.io.wavfile.write(buffer, rate_hz, np.int16(np.round(clipped * 32767)))
        self.items.append({"audio": _base64(buffer), "caption": caption})

    def table(self, head: list[str], rows: list[list[Any]], caption: str = "") -> None:
        """Adds a table.

        Args:
            head: column titles.
            rows: cells; floats are shortened.
            caption: what it holds.
        """
        text = [
            [f"{c:.4g}" if isinstance(c, float) else str(c) for c in r] for r in rows
        ]
        self.items.append({"head": head, "rows": text, "caption": caption})


def write_report(results: Any, path: Path) -> None:
    """Writes the page.

    Args:
        results: what `run` returns.
        path: the file.
    """
    import matplotlib

    backend = matplotlib.get_backend()
    matplotlib.use("agg")
    report = Report()
    curves = _curves(results)
    for figure in curves:
        report.figure(figure)
    failure = ""
    if results.report is not None and results.status == "done":
        try:
            results.report(results, report)
        except Exception as error:  # a figure that fails must not lose the page
            failure = f"{type(error).__name__}: {error}"
    matplotlib.use(backend)
    spec = results.spec
    claims = [
        row._asdict() | {"spread": _spread(row), "shown": number(row.value)}
        for row in results.claims
    ]
    template = importlib.resources.files("djx.run") / "report.html.jinja"
    page = jinja2.Environment(autoescape=True).from_string(
        template.read_text(encoding="utf-8")
    )
    path.write_text(
        page.render(
            title=spec.name,
            description=spec.common.description,
            status=results.status,
            claims=claims,
            items=report.items,
            failure=failure,
            timings=[(k, f"{v:.1f} s") for k, v in results.seconds.items()],
            environment=results.environment,
            config=tomli_w.dumps(spec.table),
        ),
        encoding="utf-8",
    )
    if failure:
        raise RuntimeError(f"the experiment's report failed: {failure}")


def number(value: float) -> str:
    """A measured number, short."""
    return f"{value:.4g}" if math.isfinite(value) else "not a number"


def _spread(row: Any) -> str:
    return f"{number(row.low)} .. {number(row.high)}"


def _curves(results: Any) -> list[Any]:
    """One figure per recorded metric: mean over seeds and its range, per arm."""
    import matplotlib.pyplot as plt

    figures = []
    for part in ("evaluated", "train"):
        names = dict.fromkeys(
            name
            for arm in results.arms.values()
            for one in arm.series.values()
            for name in getattr(one, part)
            if name != "step" and getattr(one, part)[name].ndim == 1
        )
        for name in names:
            figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
            for label, arm in results.arms.items():
                _curve(
                    axes, label, [getattr(s, part) for s in arm.series.values()], name
                )
            axes.set_xlabel("step")
            axes.set_ylabel(name)
            axes.set_title(
                "evaluation" if part == "evaluated" else "training", loc="left"
            )
            if len(results.arms) > 1:
                axes.legend(frameon=False, fontsize="small")
            figures.append(figure)
    return figures


def _curve(axes: Any, label: str, seeds: list[dict[str, np.ndarray]], name: str):
    seeds = [s for s in seeds if name in s]
    if not seeds:
        return
    shortest = min(len(s["step"]) for s in seeds)
    width = max(1, shortest // 400)  # a pixel holds no more than one mean
    cut = shortest - shortest % width
    step = seeds[0]["step"][:cut].reshape(-1, width)[:, -1]
    values = np.stack([np.asarray(s[name][:cut], float) for s in seeds])
    values = values.reshape(len(seeds), -1, width).mean(-1)
    style = {"marker": "o", "markersize": 3} if len(step) < 30 else {}
    (line,) = axes.plot(step, values.mean(0), label=label, **style)
    if len(seeds) > 1:
        band = (values.min(0), values.max(0))
        axes.fill_between(step, *band, color=line.get_color(), alpha=0.18, lw=0)


def _png(figure: Any) -> str:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    plt.close(figure)
    return _base64(buffer)


def _base64(buffer: io.BytesIO) -> str:
    return base64.b64encode(buffer.getvalue()).decode()
