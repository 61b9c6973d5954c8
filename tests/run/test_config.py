"""Configs: bases, overrides, arms, the values that reach the experiment, schemas."""

import copy
import json
import tomllib
from pathlib import Path

import jsonschema
import pydantic
import pytest
import tomli_w

from djx.core.errors import ConfigError
from djx.run import Config, load, load_table
from djx.run._program import group_arms
from djx.run._read import merge, read_table
from djx.run._schema import Claim, Optimiser, traced_values, Train, with_values
from experiments._listing import experiment_names, schema


ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*/*.toml"))
SMOKE = ROOT / "configs/neural_ode/smoke.toml"


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def loaded(table):
    """A config of the neural ODE, from a table that says what differs."""
    sound = {"experiment": "neural_ode", "train": {"steps": 10}}
    return load_table(merge(sound, table), "x.toml", package="tests.run.subjects")


def faults(table):
    """Messages by field."""
    with pytest.raises(ConfigError) as caught:
        loaded(table)
    found = caught.value.faults
    assert len(found) == len({fault.field for fault in found})
    assert all(fault.file == "x.toml" for fault in found)
    return {fault.field: fault.message for fault in found}


# The configs that there are.


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_loads(path):
    spec = load(path)
    assert spec.name == f"{path.parent.name}/{path.stem}"
    assert spec.common.experiment == spec.table["experiment"]
    assert spec.common.description
    # Without a tier it is for a GPU, or for data that only its user has.
    assert bool(spec.common.tier) == bool(spec.common.budget_seconds)


@pytest.mark.parametrize("experiment", experiment_names())
def test_committed_schemas_are_what_the_models_say(experiment):
    """After a change of a model: python -m experiments.run --schema."""
    committed = (ROOT / f"configs/schema/{experiment}.json").read_text()
    assert json.loads(committed) == schema(experiment)
    assert committed == json.dumps(schema(experiment), indent=1) + "\n"


def validator(experiment):
    content = schema(experiment)
    jsonschema.Draft202012Validator.check_schema(content)
    return jsonschema.Draft202012Validator(content)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_configs_validate_against_their_schema(path):
    table = tomllib.loads(path.read_text())
    validator(table["experiment"]).validate(table)
    first = path.read_text().splitlines()[0]
    relative = first.removeprefix("#:schema ")
    assert (path.parent / relative).resolve().name == f"{table['experiment']}.json"


@pytest.mark.parametrize(
    "change",
    [
        {"sead_mode": "map"},
        {"train": {"stpes": 3}},
        {"train": {"optimiser": {"name": "adm"}}},
        {"train": {"optimiser": {"schedule": {"kind": "cosin"}}}},
        {"train": {"steps": 0}},
        {"train": {"steps": "many"}},
        {"model": {"widht": 3}},
        {"arms": {"local": {"modle": {}}}},
        {"arms": {"local": {"regulariser": {"kind": "locl"}}}},
        {"arms": {"local": {"regulariser": {"kind": "local", "wieght": [1, 1]}}}},
        {"arms": {"local": 3}},
        {"claims": {"learns": {"at_mots": 3}}},
        {"claims": {"learns": {"measure": 3}}},
        {"base": 3},
    ],
    ids=str,
)
def test_a_slip_does_not_validate(change):
    table = tomllib.loads(SMOKE.read_text())
    check = validator("neural_ode")
    check.validate(table)
    assert not check.is_valid(merge(table, change))


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"base": "smoke.toml", "claims": {"learns": {"at_least": 0.7}}},
        {"arms": {"local": {"regulariser": {"weight": [1.0, 1.0]}}}},
        {"train": {"optimiser": {"schedule": {"final_fraction": 0.5}}}},
        {"seeds": [3, 4]},
    ],
    ids=str,
)
def test_what_a_base_may_complete_validates(table):
    validator("neural_ode").validate(table)


# Bases.


def test_bases_are_relative_to_their_file_and_the_upper_file_wins(tmp_path):
    write(tmp_path, "low.toml", "a = 1\nb = 1\n[t]\nx = 1\ny = 1\nlist = [1, 2]")
    write(tmp_path, "sub/mid.toml", 'base = "../low.toml"\nb = 2\n[t]\ny = 2')
    top = 'base = "sub/mid.toml"\nc = 3\n[t]\nz = 3\nlist = [9]'
    path = write(tmp_path, "top.toml", top)
    table = {"a": 1, "b": 2, "c": 3, "t": {"x": 1, "y": 2, "z": 3, "list": [9]}}
    assert read_table(path) == table


def test_a_table_that_changes_its_kind_replaces_the_lower_one(tmp_path):
    write(tmp_path, "low.toml", '[r]\nkind = "local"\nweight = [1, 2]\n[r.deep]\nx = 1')
    for text, wanted in (
        ('kind = "steer"', {"kind": "steer"}),
        (
            'kind = "local"\nsampling = "biased"',
            {
                "kind": "local",
                "weight": [1, 2],
                "sampling": "biased",
                "deep": {"x": 1},
            },
        ),
        ("weight = [3]", {"kind": "local", "weight": [3], "deep": {"x": 1}}),
    ):
        path = write(tmp_path, "top.toml", f'base = "low.toml"\n[r]\n{text}')
        assert read_table(path)["r"] == wanted


def test_merging_changes_neither_table():
    under, over = {"t": {"x": 1}}, {"t": {"y": 2}}
    before = copy.deepcopy((under, over))
    assert merge(under, over) == {"t": {"x": 1, "y": 2}}
    assert (under, over) == before


def test_a_config_over_a_shipped_one(tmp_path):
    text = f'base = "{SMOKE}"\n[train]\nsteps = 7\n[claims.learns]\nat_least = 0.1'
    spec = load(write(tmp_path, "quick.toml", text))
    assert spec.common.train.steps == 7 and spec.common.train.batch == 64
    assert spec.claims["learns"].at_least == 0.1
    assert "base" not in spec.table


def refused(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(path, *overrides, package="tests.run.subjects")
    return [(f.file, f.field, f.message) for f in caught.value.faults]


def test_a_cycle_of_bases_is_spelt_out(tmp_path):
    a = write(tmp_path, "a.toml", 'base = "sub/b.toml"')
    write(tmp_path, "sub/b.toml", 'base = "../c.toml"')
    c = write(tmp_path, "c.toml", 'base = "a.toml"')
    ((file, field, message),) = refused(a)
    assert (Path(file).resolve(), field) == (c, "base")
    loop = "a.toml -> b.toml -> c.toml -> a.toml"
    assert message == f"leads back to itself: {loop}"


def test_a_file_that_is_its_own_base(tmp_path):
    a = write(tmp_path, "a.toml", 'base = "./a.toml"')
    loop = "leads back to itself: a.toml -> a.toml"
    assert refused(a) == [(str(a), "base", loop)]


def test_two_files_may_share_a_base(tmp_path):
    """Only a way back is a cycle."""
    write(tmp_path, "low.toml", "x = 1")
    write(tmp_path, "mid.toml", 'base = "low.toml"')
    assert read_table(write(tmp_path, "top.toml", 'base = "mid.toml"')) == {"x": 1}


def test_faults_of_bases_name_the_file_that_has_them(tmp_path):
    write(tmp_path, "low.toml", "x = [}")
    mid = write(tmp_path, "mid.toml", 'base = "lwo.toml"')
    top = write(tmp_path, "top.toml", 'base = "mid.toml"')
    hint = "'lwo.toml': no such file; did you mean 'low.toml'?"
    assert refused(top) == [(str(mid), "base", hint)]
    write(tmp_path, "mid.toml", 'base = "low.toml"')
    ((file, field, message),) = refused(top)
    assert (file, field) == (str(tmp_path / "low.toml"), "")
    assert message.startswith("not valid TOML: ") and "line 1" in message


@pytest.mark.parametrize(
    "base, message",
    [
        ("3", "must be a path, as a string"),
        ('["a.toml"]', "must be a path, as a string"),
        ('""', "'': is a folder"),
        ('"."', "'.': is a folder"),
        (f'"{"x" * 5000}"', "File name too long"),
        ('"\\u0000"', "no such file"),
    ],
)
def test_bases_that_are_no_files(tmp_path, base, message):
    path = write(tmp_path, "a.toml", f"base = {base}")
    ((file, field, found),) = refused(path)
    assert (file, field) == (str(path), "base")
    assert message in found


def test_a_missing_file_gets_its_neighbour_suggested(tmp_path):
    near = write(tmp_path, "digits.toml", "")
    wrong = tmp_path / "digts.toml"
    message = f"no such file; did you mean {str(near)!r}?"
    assert refused(wrong) == [(str(wrong), "", message)]
    assert refused(tmp_path) == [(str(tmp_path), "", "is a folder")]


# Overrides.


@pytest.mark.parametrize(
    "override, path, value",
    [
        ("train.steps=50", ("train", "steps"), 50),
        ("train.steps = 50", ("train", "steps"), 50),
        ("train.optimiser.learning_rate=1e-4", ("train", "optimiser"), None),
        ("seed_mode=vmap", ("seed_mode",), "vmap"),
        ('seed_mode="vmap"', ("seed_mode",), "vmap"),
        ("seeds=[3, 4]", ("seeds",), [3, 4]),
        ("model.width=7", ("model", "width"), 7),
        ("description='a=b.c'", ("description",), "a=b.c"),
        ("description=a-b_c", ("description",), "a-b_c"),
        ("train.checkpoint={keep = 5}", ("train", "checkpoint"), {"keep": 5}),
        ("arms.local.regulariser.kind=none", ("arms", "local"), None),
    ],
)
def test_overrides_are_toml(override, path, value):
    spec = load(SMOKE, override)
    found = spec.table
    for name in path:
        found = found[name]
    if override.startswith("arms"):  # another kind drops the old one's fields
        value = {"regulariser": {"kind": "none"}}
    if path[-1] == "optimiser":
        value = {"name": "adam", "learning_rate": 1e-4}
        assert spec.common.train.optimiser.learning_rate == 1e-4
    assert found == value and type(found) is type(value)


def test_later_overrides_win():
    spec = load(SMOKE, "train.steps=50", "train.steps=70", "train.batch=2")
    assert (spec.common.train.steps, spec.common.train.batch) == (70, 2)


@pytest.mark.parametrize(
    "override, field, message",
    [
        ("train.steps", "", "'train.steps' is not of the form a.b=value"),
        ("=3", "", "not of the form a.b=value"),
        ("train..steps=3", "", "not of the form a.b=value"),
        ("train.steps=", "train.steps", "value '' is not TOML"),
        ("train.steps=[1", "train.steps", "value '[1' is not TOML"),
        ("train.steps=a b", "train.steps", "value 'a b' is not TOML"),
        ("train.steps=1\nseeds = 3", "train.steps", "is not TOML"),
        ("train.steps=" + "[" * 10_000, "train.steps", "is not TOML"),
        ("train.steps=5O", "train.steps", "must be a valid integer, not '5O'"),
        ("train.stpes=5", "train.stpes", "unknown field; did you mean 'steps'?"),
        ("trian.steps=5", "trian", "unknown field; did you mean 'train'?"),
        ("train=5", "train", "must be a table, not 5"),
        ("base=x", "base", "is set in a file, not by an override"),
        ("experiment=neural_od", "experiment", "did you mean 'neural_ode'?"),
    ],
)
def test_bad_overrides(override, field, message):
    found = refused(SMOKE, override)
    assert [(file, where) for file, where, _ in found] == [(str(SMOKE), field)]
    assert message in found[0][2] and found[0][2].isprintable()


def test_all_bad_overrides_are_listed():
    found = refused(SMOKE, "x", "train.steps=[", "y")
    assert [field for _, field, _ in found] == ["", "train.steps", ""]


# Arms, and how their faults are named.


def test_arms_are_the_shared_tables_and_their_own():
    spec = loaded(
        {
            "train": {"batch": 3, "optimiser": {"name": "sgd"}},
            "arms": {
                "a": {"train": {"optimiser": {"learning_rate": 0.5}}},
                "b": {"model": {"width": 7}},
            },
        }
    )
    a, b = spec.arms["a"], spec.arms["b"]
    assert (a.train.optimiser.name, a.train.optimiser.learning_rate) == ("sgd", 0.5)
    assert (a.train.batch, b.train.batch) == (3, 3)
    assert (b.train.optimiser.learning_rate, b.model.width) == (1e-3, 7)


def test_a_config_without_arms_has_one_called_main():
    spec = loaded({"claims": {"c": {"measure": "main.nfe", "at_most": 1}}})
    assert list(spec.arms) == ["main"]


def test_faults_of_shared_tables_are_named_once():
    table = {"train": {"bach": 1, "steps": 0, "chunk": 7}, "arms": {"a": {}, "b": {}}}
    assert set(faults(table)) == {"train.bach", "train.steps", "train.chunk"}
    table["arms"]["a"] = {"train": {"batch": 2}}  # says something else in that table
    assert set(faults(table)) == {"train.bach", "train.steps", "train.chunk"}


def test_faults_of_arms_are_named_below_them():
    own = {"train": {"steps": -1, "optimiser": {"nme": "sgd"}}}
    kind = {"regulariser": {"kind": "local", "weight": [1.0]}}
    assert set(faults({"arms": {"a": own, "b": kind, "c": {"x": {}}}})) == {
        "arms.a.train.steps",
        "arms.a.train.optimiser.nme",
        "arms.b.regulariser.weight",
        "arms.c.x",
    }


def test_a_fault_that_an_arm_repeats_is_named_in_both_places():
    table = {"train": {"batch": 0}, "arms": {"a": {"train": {"batch": 0}}, "b": {}}}
    assert set(faults(table)) == {"train.batch", "arms.a.train.batch"}


def test_an_arm_that_mends_a_shared_fault_does_not_hide_it():
    arms = {"a": {"train": {"batch": 4}}, "b": {}}
    assert set(faults({"train": {"batch": 0}, "arms": arms})) == {"train.batch"}


def test_an_interval_that_only_one_arm_breaks_is_that_arms():
    table = {"train": {"chunk": 20}, "arms": {"a": {}, "b": {"train": {"chunk": 7}}}}
    message = faults(table)
    assert set(message) == {"arms.b.train.chunk"}
    assert "chunk = 7 and log_every = 100" in message["arms.b.train.chunk"]


def test_what_one_arm_lacks_and_another_gives_is_that_arms():
    arms = {"a": {"regulariser": {"weight": [1.0, 1.0]}}, "b": {}}
    table = {"regulariser": {"kind": "local"}, "arms": arms}
    assert faults(table) == {"arms.b.regulariser.weight": "required, but missing"}
    table["arms"]["a"] = {}
    assert faults(table) == {"regulariser.weight": "required, but missing"}


def test_a_shared_kind_repeated_by_an_arm_leaves_the_fault_shared():
    arms = {"a": {"regulariser": {"kind": "local"}}, "b": {}}
    shared = {"kind": "local", "weight": "x"}
    found = faults({"regulariser": shared, "arms": arms})
    assert found == {"regulariser.weight": "must be a valid list, not 'x'"}


def test_hints_are_of_the_kind_that_is_there():
    """Steer has no `sampling`; it is not suggested there."""
    arms = {
        "a": {"regulariser": {"kind": "steer", "samplng": "biased"}},
        "b": {"regulariser": {"kind": "local", "weight": [1, 1], "samplng": "biased"}},
    }
    assert faults({"arms": arms}) == {
        "arms.a.regulariser.samplng": "unknown field",
        "arms.b.regulariser.samplng": "unknown field; did you mean 'sampling'?",
    }


def test_arms_share_what_they_are_compared_by():
    arms = {
        "a": {"seeds": 5, "train": {"checkpoint": {"keep": 1}}},
        "b": {"train": {"log_every": 50}},
        "c": {},
    }
    found = faults({"arms": arms})
    assert found == {
        "arms.a.seeds": "all arms share seeds; set it once, outside the arms",
        "arms.a.train.checkpoint": "all arms share checkpoint; set it once, under "
        "[train]",
        "arms.b.train.log_every": "all arms share log_every; set it once, under "
        "[train]",
    }
    same = {"seeds": 1, "train": {"log_every": 100, "checkpoint": {"keep": 3}}}
    assert list(loaded({"arms": {"a": same, "b": {}}}).arms) == ["a", "b"]


def test_options_of_an_arms_own_optimiser_are_that_arms():
    arms = {"a": {"train": {"optimiser": {"name": "sgd"}}}, "b": {}}
    table = {"train": {"optimiser": {"options": {"b1": 0.5}}}, "arms": arms}
    assert faults(table) == {
        "arms.a.train.optimiser.options.b1": "optax.sgd takes no 'b1'",
    }


def test_claims_on_unknown_arms():
    arms = {"vanilla": {}, "local": {"train": {"steps": 0}}}  # a faulty arm is known
    claims = {
        "a": {"measure": "vanila.nfe / local.nfe", "at_most": 1},
        "b": {"measure": "main.nfe", "at_mots": 1},
    }
    assert faults({"arms": arms, "claims": claims}) == {
        "arms.local.train.steps": "must be greater than 0, not 0",
        "claims.a.measure": "no arm 'vanila' (there are: local, vanilla); did you mean "
        "'vanilla'?",
        "claims.b.measure": "no arm 'main' (there are: local, vanilla)",
        "claims.b.at_mots": "unknown field; did you mean 'at_most'?",
    }


@pytest.mark.parametrize("value", [[], 0, False, ""], ids=repr)
def test_arms_that_are_empty_but_no_table(value):
    assert faults({"arms": value}) == {"arms": "must be tables: [arms.name]"}


def test_unusual_keys_are_quoted_as_toml_quotes_them():
    table = {"a b": 1, "train": {"x.y": 1, "new\nline": 1, "\u2028": 1, "": 1}}
    assert set(faults(table)) == {
        '"a b"',
        'train."x.y"',
        'train."new\\nline"',
        'train."\\u2028"',
        'train.""',
    }


# Models.


def test_sections_are_frozen_and_closed():
    config = loaded({}).common
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.seeds = 3
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.train.optimiser.learning_rate = 3.0
    with pytest.raises(pydantic.ValidationError, match="extra"):
        Optimiser(nme="sgd")


@pytest.mark.parametrize("seeds, listed", [(3, [0, 1, 2]), (1, [0]), ([7, 2], [7, 2])])
def test_seeds(seeds, listed):
    assert loaded({"seeds": seeds}).common.seed_list() == listed


@pytest.mark.parametrize("chunk", [None, 1, 5, 10, 30, 1000])
@pytest.mark.parametrize("save", [None, 3000])
def test_intervals_that_fit(chunk, save):
    train = {"steps": 9000, "log_every": 10, "chunk": chunk}
    checkpoint = {"every_steps": save} if save else {}
    assert Train.model_validate(train | {"checkpoint": checkpoint}).chunk == chunk


def test_whole_numbers_are_not_text_nor_the_other_way_round():
    for wrong in ({"steps": "3"}, {"steps": 3.0}, {"steps": True}, {"batch": None}):
        with pytest.raises(pydantic.ValidationError):
            Train.model_validate({"steps": 3} | wrong)
    assert Optimiser.model_validate({"learning_rate": 1}).learning_rate == 1.0


def test_a_claim_has_exactly_one_bound():
    for bounds in ({}, {"at_most": 1, "at_least": 0}, {"at_most": 1, "within": [0, 1]}):
        with pytest.raises(pydantic.ValidationError, match="exactly one of"):
            Claim.model_validate({"measure": "a.x", **bounds})
    assert Claim.model_validate({"measure": "a.x", "within": [1, 1]}).at_most is None


# What may be traced, and which arms share a program.


def test_traced_values_are_the_marked_fields_that_are_given():
    table = {
        "train": {
            "ema": 0.9,
            "optimiser": {
                "weight_decay": 0.1,
                "schedule": {"kind": "cosine", "final_fraction": 0.1},
            },
        },
        "regulariser": {"kind": "local", "weight": [1.0, 0.4]},
    }
    config = loaded(table).common
    values = traced_values(config)
    assert values == {
        "train.ema": 0.9,
        "train.optimiser.learning_rate": 1e-3,
        "train.optimiser.weight_decay": 0.1,
        "train.optimiser.schedule.final_fraction": 0.1,
        "regulariser.weight": [1.0, 0.4],
    }
    changed = with_values(config, {p: f"new {p}" for p in values})
    assert traced_values(changed) == {p: f"new {p}" for p in values}
    assert with_values(changed, values) == config
    assert isinstance(changed, Config) and traced_values(config) == values


def groups(**arms):
    return [list(group) for group in group_arms(loaded({"arms": arms}).arms)]


def rate(value, **more):
    return {"train": {"optimiser": {"learning_rate": value, **more}}}


def local(first, last, **more):
    return {"regulariser": {"kind": "local", "weight": [first, last], **more}}


def steer(width):
    return {"regulariser": {"kind": "steer", "half_width": width}}


def test_arms_that_differ_in_traced_fields_share_a_program():
    assert groups(a=rate(0.1), b=rate(0.2), c={}) == [["a", "b", "c"]]
    assert groups(a=local(1.0, 1.0), b=local(0.5, 0.1)) == [["a", "b"]]
    assert groups(a=steer(0.5), b=steer(0.1)) == [["a", "b"]]
    one, two = rate(0.1, weight_decay=0.1), rate(0.2, weight_decay=0.0)
    assert groups(a=one, b=two) == [["a", "b"]]
    assert groups(a={"train": {"ema": 0.5}}, b={"train": {"ema": 0.0}}) == [["a", "b"]]
    cosines = [
        rate(0.1, schedule={"kind": "cosine", "final_fraction": value})
        for value in (0.1, 0.2)
    ]
    assert groups(a=cosines[0], b=cosines[1]) == [["a", "b"]]


def test_arms_that_differ_otherwise_do_not():
    assert groups(a={}, b={"model": {"width": 7}}) == [["a"], ["b"]]
    assert groups(a=local(1.0, 1.0), b=steer(0.5)) == [["a"], ["b"]]
    apart = local(1.0, 1.0, sampling="biased")
    assert groups(a=local(1.0, 1.0), b=apart) == [["a"], ["b"]]
    assert groups(a=rate(0.1), b=rate(0.1, name="sgd")) == [["a"], ["b"]]
    assert groups(a=rate(0.1), b=rate(0.1, options={"b1": 0.5})) == [["a"], ["b"]]
    assert groups(a={}, b={"train": {"steps": 7}}) == [["a"], ["b"]]
    kinds = [rate(0.1, schedule={"kind": kind}) for kind in ("cosine", "linear")]
    assert groups(a=kinds[0], b=kinds[1]) == [["a"], ["b"]]


@pytest.mark.parametrize("field", ["clip_norm", "weight_decay"])
def test_absent_and_given_are_two_programs(field):
    """Whether there is clipping at all is code, not a value."""
    given = rate(0.1, **{field: 1.0})
    zero = rate(0.1, **{field: 1e-9})
    assert groups(a={}, b=given, c={}, d=zero) == [["a", "c"], ["b", "d"]]


def test_absent_and_given_averages_are_two_programs():
    assert groups(a={}, b={"train": {"ema": 0.5}}) == [["a"], ["b"]]


def test_groups_keep_the_order_of_arms():
    widths = {"model": {"width": 7}}
    assert groups(a={}, b=widths, c=rate(0.5), d=widths) == [["a", "c"], ["b", "d"]]


def test_the_resolved_table_loads_to_the_same_arms(tmp_path):
    """A run directory's config.toml is the run's config."""
    spec = load(SMOKE, "train.steps=50")
    again = load(write(tmp_path, "config.toml", tomli_w.dumps(spec.table)))
    assert again.arms == spec.arms and again.claims == spec.claims
