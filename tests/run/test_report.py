"""The report page, sinks and progress: what a person gets to see."""

import base64
import io
import re

import matplotlib
import numpy as np
import pytest
import scipy.io.wavfile

from djx.core.errors import ConfigError
from djx.run import Report, run
from djx.run._progress import Lines
from djx.run._sinks import make_sink, scalars
from tests.run.support import quadratic


def reported(tmp_path, draw):
    import dataclasses

    claims = {"near": {"measure": "main.distance", "at_most": 9.0, "paper": "a < b"}}
    spec = quadratic(claims=claims)

    def build(config):
        return spec.build(config)._replace(report=draw)

    run(dataclasses.replace(spec, build=build), tmp_path, progress=False)
    return (tmp_path / "report.html").read_text()


def test_page_holds_curves_claims_figures_audio_and_config(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(800) / 8000)

    def draw(results, report):
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots()
        axes.plot([0, 1])
        report.figure(figure, "a line")
        report.audio(tone, 8000, "a tone")
        report.table(["x", "y"], [[1, 2.50061]], "a table")

    backend = matplotlib.get_backend()
    page = reported(tmp_path, draw)
    assert matplotlib.get_backend() == backend
    for text in ("a line", "a tone", "2.501", "a &lt; b", "log_every = 10", "holds"):
        assert text in page
    images = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(images) == 5  # two of steps, two of evaluations, one figure
    assert all(base64.b64decode(i).startswith(b"\x89PNG") for i in images)
    (sound,) = re.findall(r"data:audio/wav;base64,([^\"]+)", page)
    rate, samples = scipy.io.wavfile.read(io.BytesIO(base64.b64decode(sound)))
    assert rate == 8000
    np.testing.assert_allclose(samples / 32767, tone, atol=1 / 32767)
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_audio_is_clipped_and_survives_what_is_not_finite():
    report = Report()
    report.audio(np.array([2.0, -2.0, np.nan, 0.0]), 10)
    content = io.BytesIO(base64.b64decode(report.items[0]["audio"]))
    samples = scipy.io.wavfile.read(content)[1]
    np.testing.assert_array_equal(samples, [32767, -32767, 0, 0])


def test_a_report_that_fails_costs_no_page(tmp_path):
    def draw(results, report):
        raise KeyError("colour")

    page = reported(tmp_path, draw)
    assert "Figures are missing: KeyError" in page and "Claims" in page
    assert (tmp_path / "claims.json").exists()


def test_sinks_are_asked_for_by_name(tmp_path):
    with pytest.raises(ConfigError, match="no sink 'wandbb'; known: tensorboard"):
        make_sink("wandbb", tmp_path, {})


def test_missing_sink_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match=r"pip install 'djx\[track\]'"):
        make_sink("tensorboard", tmp_path, {})


def test_scalars_of_a_line():
    line = {"step": 4, "arm": "a", "seed": 1, "train": {"loss": np.array([1.0, 3.0])}}
    assert scalars(line) == {"a/1/train/loss": 2.0}
    line = {"step": 4, "arm": "a", "seed": 1, "eval": {"e": 0.5, "v": np.ones(2)}}
    assert scalars(line) == {"a/1/e": 0.5}


def test_plain_lines_tell_step_rate_and_live_metrics(capsys):
    lines = Lines(every_seconds=0.0)
    lines.start(["a"], 2, 100)
    lines.advanced(0)
    for seed in (0, 1):
        values = {"loss": np.array([9.0, 1.0 + seed])}
        lines.recorded({"step": 50, "arm": "a", "seed": seed, "train": values})
    lines.advanced(50)
    shown = capsys.readouterr()
    assert "step 50/100" in shown.out and "loss 1.5" in shown.out
    assert shown.err == ""
