"""Claims: arithmetic over `arm.metric`, read by a parser that can do nothing else."""

import ast
import json
import math
import operator
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import did_you_mean


_BINARY: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY: dict[type, Callable] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_OVER_SEEDS: dict[str, Callable] = {
    "mean": np.mean,
    "min": np.min,
    "max": np.max,
    "std": np.std,
}

Values = Mapping[str, Mapping[str, np.ndarray]]  # arm -> metric -> one per seed


class Measured(NamedTuple):
    """One claim, measured."""

    name: str
    measure: str
    bound: str
    paper: str
    value: float
    low: float
    high: float
    holds: bool


def parse_measure(measure: str) -> ast.expr:
    """Reads a claim's arithmetic.

    Args:
        measure: such as `"local.nfe / vanilla.nfe"`.

    Returns:
        A checked expression tree.

    Raises:
        ValueError: naming what is not arithmetic.
    """
    text = measure.strip()
    shown = _shorten(text)
    if len(text) > _LONGEST:
        raise ValueError(f"measure {shown} has more than {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of "1if 1else 2"
            tree = ast.parse(text, mode="eval").body
    except (RecursionError, MemoryError):
        raise ValueError(f"measure {shown} is nested too deeply") from None
    except (SyntaxError, ValueError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise ValueError(f"measure {shown} is not arithmetic: {reason}") from None
    _check(tree, text)
    return tree


_LONGEST = 4000  # characters
_DEEPEST = 200  # operations within operations; what walks the tree is recursive


def _check(tree: ast.expr, text: str) -> None:
    shown = _shorten(text)
    queue = [(tree, 0)]
    while queue:
        node, depth = queue.pop()
        if depth > _DEEPEST:
            raise ValueError(f"measure {shown} is nested too deeply")
        inner: list[ast.expr] = []
        match node:
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                inner = [right, left]
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                inner = [operand]
            case ast.Constant(value=int() | float() as number) if not isinstance(
                number, bool
            ):
                # Further digits than a float has room for, or 1e999.
                if number > sys.float_info.max:
                    raise ValueError(f"measure {shown}: a number is too large")
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
                if name not in _OVER_SEEDS:
                    known = ", ".join(_OVER_SEEDS)
                    hint = did_you_mean(name, _OVER_SEEDS)
                    raise ValueError(
                        f"measure {shown}: unknown function {name!r} (there are: "
                        f"{known}){hint}"
                    )
                inner = [argument]
            case ast.Attribute() if _reference(node) is not None:
                pass
            case _:
                part = _shorten(ast.get_source_segment(text, node) or text)
                raise ValueError(
                    f"measure {shown}: {part} is not arm.metric, a number, + - * / "
                    "**, or mean/min/max/std of one expression"
                )
        queue += [(child, depth + 1) for child in inner]


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _reference(node: ast.AST) -> tuple[str, str] | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or not parts:
        return None
    return node.id, ".".join(reversed(parts))


def references(measure: str) -> list[tuple[str, str]]:
    """Lists the (arm, metric) pairs that a measure reads.

    Args:
        measure: the claim's arithmetic.

    Returns:
        The pairs, in order of appearance, without repeats.
    """
    found: list[tuple[str, str]] = []

    def visit(node: ast.AST) -> None:
        pair = _reference(node)
        if pair is not None:
            found.append(pair)
        else:
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(parse_measure(measure))
    return list(dict.fromkeys(found))


def evaluate_measure(measure: str, values: Values) -> tuple[float, np.ndarray]:
    """Evaluates a measure over seeds.

    Outside `mean`, `min`, `max` and `std` a metric stands for its mean over seeds, so
    `a.x / b.x` is a ratio of means. The spread is the same arithmetic seed by seed.

    Args:
        measure: the claim's arithmetic.
        values: one array over seeds per arm and metric.

    Returns:
        The value, and its value at every seed.
    """
    tree = parse_measure(measure)
    with np.errstate(all="ignore"):
        value = float(_evaluate(tree, values, of_means=True))
        per_seed = np.atleast_1d(_evaluate(tree, values, of_means=False))
    return value, np.asarray(per_seed, float)


def _evaluate(node: ast.AST, values: Values, *, of_means: bool) -> Any:
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            a = _evaluate(left, values, of_means=of_means)
            b = _evaluate(right, values, of_means=of_means)
            return _BINARY[type(op)](np.float64(a), np.float64(b))
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_evaluate(operand, values, of_means=of_means))
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Call(func=ast.Name(id=name), args=[inner]):
            return _OVER_SEEDS[name](_evaluate(inner, values, of_means=False))
    pair = _reference(node)
    assert pair is not None
    over_seeds = np.asarray(values[pair[0]][pair[1]], float)
    return np.mean(over_seeds) if of_means else over_seeds


def judge(name: str, claim: Any, values: Values) -> Measured:
    """Measures one claim; what is not a number fails.

    Args:
        name: the claim's name.
        claim: a `Claim`.
        values: one array over seeds per arm and metric.

    Returns:
        The claim with its value, spread and verdict.
    """
    value, per_seed = evaluate_measure(claim.measure, values)
    if claim.at_most is not None:
        bound, holds = f"<= {claim.at_most:g}", value <= claim.at_most
    elif claim.at_least is not None:
        bound, holds = f">= {claim.at_least:g}", value >= claim.at_least
    else:
        low, high = claim.within
        bound, holds = f"in [{low:g}, {high:g}]", low <= value <= high
    return Measured(
        name,
        claim.measure,
        bound,
        claim.paper,
        value,
        float(np.min(per_seed)),
        float(np.max(per_seed)),
        bool(holds and math.isfinite(value)),
    )


def claims_json(measured: list[Measured]) -> str:
    """Writes measured claims as JSON text; what is not a number becomes null."""

    def plain(item: Any) -> Any:
        if isinstance(item, float) and not math.isfinite(item):
            return None
        return item

    rows = [{k: plain(v) for k, v in row._asdict().items()} for row in measured]
    return json.dumps(rows, indent=2) + "\n"
