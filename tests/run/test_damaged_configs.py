"""Five hundred damaged configs: each is refused in plain lines that name the damage."""

import copy
import functools as ft
import math
import random
import string
import tomllib
from pathlib import Path

import pytest
import tomli_w

from djx.core.errors import ConfigError
from djx.run import load, Program
from djx.run._program import group_arms
from djx.run._runner import _check_names


COUNT = 500
NAMES = ("digits", "smoke")
ROOT = Path(__file__).parents[2]
FILES = {name: ROOT / f"configs/neural_ode/{name}.toml" for name in NAMES}
TEXTS = {name: path.read_text() for name, path in FILES.items()}
TABLES = {name: tomllib.loads(text) for name, text in TEXTS.items()}

JARGON = (
    *("union_tag", "type=", "http", "pydantic", "constrained", "list[", "dict"),
    *("datetime", "discriminator", "nput should", "xtra inputs", "NoneType", "sys."),
    *("Traceback", "Error", "Section", "Config", "Vanilla", "Local", "Global", "Steer"),
    *("Train", "Optimiser", "Claim", "Checkpoints", "Cosine", "Literal", "<", "0x"),
)


def lines_of(path, package="experiments"):
    """The lines that a config is refused with; anything but a refusal fails."""
    with pytest.raises(ConfigError) as caught:
        load(path, package=package)
    return check_lines(caught.value, path)


def check_lines(error, path):
    lines = str(error).split("\n")
    assert len(lines) == len(error.faults) == len(set(lines)) >= 1
    for line, fault in zip(lines, error.faults, strict=True):
        assert line == str(fault)
        where = f"{path}: {fault.field}" if fault.field else str(path)
        assert line == f"config error: {where}: {fault.message}"
        assert line.isprintable(), line
        assert len(fault.message) < 300 and len(fault.message.split()) >= 2, line
        said = fault.message.replace("dictionary_learning", "")  # an experiment
        found = [word for word in JARGON if word in said]
        assert not found, (found, line)
    return {fault.field: fault.message for fault in error.faults}


# Damages of one value: each changes a document in place, and returns the faulty
# field's dotted name and what its message must hold.


def leaves(table, where=()):
    """Paths of what is no table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*where, key))
        else:
            yield (*where, key)


def at(table, path):
    return ft.reduce(lambda node, key: node[key], path, table)


def put(table, path, value):
    at(table, path[:-1])[path[-1]] = value
    return ".".join(path)


def misspell(word, rng):
    """One slip of the keyboard: a letter doubled, dropped, replaced or swapped."""
    while True:
        i = rng.randrange(len(word))
        other = rng.choice(string.ascii_lowercase)
        swapped = word[:i] + word[i + 1 : i + 2] + word[i] + word[i + 2 :]
        doubled, dropped = word[:i] + word[i:][:1] + word[i:], word[:i] + word[i + 1 :]
        slip = rng.choice((swapped, doubled, dropped, word[:i] + other + word[i + 1 :]))
        if slip != word and slip.isidentifier():
            return slip


def typo_in_key(table, rng):
    path = rng.choice(list(leaves(table)))
    depth = rng.randrange(len(path))
    if depth == 1 and path[0] in ("arms", "claims"):
        depth = 2  # names of arms and claims are free
    key = path[depth]
    slip = misspell(key, rng)
    holder = at(table, path[:depth])
    holder[slip] = holder.pop(key)
    return ".".join((*path[:depth], slip)), f"unknown field; did you mean {key!r}?"


def wrong_type(table, rng):
    path = rng.choice(list(leaves(table)))
    value = at(table, path)
    wrong = {
        str: (
            3,
            2.5,
            True,
            [],
            ["a"],
            {},
            {"x": 1},
            tomllib.loads("d=1979-05-27")["d"],
        ),
        int: ("3", "three", 2.5, True, {}, {"a": {"b": {"c": 1}}}, [[1]]),
        float: ("1e-3", False, [1.0], {}, tomllib.loads("t=07:32:00")["t"]),
        list: (3, "x", True, {}, {"a": 1}, [], ["a", "b"], [True, False], [[1], [2]]),
    }[type(value)]
    choice = rng.choice(wrong)
    if path[-1] in ("at_most", "at_least") and isinstance(choice, float):
        choice = "x"
    field = put(table, path, choice)
    if isinstance(choice, list) and isinstance(value, list) and choice:
        field += ".0"  # the first bad entry
    if isinstance(choice, list) and path == ("seeds",):
        field += ".0"
    return field, ""


def wrong_word(table, rng):
    fields = [p for p in leaves(table) if p[-1] in WORDS]
    path = rng.choice(fields)
    word = at(table, path)
    if rng.random() < 0.5:
        field = put(table, path, misspell(word, rng))
        return field, f"did you mean '{word}'?"
    return put(table, path, rng.choice(("", "Zzz", "a b", "\u2028\x1b", "x" * 500))), ""


WORDS = ("tier", "seed_mode", "precision", "name", "kind", "sampling", "experiment")


def not_positive(table, rng):
    whole = ("steps", "batch", "log_every", "eval_every", "shards", "width", "seeds")
    real = ("tolerance", "learning_rate", "budget_seconds", "half_width")
    fields = [p for p in leaves(table) if p[-1] in whole + real]
    path = rng.choice(fields)
    choices = [0, -1, -rng.randrange(1, 10**6)]
    choices += [-(10**60)] if path[-1] in whole else [0.0, -0.0, -1e-300]
    return put(table, path, rng.choice(choices)), "must be greater than 0"


def not_finite(table, rng):
    numbers = ("tolerance", "learning_rate", "half_width", "at_most", "at_least")
    fields = [p for p in leaves(table) if p[-1] in (*numbers, "weight", "within")]
    path = rng.choice(fields)
    value = rng.choice((math.nan, math.inf, -math.inf))
    if path[-1] in ("weight", "within"):
        index = rng.randrange(2)
        at(table, path)[index] = value
        return f"{'.'.join(path)}.{index}", "must be a finite number"
    return put(table, path, value), "must be a finite number"


def bad_seeds(table, rng):
    value, message, entry = rng.choice(
        (
            ([3, 3], "distinct", ""),
            ([0, 1, -1], "not negative", ""),
            ([2**32], "below 2**32", ""),
            ([], "must have 1 entry", ""),
            (-2, "greater than 0", ""),
            (2.0, "integer", ""),
            ([1, 2.5], "integer", ".1"),
            ([1, "a"], "not 'a'", ".1"),
            ([True, 0], "not true", ".0"),
            (math.nan, "not nan", ""),
        )
    )
    return put(table, ("seeds",), value) + entry, message


def misfit_intervals(table, rng):
    train, log_every = table["train"], table["train"]["log_every"]
    step = rng.choice((3, 7, log_every + 1, 4 * log_every - 1))
    if rng.random() < 0.5:
        train["chunk"] = step
        return "train.chunk", f"log_every = {log_every}: one must be a multiple"
    train["checkpoint"] = {"every_steps": step}
    return "train.checkpoint", "must be a multiple"


def missing_field(table, rng):
    arm = rng.choice([a for a, t in table["arms"].items() if "weight" in str(t)])
    claim = rng.choice(list(table["claims"]))
    path = rng.choice(
        (
            ("experiment",),
            ("train",),
            ("train", "steps"),
            ("arms", arm, "regulariser", "kind"),
            ("arms", arm, "regulariser", "weight"),
            ("claims", claim, "measure"),
            ("claims", claim, "bound"),
        )
    )
    if path[-1] == "bound":
        for bound in ("at_most", "at_least", "within"):
            table["claims"][claim].pop(bound, None)
        return f"claims.{claim}", "give exactly one of"
    del at(table, path[:-1])[path[-1]]
    return ".".join(path), "required, but missing"


def two_bounds(table, rng):
    claim = rng.choice(list(table["claims"]))
    body = table["claims"][claim]
    if rng.random() < 0.5:
        body.pop("at_most", None), body.pop("at_least", None)
        body["within"] = [2.0, 1.0]
        return f"claims.{claim}.within", "low above high"
    body |= {"at_most": 1, "at_least": 0}
    return f"claims.{claim}", "give exactly one of"


def no_table(table, rng):
    value = rng.choice((3, "x", True, [], [1, 2], 2.5, False, ""))
    claim, arm = rng.choice(list(table["claims"])), rng.choice(list(table["arms"]))
    path = rng.choice(
        (
            ("arms",),
            ("claims",),
            ("arms", arm),
            ("claims", claim),
            ("train",),
            ("model",),
            ("train", "optimiser"),
            ("arms", arm, "regulariser"),
        )
    )
    return put(table, path, value), "must be a table" if path[1:] else "must be "


def unknown_arm(table, rng):
    claim = rng.choice(list(table["claims"]))
    body, arm = table["claims"][claim], rng.choice(list(table["arms"]))
    wrong = misspell(arm, rng)
    while wrong in table["arms"]:
        wrong = misspell(arm, rng)
    body["measure"] = f"mean({wrong}.nfe) / vanilla.nfe"
    return f"claims.{claim}.measure", f"no arm {wrong!r}"


MEASURES = (
    "__import__('os').system('true')",
    "open('x').read()",
    "vanilla.nfe.mean()",
    "lambda: 1",
    "(lambda x: x)(vanilla.nfe)",
    "vanilla['nfe']",
    "vanilla.nfe[0]",
    "[x for x in vanilla.nfe]",
    "{1: 2}",
    "{vanilla.nfe}",
    "vanilla.nfe if 1 else 2",
    "vanilla.nfe < 3",
    "vanilla.nfe and 1",
    "not vanilla.nfe",
    "~vanilla.nfe",
    "vanilla.nfe // 2",
    "vanilla.nfe % 2",
    "vanilla.nfe @ 2",
    "vanilla.nfe << 2",
    "f'{vanilla.nfe}'",
    "'text'",
    "b'bytes'",
    "True",
    "None",
    "...",
    "1j",
    "vanilla",
    "median(vanilla.nfe)",
    "mean(vanilla.nfe, 1)",
    "mean()",
    "mean(*vanilla.nfe)",
    "mean(vanilla.nfe, axis=0)",
    "mean(a=vanilla.nfe)",
    "(x := 3)",
    "import os",
    "x = 1",
    "vanilla.nfe; 1",
    "vanilla.nfe +",
    "vanilla.nfe vanilla.nfe",
    "(vanilla.nfe",
    "vanilla.nfe)",
    "",
    "   ",
    "\n",
    "\0",
    "vanilla.nfe\n\u2028+ 1",
    "1e999",
    "1" + "0" * 400,
    "9" * 5000,
    "1if 1else 2",
    "(" * 10_000 + "1" + ")" * 10_000,
    "+".join(["1"] * 1500),
    "+".join(["1"] * 20_000),
    "-" * 3000 + "1",
    "-" * 100_000 + "1",
    "1" + "**1" * 900,
    "mean(" * 1000 + "vanilla.nfe" + ")" * 1000,
    "vanilla" + ".nfe" * 50_000,
    "await vanilla.nfe",
    "yield",
    "*vanilla.nfe",
    "vanilla.nfe, 1",
    "mean(min)(1)",
    "mean.max(1)",
)


def bad_measure(table, rng):
    claim = rng.choice(list(table["claims"]))
    table["claims"][claim]["measure"] = rng.choice(MEASURES)
    return f"claims.{claim}.measure", "measure "


def bad_arm_name(table, rng):
    names = ("a-b", "1st", "two words", "", "lambda", "a.b", "None", "x\ny", "\u2028")
    name = rng.choice(names)
    table["arms"][name] = {}
    bare = all(c.isascii() and (c.isalnum() or c in "_-") for c in name) and name
    return f"arms.{name}" if bare else 'arms."', "name must be a word"


def differing_shared(table, rng):
    arm = rng.choice(list(table["arms"]))
    path, value = rng.choice(
        (
            (("seeds",), 7),
            (("seed_mode",), "vmap"),
            (("tier",), None),
            (("train", "log_every"), 5),
            (("train", "max_seconds"), 1.0),
            (("train", "shards"), 1),
            (("train", "checkpoint"), {"keep": 9}),
        )
    )
    if path == ("tier",):
        value = "smoke" if table["tier"] == "full" else "full"
    own = table["arms"][arm]
    own |= {"train": {path[1]: value}} if len(path) > 1 else {path[0]: value}
    return ".".join(("arms", arm, *path)), "all arms share"


def bad_option(table, rng):
    slip, hint = rng.choice(
        (("b11", "'b1'"), ("esp", "'eps'"), ("nestrov", "'nesterov'"), ("zzz", ""))
    )
    table["train"]["optimiser"]["options"] = {slip: 0.5}
    message = f"takes no {slip!r}" + (f"; did you mean {hint}?" if hint else "")
    return f"train.optimiser.options.{slip}", message


def bad_schedule(table, rng):
    body, field, message = rng.choice(
        (
            ({"kind": "cosin"}, ".kind", "did you mean 'cosine'?"),
            ({"kind": ["cosine"]}, ".kind", "not ['cosine']"),
            ({"final_fraction": 0.1}, ".kind", "required, but missing"),
            ({"kind": "cosine", "final_fraction": 1}, ".final_fraction", "less than 1"),
            ({"kind": "cosine", "warmup": 3}, ".warmup", "mean 'warmup_steps'?"),
            ({"kind": "linear", "warmup_steps": 3}, ".warmup_steps", "unknown field"),
            ({"kind": "exponential", "final_fraction": 0}, ".final_fraction", "than 0"),
            (["cosine"], "", "must be a table, not ['cosine']"),
        )
    )
    field = put(table, ("train", "optimiser", "schedule"), body) + field
    return field, message


def huge_count(table, rng):
    field = rng.choice(("steps", "batch", "log_every", "shards"))
    value = rng.choice((2**31, 10**20, 10**5000))
    put(table, ("train", field), value if value < 10**100 else "@huge@")
    return f"train.{field}", "must be less than 2147483648"


ONE_VALUE = (
    typo_in_key,
    wrong_type,
    wrong_word,
    not_positive,
    not_finite,
    bad_seeds,
    misfit_intervals,
    missing_field,
    two_bounds,
    no_table,
    unknown_arm,
    bad_measure,
    bad_arm_name,
    differing_shared,
    bad_option,
    bad_schedule,
    huge_count,
)


def several(table, rng):
    """Independent damages of one file, all to be listed."""
    found = dict(
        (
            (put(table, ("seeds",), [4, 4]), "distinct"),
            (put(table, ("train", "stps"), 3), "unknown field; did you mean 'steps'?"),
            (put(table, ("train", "batch"), -1), "greater than 0"),
            (put(table, ("train", "chunk"), 7), "multiple"),
            (put(table, ("model", "width"), "x"), "integer"),
            (put(table, ("arms", "local", "regulariser", "kind"), "locl"), "'local'"),
            (put(table, ("arms", "vanilla", "moddel"), {}), "did you mean 'model'?"),
            (put(table, ("claims", "local_nfe", "measure"), "lcl.nfe"), "no arm 'lcl'"),
            (put(table, ("claims", "new"), {"measure": "local.nfe"}), "exactly one"),
            (put(table, ("train", "optimiser", "options"), {"q": 1}) + ".q", "adam"),
            (put(table, ("arms", "vanilla", "seed_mode"), "vmap"), "all arms share"),
        )
    )
    drop = rng.sample(sorted(found), rng.randrange(9))
    undo = {"train.optimiser.options.q": "train.optimiser.options"}
    for field in drop:
        del found[field]
        path = undo.get(field, field).split(".")
        whole = TABLES["smoke"]
        try:
            at(table, path[:-1])[path[-1]] = copy.deepcopy(at(whole, path))
        except KeyError:
            del at(table, path[:-1])[path[-1]]
    return found


# Damages of the text.


def broken_text(text, rng):
    """A bracket, a quote or an equals sign less, where that is no longer TOML."""
    while True:
        i = rng.choice([i for i, c in enumerate(text) if c in "[]{}\"'="])
        found = text[:i] + text[i + 1 :]
        if not is_toml(found):
            return found.encode()


def cut_short(text, rng):
    while True:
        found = text[: rng.randrange(len(text))]
        if not is_toml(found):
            return found.encode()


def junk(text, rng):
    whole = text.encode()
    place = rng.randrange(len(whole))
    return rng.choice(
        (
            bytes(rng.randrange(256) for _ in range(200)) + b"\xff",
            whole[:place] + b"\xff\xfe" + whole[place:],
            whole[:place] + b"\x00" + whole[place:],
            b"\x00" * 64,
            text.encode("utf-16"),
            b"\xef\xbb\xbf" + whole,
            whole + b"\nx = " + b"[" * 100_000,
            whole + b"\nx = " + b"[" * 300 + b"]" * 300,
            whole + b"\n" + b"a." * 5000 + b"b = 1",
            whole + b"\nx = " + b"9" * 5000,
            whole + b"\n[train]\nsteps = 1",
            whole + b"\nx = 1979-13-45",
            b"PK\x03\x04" + whole[:50],
        )
    )


TEXT = (broken_text, cut_short, junk)


def is_toml(text):
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def unknown_metric(table, rng):
    """What only the traced experiment knows."""
    claim = rng.choice(list(table["claims"]))
    measure, message = rng.choice(
        (
            ("local.nfee", "no metric 'nfee' in arm 'local' (there are: "),
            ("local.acuracy", "did you mean 'accuracy'?"),
            ("vanilla.los", "no metric 'los' in arm 'vanilla'"),
            ("local.train.los", "did you mean 'train.loss'?"),
            ("local.train", "no metric 'train'"),
            ("mean(local.loss) - vanilla.nfe", "written arm.train.name"),
            ("local.per_class", "is an array (10,), not a number"),
            ("local.__class__", "no metric '__class__'"),
        )
    )
    table["claims"][claim]["measure"] = measure
    return f"claims.{claim}.measure", message


def unknown_stopper(table, rng):
    table["train"]["early_stop"] = {"metric": "acuracy"}
    return "train.early_stop.metric", "did you mean 'accuracy'?"


TRACED = (unknown_metric, unknown_stopper)

KINDS = (*ONE_VALUE, *TEXT, *TRACED, several)


@pytest.fixture(scope="module")
def traced():
    """Programs of the sound files; a damaged claim changes none of them."""
    found = {}
    for name, path in FILES.items():
        spec = load(path, package="tests.run.subjects")
        found[name] = [Program(arms, spec.build) for arms in group_arms(spec.arms)]
        _check_names(spec, found[name])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_sound_files_load(name):
    assert list(load(FILES[name]).arms) == list(TABLES[name]["arms"])


@pytest.mark.parametrize("index", range(COUNT))
def test_damage_is_named(index, tmp_path, traced):
    rng = random.Random(index)
    damage = KINDS[index % len(KINDS)]
    name = rng.choice(NAMES)
    path = tmp_path / f"{name}.toml"
    if damage in TEXT:
        path.write_bytes(damage(TEXTS[name], rng))
        ((field, message),) = lines_of(path).items()
        assert field == "" and message.startswith("not valid TOML: "), message
        return
    table = copy.deepcopy(TABLES["smoke" if damage is several else name])
    if damage is several:
        wanted = several(table, rng)
    else:
        wanted = dict([damage(table, rng)])
    text = tomli_w.dumps(table).replace('"@huge@"', "0x1" + "0" * 5000)
    path.write_text(text)
    if damage in TRACED:
        spec = load(path, package="tests.run.subjects")
        with pytest.raises(ConfigError) as caught:
            _check_names(spec, traced[name])
        lines = check_lines(caught.value, path)
    else:
        lines = lines_of(path)
    for field, message in wanted.items():
        found = [m for f, m in lines.items() if f == field or field in ('arms."',)]
        assert any(message in m for m in found), (field, message, lines)
    if damage is several:
        assert lines.keys() == wanted.keys()
    elif damage is not no_table and damage is not typo_in_key:
        assert len(lines) <= 2, lines


def test_an_empty_file_lacks_its_experiment(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text("")
    assert lines_of(path) == {"experiment": "required, but missing"}
