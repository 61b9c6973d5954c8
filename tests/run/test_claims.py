"""Claims: the arithmetic is numpy's, and the parser knows nothing else."""

import ast
import json
import random
import tempfile

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.configuration import set_hypothesis_home_dir

from djx.run._claims import (
    claims_json,
    evaluate_measure,
    judge,
    parse_measure,
    references,
)
from djx.run._schema import Claim
from tests.run.test_damaged_configs import MEASURES


set_hypothesis_home_dir(tempfile.gettempdir())  # it leaves a cache behind

REDUCERS = {"mean": np.mean, "min": np.min, "max": np.max, "std": np.std}
METRICS = [("a", "x"), ("a", "y.z"), ("b", "x"), ("b", "train.loss")]


def _nested(children):
    """A measure as text, and as Python text for numpy, inside and outside reducers."""

    def binary(parts):
        left, op, right, brackets = parts
        shape = "({} {} {})" if brackets else "{} {} {}"
        return tuple(shape.format(a, op, b) for a, b in zip(left, right, strict=True))

    def unary(parts):
        op, inner = parts
        return tuple(f"{op}{text}" for text in inner)

    def reduced(parts):
        name, (text, inside, _) = parts
        return f"{name}({text})", f"{name}({inside})", f"{name}({inside})"

    ops = st.sampled_from(["+", "-", "*", "/", "**"])
    return st.one_of(
        st.tuples(children, ops, children, st.booleans()).map(binary),
        st.tuples(st.sampled_from("+-"), children).map(unary),
        st.tuples(st.sampled_from(sorted(REDUCERS)), children).map(reduced),
    )


def _metric(pair):
    arm, metric = pair
    inside = f"v[{arm!r}][{metric!r}]"
    return f"{arm}.{metric}", inside, f"np.mean({inside})"


def _number(value):
    return repr(value), f"np.float64({value!r})", f"np.float64({value!r})"


numbers = st.one_of(st.integers(0, 12), st.floats(0, 1e6, allow_subnormal=False))
leaves = st.one_of(st.sampled_from(METRICS).map(_metric), numbers.map(_number))
expressions = st.recursive(leaves, _nested, max_leaves=12)


@st.composite
def seed_values(draw):
    """One array per metric; all have as many seeds."""
    count = draw(st.integers(1, 5))
    entry = st.one_of(
        st.floats(-1e3, 1e3), st.integers(-3, 3).map(float), st.just(float("nan"))
    )
    found = {"a": {}, "b": {}}
    for arm, metric in METRICS:
        drawn = draw(st.lists(entry, min_size=count, max_size=count))
        found[arm][metric] = np.asarray(drawn)
    return found


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(expressions, seed_values())
def test_measures_are_numpys_arithmetic(expression, values):
    text, of_seeds, of_means = expression
    scope = REDUCERS | {"np": np, "v": values}
    with np.errstate(all="ignore"):
        expected = eval(of_means, scope)  # what hypothesis wrote, as Python reads it
        expected_per_seed = np.atleast_1d(eval(of_seeds, scope))
    value, per_seed = evaluate_measure(text, values)
    assert type(value) is float and per_seed.dtype == np.float64
    np.testing.assert_array_equal(value, expected)  # nan where numpy says nan
    np.testing.assert_array_equal(per_seed, expected_per_seed)


VALUES = {
    "a": {"x": np.array([1.0, 2.0, 6.0]), "whole": np.array([1, 2, 4], np.int32)},
    "b": {"x": np.array([2.0, 4.0, 4.0]), "zero": np.zeros(3)},
    "c": {"x": np.array([1.0, np.nan, 2.0]), "half": np.array([0.5], np.float16)},
}


@pytest.mark.parametrize(
    "measure, value, per_seed",
    [
        ("a.x", 3.0, [1, 2, 6]),
        ("a.x / b.x", 0.9, [0.5, 0.5, 1.5]),  # a ratio of means
        ("mean(a.x / b.x)", 2.5 / 3, [2.5 / 3]),
        ("min(a.x)", 1.0, [1]),
        ("max(a.x) - min(a.x)", 5.0, [5]),
        ("std(a.x)", np.sqrt(14 / 3), [np.sqrt(14 / 3)]),
        ("max(a.x - b.x)", 2.0, [2]),
        ("a.x - mean(a.x)", 0.0, [-2, -1, 3]),
        ("-a.x ** 2", -9.0, [-1, -4, -36]),
        ("2 ** 3 ** 2", 512.0, [512]),
        ("1 - 2 - 3", -4.0, [-4]),
        ("8 / 4 / 2", 1.0, [1]),
        ("100 * (a.x - b.x)", 100 * (3 - 10 / 3), [-100, -200, 200]),
        ("a.whole / 2", 7 / 6, [0.5, 1, 2]),  # whole numbers divide as reals
        ("10 ** -2", 0.01, [0.01]),
        ("c.half", 0.5, [0.5]),
        ("1e-3 + 0x10", 16.001, [16.001]),
    ],
)
def test_known_values(measure, value, per_seed):
    found, spread = evaluate_measure(measure, VALUES)
    np.testing.assert_allclose(found, value, rtol=1e-15, atol=1e-14)
    np.testing.assert_allclose(spread, per_seed, rtol=1e-15)


@pytest.mark.parametrize(
    "bound", [{"at_most": 1e300}, {"at_least": -1e300}, {"within": [-1e300, 1e300]}]
)
@pytest.mark.parametrize(
    "measure",
    [
        *("c.x", "max(c.x)", "min(c.x) * 0", "c.x ** 0 + c.x"),  # not a number
        *("a.x / b.zero", "1 / 0", "-1 / 0", "0 / 0", "0 ** -1"),  # divided by zero
        *("(-1) ** 0.5", "(0 - 8) ** (1 / 3)", "10 ** 400", "2 ** 2 ** 2 ** 2 ** 2"),
    ],
)
def test_what_is_not_a_finite_number_fails(measure, bound):
    claim = Claim(measure=measure, **bound)
    measured = judge("claim", claim, VALUES)
    assert not np.isfinite(measured.value)
    assert measured.holds is False
    (row,) = json.loads(claims_json([measured]))
    assert row["value"] is None and row["holds"] is False


@pytest.mark.parametrize(
    "bound, holds, shown",
    [
        ({"at_most": 3.0}, True, "<= 3"),
        ({"at_most": 2.999}, False, "<= 2.999"),
        ({"at_least": 3.0}, True, ">= 3"),
        ({"at_least": 3.001}, False, ">= 3.001"),
        ({"within": [3.0, 3.0]}, True, "in [3, 3]"),
        ({"within": [3.5, 4.0]}, False, "in [3.5, 4]"),
        ({"at_most": 0}, False, "<= 0"),
    ],
)
def test_verdicts_and_the_spread_over_seeds(bound, holds, shown):
    claim = Claim(measure="a.x", paper="Table 1", **bound)
    measured = judge("name", claim, VALUES)
    assert measured == ("name", "a.x", shown, "Table 1", 3.0, 1.0, 6.0, holds)
    assert json.loads(claims_json([measured]))[0]["holds"] is holds


def test_references_are_listed_once_and_in_order():
    measure = "b.x / a.train.loss + mean(a.x) - b.x ** 2"
    assert references(measure) == [("b", "x"), ("a", "train.loss"), ("a", "x")]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m[:12])
def test_everything_else_is_refused_on_one_line(measure, recwarn):
    with pytest.raises(ValueError) as caught:
        parse_measure(measure)
    assert type(caught.value) is ValueError
    message = str(caught.value)
    assert message.startswith("measure ") and message.isprintable()
    assert len(message) < 300
    assert not recwarn.list  # a warning would be a second line


def test_nothing_is_called_by_a_refused_measure(monkeypatch):
    called = []
    monkeypatch.setattr("builtins.open", lambda *args: called.append(args))
    monkeypatch.setattr("builtins.__import__", lambda *args: called.append(args))
    for measure in ("open('x')", "__import__('os')", "open('x').read()"):
        with pytest.raises(ValueError, match="measure"):
            parse_measure(measure)
    assert not called


def test_attributes_are_only_looked_up_as_metrics():
    """`a.x.__class__` is a metric of that name, not an attribute of an array."""
    assert references("a.__class__.mro") == [("a", "__class__.mro")]
    with pytest.raises(KeyError):
        evaluate_measure("a.x.__class__", VALUES)
    values = {"a": {"x.sum": np.array([7.0])}}
    assert evaluate_measure("a.x.sum", values)[0] == 7.0


def test_long_measures_up_to_the_limit_are_evaluated_anywhere_on_the_stack():
    """What parses evaluates: the limit leaves room below Python's own."""
    rng = random.Random(0)
    terms = [str(rng.randrange(100)) for _ in range(200)]
    measure = " + ".join(terms)
    assert evaluate_measure(measure, {})[0] == sum(map(int, terms))
    nested = "-(" * 90 + "a.x" + ")" * 90
    assert evaluate_measure(nested, VALUES)[0] == 3.0

    def deeper(levels):
        if levels:
            return deeper(levels - 1)
        return evaluate_measure(measure, {})[0]

    assert deeper(400) == sum(map(int, terms))


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.text(alphabet="ab.x()+-*/ 1e'[]{}:,\n\\lambdfor=<>@%&|^~!#\"\0", max_size=40))
def test_random_text_is_arithmetic_or_refused(text):
    """What passes holds nothing but arithmetic."""
    try:
        tree = parse_measure(text)
    except ValueError as error:
        assert str(error).isprintable()
        return
    allowed = (
        *(ast.BinOp, ast.UnaryOp, ast.Constant, ast.Attribute, ast.Name, ast.Load),
        *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd, ast.Call),
    )
    assert all(isinstance(node, allowed) for node in ast.walk(tree))
    calls = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert set(calls) <= set(REDUCERS)
