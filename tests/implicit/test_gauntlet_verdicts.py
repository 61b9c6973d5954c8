"""What the gauntlet's table calls right, reported and silent."""

from typing import Any

import numpy as np
import pytest

from benchmarks.implicit_gauntlet import Answer, ask, cell, classify
from benchmarks.implicit_gauntlet_cases import Case, cases


EXACT = np.array([3.0, 4.0])


def case(low: Any = EXACT, **more):
    return Case("a case", "root", {}, np.zeros(2), np.asarray(low), **more)


def verdict(found: Any, told: Any = False, value=0.0, of=None):
    """With (gradient, told) for one lane or several."""
    found, told = np.asarray(found), np.asarray(told)
    answer = Answer(found, np.full(found.shape, value), told, "status")
    return classify(of or case(), answer)


def test_right_within_the_tolerance_and_flagged_if_told():
    close = EXACT + [0.0, 4e-3]  # of norm 5: 8e-4
    assert verdict(close)[0] == "right"
    assert verdict(close).error == pytest.approx(8e-4)
    assert verdict(close, told=True)[:3:2] == ("right", "flagged")
    assert verdict(EXACT + [0.0, 6e-3])[0] == "SILENT"


@pytest.mark.parametrize(
    ("found", "told", "value", "word"),
    [
        ([3.0, 5.0], False, 0.0, "SILENT"),
        ([3.0, 5.0], True, 0.0, "reported"),
        ([3.0, np.nan], False, 0.0, "reported"),
        ([3.0, np.inf], False, 0.0, "reported"),
        ([3.0, 5.0], False, np.nan, "reported"),  # NaN in the solution speaks too
        ([0.0, 0.0], False, 0.0, "SILENT"),
    ],
)
def test_wrong_gradients_need_a_word(found, told, value, word):
    assert verdict(found, told, value)[0] == word


def test_one_silent_lane_makes_a_batch_silent():
    of = case([EXACT, [np.nan, np.nan], EXACT], lanes=True)
    wrong = [EXACT, [1.0, 1.0], EXACT]
    assert cell(verdict(wrong, [False, True, False], of=of)._asdict()) == (
        "reported (status; others 0)"
    )
    assert cell(verdict(wrong, [True, False, True], of=of)._asdict()) == (
        "**SILENT (no gradient exists; others 0)**"
    )
    harmed = [EXACT + 1, [1.0, 1.0], EXACT]
    assert verdict(harmed, [False, True, False], of=of)[0] == "SILENT"
    assert verdict(harmed, [True, True, False], of=of)[0] == "reported"


def test_between_one_sided_derivatives_everything_is_right():
    of = case(-np.ones(2), high=np.zeros(2))
    for found in ([-1.0, 0.0], [-0.5, -0.5], [0.0, 0.0]):
        assert verdict(found, of=of)[:2] == ("right", 0.0)
    assert verdict([0.1, -0.5], of=of)[0] == "SILENT"


def test_exceptions_are_reports_but_not_those_of_the_table_itself():
    def fails(_):
        raise RuntimeError("singular")

    def broken(_):
        raise AttributeError("a typo")

    assert cell(ask(case(), fails)._asdict()) == "reported (raises RuntimeError)"
    assert cell(ask(case(lanes=True), fails)._asdict()).endswith("others lost)")
    assert cell(ask(case(), lambda _: None)._asdict()) == "n/a"
    with pytest.raises(AttributeError):
        ask(case(), broken)


@pytest.mark.parametrize("name", ["unknowns of size 1e12", "own descent stopped"])
def test_closed_forms_of_minima_agree_with_differences(name):
    (one,) = [c for c in cases() if c.name.startswith(name)]
    H, w, quartic = (one.data[key] for key in ("H", "w", "quartic"))

    def loss(theta):
        y = np.zeros_like(theta)
        for _ in range(50):
            slope = H @ y + 4 * quartic * y**3 - theta
            y -= np.linalg.solve(H + np.diag(12 * quartic * y**2), slope)
        return w @ y

    eye = 1e-5 * np.eye(len(w))
    found = [(loss(one.theta + e) - loss(one.theta - e)) / 2e-5 for e in eye]
    np.testing.assert_allclose(found, one.low, rtol=1e-6, atol=1e-8)
