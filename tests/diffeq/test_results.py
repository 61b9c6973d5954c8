"""What a solve says of itself: failures, engines, warnings, edges."""

import warnings

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import diffeq
from djx.diffeq import _warnings

from .systems import PID, solve, start


def _solve(field, y0=1.0, **options):
    case = dict(stepsize_controller=PID, dt0=0.1, max_steps=300) | options
    dt0, t1 = case.pop("dt0"), case.pop("t1", 1.0)
    solver = case.pop("solver", diffrax.Tsit5())
    term = diffrax.ODETerm(lambda t, y, args: field(t, y))
    return diffeq.diffeqsolve(term, solver, 0.0, t1, dt0, jnp.asarray(y0), **case)


def test_failures_have_names(x64):
    results = diffrax.RESULTS
    quiet = dict(throw=False)
    many = _solve(lambda t, y: jnp.sin(900 * t) * y, max_steps=20, **quiet)
    assert many.result == results.max_steps_reached and many.stats["num_steps"] == 20
    undefined = _solve(lambda t, y: jnp.sqrt(y - 2), max_steps=4096, **quiet)
    assert undefined.result == results.nonfinite
    # y = 1 / (1 - t) is infinite before 2
    small = _solve(lambda t, y: y**2, t1=2.0, max_steps=4096, **quiet)
    assert small.result in (results.dt_min_reached, results.max_steps_reached)
    least = diffrax.PIDController(rtol=1e-8, atol=1e-8, dtmin=0.05, force_dtmin=False)
    stiff = _solve(lambda t, y: -300 * y, stepsize_controller=least, **quiet)
    assert stiff.result == results.dt_min_reached
    fixed = _solve(
        lambda t, y: jnp.log(y - t),
        stepsize_controller=diffrax.ConstantStepSize(),
        solver=diffrax.Euler(),
        t1=4.0,
        **quiet,
    )
    assert fixed.result == results.nonfinite
    few = _solve(
        lambda t, y: -y,
        stepsize_controller=diffrax.ConstantStepSize(),
        max_steps=4,
        saveat=diffrax.SaveAt(ts=[0.2, 0.4, 0.9]),
        **quiet,
    )
    assert few.result == results.max_steps_reached
    np.testing.assert_array_equal(np.isfinite(few.ys), [True, True, False])


_PARTS = {
    "ts": dict(ts=[0.0, 0.003, 0.7, 1.0]),
    "ts and t1": dict(ts=[0.0, 0.003, 0.7], t1=True),
    "all": dict(t0=True, ts=[0.003, 0.7], t1=True),
    "steps": dict(steps=True),
    "thinned": dict(t0=True, steps=3, t1=True),
    "t1": dict(t0=True, t1=True),
    "of a function": dict(ts=[0.003, 0.7], t1=True, fn=lambda t, y, args: (t, y**2)),
}


@pytest.mark.parametrize("parts", _PARTS.values(), ids=_PARTS)
@pytest.mark.parametrize("step", ["adaptive", "fixed"])
@pytest.mark.parametrize("end", [1.0, 0.02])
def test_failed_solves_save_what_diffrax_saves(x64, parts, step, end):
    """Rows that were reached first, then the end, then infinite times and states."""
    parts = dict(parts)
    if "ts" in parts:
        parts["ts"] = end * np.asarray(parts["ts"])
    case: dict = dict(saveat=diffrax.SaveAt(**parts), throw=False, max_steps=20)
    case["stepsize_controller"] = (
        PID if step == "adaptive" else diffrax.ConstantStepSize()
    )
    term = diffrax.ODETerm(lambda t, y, args: jnp.sin(900 * t) * y)
    given = term, diffrax.Tsit5(), 0.0, end, 0.02, jnp.asarray([1.0, 2.0])
    ours = diffeq.diffeqsolve(*given, **case)
    theirs = diffrax.diffeqsolve(*given, **case)
    assert (ours.result == diffrax.RESULTS.successful) == (end < 0.1)
    assert ours.result == theirs.result
    np.testing.assert_allclose(ours.ts, theirs.ts, rtol=1e-12)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), ours.ys, theirs.ys
    )


def test_parts_of_a_state_may_be_empty(x64):
    y0 = {"a": jnp.array([1.0, 2.0]), "b": jnp.zeros((0, 3))}
    for controller in (PID, diffrax.ConstantStepSize()):
        solution = diffeq.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: jax.tree.map(lambda x: -x, y)),
            diffrax.Tsit5(),
            0.0,
            1.0,
            0.1,
            y0,
            saveat=diffrax.SaveAt(ts=[0.5, 1.0]),
            stepsize_controller=controller,
        )
        assert solution.ys["b"].shape == (2, 0, 3)
        expected = np.exp([[-0.5], [-1.0]]) * [1.0, 2.0]
        np.testing.assert_allclose(solution.ys["a"], expected, rtol=1e-5)


def test_failures_raise_unless_told_otherwise():
    with pytest.raises(RuntimeError, match="maximum number of solver steps"):
        _solve(lambda t, y: jnp.sin(900 * t) * y, max_steps=20)


def test_a_tolerance_below_rounding_is_warned_of_once(monkeypatch):
    monkeypatch.setattr(_warnings, "_warned", set())
    tight = diffrax.PIDController(rtol=1e-7, atol=1e-7)
    with pytest.warns(UserWarning, match="rounding"):
        _solve(lambda t, y: -y, stepsize_controller=tight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _solve(lambda t, y: -y, stepsize_controller=tight)
        _solve(lambda t, y: -y, stepsize_controller=diffrax.PIDController(1e-4, 1e-5))


def test_bad_input_is_named():
    path = diffeq.BulkBrownianPath((), jax.random.key(0))
    noisy = diffrax.MultiTerm(
        diffrax.ODETerm(lambda t, y, a: -y),
        diffrax.ControlTerm(lambda t, y, a: jnp.ones(()), path),
    )
    case = noisy, diffrax.Heun(), 0.0, 1.0, 0.1, jnp.ones(())
    with pytest.raises(ValueError, match="VirtualBrownianTree"):
        diffeq.diffeqsolve(*case, stepsize_controller=PID)
    for ts in ([0.5, 0.2], [0.5, 1.5]):
        with pytest.raises(ValueError, match="saveat.ts"):
            _solve(lambda t, y: -y, saveat=diffrax.SaveAt(ts=ts))
    with pytest.raises(ValueError, match="ReversibleAdjoint"):
        _solve(lambda t, y: -y, adjoint=diffeq.ReversibleAdjoint())


def test_explain_says_who_solves_and_why(capsys):
    term, y0 = diffrax.ODETerm(lambda t, y, a: -y), jnp.ones(2)

    def engine(**options):
        solver = options.pop("solver", diffrax.Tsit5())
        case = dict(stepsize_controller=PID) | options
        return diffeq.explain(term, solver, 0.0, 1.0, 0.1, y0, **case).engine

    assert engine() == "adaptive"
    assert engine(stepsize_controller=diffrax.ConstantStepSize()) == "grid"
    assert engine(adjoint=diffrax.BacksolveAdjoint()) == "diffrax"
    assert "BacksolveAdjoint" in capsys.readouterr().out
    assert engine(solver=diffrax.Kvaerno5()) == "diffrax"
    assert "Kvaerno5: solved by diffrax: solver Kvaerno5" in capsys.readouterr().out
    assert engine(event=diffrax.Event(lambda t, y, args, **_: y[0] < 0.5)) == "diffrax"
    assert engine(saveat=diffrax.SaveAt(dense=True)) == "diffrax"
    assert engine(max_steps=None) == "diffrax"


def test_diffrax_takes_the_rest_unchanged(x64):
    for case in (
        dict(solver=diffrax.Kvaerno3()),
        dict(saveat=diffrax.SaveAt(dense=True)),
        dict(adjoint=diffrax.BacksolveAdjoint()),
    ):
        ours, theirs = solve(**case), solve(diffrax.diffeqsolve, **case)
        if ours.interpolation is None:
            np.testing.assert_array_equal(ours.ys, theirs.ys)
        else:
            np.testing.assert_array_equal(ours.evaluate(1.3), theirs.evaluate(1.3))
        assert ours.stats["num_steps"] == theirs.stats["num_steps"]
        assert "error_estimate" in ours.stats


def test_times_to_save_at_the_edges(x64):
    one = solve(saveat=diffrax.SaveAt(ts=[1.0]))
    assert one.ys.shape == (1, 3)
    ends = solve(saveat=diffrax.SaveAt(ts=[0.0, 0.0, 3.0, 3.0]))
    np.testing.assert_array_equal(ends.ys[0], start()[0])
    np.testing.assert_array_equal(ends.ys[2], ends.ys[3])
    np.testing.assert_allclose(ends.ys[3], solve().ys[0], atol=1e-13)
    many = np.linspace(0.0, 3.0, 1001)
    case = dict(saveat=diffrax.SaveAt(ts=many))
    np.testing.assert_allclose(
        solve(**case).ys, solve(diffrax.diffeqsolve, **case).ys, atol=1e-10
    )
    # no step at all
    still = solve(t1=0.0, saveat=diffrax.SaveAt(ts=[0.0, 0.0], t1=True))
    np.testing.assert_array_equal(still.ys, np.stack([start()[0]] * 3))


def test_traced_times(x64):
    def end(t0, t1, dt0, library=diffeq.diffeqsolve, **case):
        return solve(library, t0=t0, t1=t1, dt0=dt0, **case).ys

    for controller in (PID, diffrax.ConstantStepSize()):
        case = dict(stepsize_controller=controller)
        expected = end(0.0, 2.0, 0.1, diffrax.diffeqsolve, **case)
        found = jax.jit(lambda *t, case=case: end(*t, **case))(0.0, 2.0, 0.1)
        np.testing.assert_allclose(found, expected, atol=1e-12)
        back = jax.jit(lambda *t, case=case: end(*t, **case))(2.0, 0.0, -0.1)
        expected = end(2.0, 0.0, -0.1, diffrax.diffeqsolve, **case)
        np.testing.assert_allclose(back, expected, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scales(x64, scale):
    """y' = -y and t stretched: the same steps whatever the units."""
    relative = diffrax.PIDController(rtol=1e-6, atol=0.0)
    term = diffrax.ODETerm(lambda t, y, a: -y / scale)
    solution = diffeq.diffeqsolve(
        term,
        diffrax.Tsit5(),
        0.0,
        3.0 * scale,
        0.1 * scale,
        jnp.asarray(scale),
        stepsize_controller=relative,
    )
    np.testing.assert_allclose(solution.ys[0], scale * np.exp(-3.0), rtol=1e-5)
