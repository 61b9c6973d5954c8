"""`python -m experiments.run`: what it prints, where, and its exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from djx.core.errors import ResumeError
from djx.run._read import read_table
from experiments._listing import experiment_names, schema, show_list
from experiments.run import _parser, main


ROOT = Path(__file__).parents[2]
CONFIGS = sorted(ROOT.glob("configs/*/*.toml"))
SMOKE = "configs/neural_ode/smoke.toml"
TEXT = (ROOT / SMOKE).read_text()


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "experiments.run", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "damaged.toml"

    def write(text):
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text)
        return path

    return write


def replaced(*pairs):
    text = TEXT
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def test_a_missing_file():
    done = run("configs/neural_ode/digts.toml")
    hint = "no such file; did you mean 'configs/neural_ode/digits.toml'?"
    expected = f"config error: configs/neural_ode/digts.toml: {hint}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_broken_toml(file):
    path = file(replaced(("[train]", "[train")))
    done = run(path)
    reason = "Expected ']' at the end of a table declaration (at line 10, column 7)"
    expected = f"config error: {path}: not valid TOML: {reason}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_binary_junk(file):
    path = file(b"\x7fELF\x02\x01\x01\x00\xff\xfe")
    done = run(path)
    expected = f"config error: {path}: not valid TOML: byte 8 is not UTF-8\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


@pytest.mark.parametrize(
    "name, remedy",
    [
        ("neural_oed", "did you mean 'neural_ode'?"),
        ("xyz", "--list shows those that there are"),
    ],
)
def test_an_unknown_experiment(file, name, remedy):
    path = file(replaced(('"neural_ode"', f'"{name}"')))
    done = run(path)
    expected = f"config error: {path}: experiment: no experiment '{name}'; {remedy}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_bad_overrides():
    done = run(SMOKE, "train.steps", "--check", "train.batch=[")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"config error: {SMOKE}: override 'train.steps' is not of the form a.b=value",
        f"config error: {SMOKE}: train.batch: override value '[' is not TOML",
    ]


def test_all_faults_of_a_file(file):
    path = file(
        replaced(
            ("steps = 60", "steps = -60\nchunk = 7"),
            ("batch = 64", "bacth = 64"),
            ('name = "adam"', 'name = "adam", options = {b11 = 0.5}'),
            ('kind = "local", sampling', 'kind = "local", samplng'),
            ("min(local.accuracy)", "open('x')"),
            ("local.nfe / vanilla.nfe", "local.nfe / vanila.nfe"),
        )
    )
    done = run(path, "model.width=nan")
    assert (done.returncode, done.stdout) == (2, "")
    assert sorted(done.stderr.splitlines()) == sorted(
        f"config error: {path}: {line}"
        for line in (
            "train.steps: must be greater than 0, not -60",
            "train.chunk: chunk = 7 and log_every = 10: one must be a multiple of the "
            "other",
            "train.bacth: unknown field; did you mean 'batch'?",
            "train.optimiser.options.b11: optax.adam takes no 'b11'; did you mean "
            "'b1'?",
            "model.width: must be a valid integer, not nan",
            "arms.local.regulariser.samplng: unknown field; did you mean 'sampling'?",
            "claims.learns.measure: measure \"open('x')\": unknown function 'open' "
            "(there are: mean, min, max, std)",
            "claims.local_nfe.measure: no arm 'vanila' (there are: local, vanilla); "
            "did you mean 'vanilla'?",
        )
    )


def test_config_errors_of_what_a_reader_can_fix_need_no_jax(file):
    """So they are answered at once: JAX alone takes longer to import."""
    good = str(ROOT / SMOKE)
    broken = str(file("x = ["))
    wrong = ["no/such.toml"], [broken], [good, "experiment=x"], [good, "train.steps"]
    code = f"""
import sys
from experiments.run import main
for arguments in {wrong!r}:
    assert main(arguments) == 2, arguments
heavy = {{"jax", "numpy", "pydantic", "optax", "equinox"}} & set(sys.modules)
assert not heavy, heavy
from djx.run._read import check_file
check_file({good!r}, ["train.steps=3"])
assert "jax" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert len(done.stderr.splitlines()) == 4


def test_list_shows_every_config_whole_in_a_narrow_terminal():
    done = run("--list", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(CONFIGS) >= 2
    for path in CONFIGS:
        lines = [s for s in done.stdout.splitlines() if f"/{path.name} " in s + " "]
        (line,) = (s for s in lines if str(path.relative_to(ROOT)) in s.split())
        assert line.split()[1] == read_table(path)["experiment"]


def test_list_shows_what_is_wrong_and_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    folder = tmp_path / "configs" / "x"
    folder.mkdir(parents=True)
    (folder / "a.toml").write_text("x = [}")
    (folder / "b.toml").write_text(
        "experiment = 3\ntier = 4\nbudget_seconds = 'x'\ndescription = ['[red]']"
    )
    (folder / "c.toml").write_text(
        "experiment = 'e'\ntier = 'full'\nbudget_seconds = 90.4\n"
        "description = 'the [bold]last[/bold] [/]'"
    )
    monkeypatch.chdir(tmp_path)
    assert show_list() == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()][1:]
    broken, odd, fine = lines[0:2], lines[2:4], lines[4:6]
    assert broken[0] == ["configs/x/a.toml"]
    assert "configs/x/a.toml: not valid TOML: Invalid" in " ".join(broken[1])
    assert odd == [["configs/x/b.toml", "3", "4"], ["['[red]']"]]
    assert fine[0] == ["configs/x/c.toml", "e", "full", "90", "s"]
    assert fine[1] == ["the", "[bold]last[/bold]", "[/]"]


def test_schema_writes_one_file_per_experiment(tmp_path, capsys):
    assert main(["--schema", str(tmp_path / "schemas")]) == 0
    printed = capsys.readouterr().out.split()
    written = sorted((tmp_path / "schemas").iterdir())
    assert printed == [str(path) for path in written]
    assert [path.stem for path in written] == experiment_names()
    for path in written:
        assert json.loads(path.read_text()) == schema(path.stem)


def test_no_config_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith("error: name a config, or --list")


@pytest.mark.parametrize(
    "arguments",
    [
        ["c.toml", "a.b=1", "c=-2", "--out", "o", "--check", "--resume", "30"],
        ["--out", "o", "c.toml", "--check", "a.b=1", "--resume", "30", "c=-2"],
        ["--check", "--resume=30", "--out=o", "c.toml", "a.b=1", "c=-2"],
    ],
)
def test_options_may_stand_anywhere(arguments):
    args = _parser().parse_intermixed_args(arguments)
    assert (args.config, args.overrides) == ("c.toml", ["a.b=1", "c=-2"])
    assert (args.out, args.check, args.resume) == ("o", True, 30)


@pytest.mark.parametrize("resume", ["sometimes", "-1", "1.5", ""])
def test_resume_takes_a_step_or_a_word(resume, capsys):
    with pytest.raises(SystemExit) as caught:
        main([SMOKE, f"--resume={resume}"])
    assert caught.value.code == 2
    assert "auto, never or a step" in capsys.readouterr().err


def test_a_run_that_cannot_go_on_is_one_line(capsys, monkeypatch):
    def refuse(args):
        raise ResumeError("runs/x holds no checkpoints")

    monkeypatch.setattr("experiments.run._dispatch", refuse)
    assert main([SMOKE]) == 2
    expected = f"config error: {SMOKE}: runs/x holds no checkpoints\n"
    assert capsys.readouterr() == ("", expected)
