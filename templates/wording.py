"""Jinja2 in script templates, which may come from strangers: values, conditions and one loop, nothing that calls, reads or grows.

Jinja2 reads a text; what it read is evaluated here, node by node, because every step and every length is to be counted before it
is made.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..storyboard.errors import InputError
from .filters import FILTERS, MAX_LENGTH, TESTS, Budget, WordingLimit

ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For, nodes.CondExpr, nodes.Compare,
    nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Filter, nodes.Test, nodes.Concat, nodes.List, nodes.Tuple, nodes.Keyword,
)  # fmt: skip
MAX_DEPTH = 30
MAX_NUMBER = 10**18
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "in": lambda part, whole: part in whole,
    "notin": lambda part, whole: part not in whole,
}


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)


def check_wording(text: str, known: Mapping[str, Any]) -> nodes.Template:
    """A text as Jinja2 reads it, if it may be rendered.

    Args:
        known: the values it may name.

    Raises:
        InputError: not Jinja2, a construct that is not allowed, nested loops, or a value that nobody gives; says the line.
    """
    try:
        tree = _environment().parse(text)
    except TemplateSyntaxError as error:
        raise InputError(f"line {error.lineno} of the text: {error.message}") from None
    except RecursionError:
        raise InputError(f"the text is nested more than {MAX_DEPTH} deep") from None
    except (ValueError, OverflowError) as error:  # a number that Python does not read
        raise InputError(f"the text is not Jinja2: {error}") from None
    named: set[str] = set()
    given: set[str] = set(known)
    for node, depth, loops in _walk(tree):
        problem = _problem(node, loops) or (f"nested more than {MAX_DEPTH} deep" if depth > MAX_DEPTH else "")
        if problem:
            raise InputError(f"line {node.lineno} of the text: {problem}")
        if isinstance(node, nodes.Name):
            (named if node.ctx == "load" else given).add(node.name)
    if missing := named - given:
        has = f"the parameters are {', '.join(known)}" if known else "the template has no parameters"
        raise InputError(f"{', '.join(sorted(missing))} is given by nobody: {has}")
    return tree


def _walk(tree: nodes.Template) -> Iterator[tuple[nodes.Node, int, int]]:
    """Every node with its depth and the loops it lies in, itself counted."""
    left: list[tuple[nodes.Node, int, int]] = [(tree, 0, 0)]
    while left:
        node, depth, loops = left.pop()
        loops += isinstance(node, nodes.For)
        yield node, depth, loops
        left += [(child, depth + 1, loops) for child in node.iter_child_nodes()]


def _problem(node: nodes.Node, loops: int) -> str:
    """Why a node may not stand in a script template; empty where it may."""
    if not isinstance(node, ALLOWED):
        return f"{type(node).__name__.lower()} is not allowed in a script template"
    match node:
        case nodes.Filter() if node.name not in FILTERS:
            return f"filter {node.name!r} is not allowed; choose of {', '.join(sorted(FILTERS))}"
        case nodes.Test() if node.name not in TESTS:
            return f"test {node.name!r} is not allowed; choose of {', '.join(sorted(TESTS))}"
        case nodes.Filter() | nodes.Test() if node.dyn_args is not None or node.dyn_kwargs is not None:
            return "arguments behind a star are not allowed"
        case nodes.Filter() if node.node is None:
            return "a block with a filter is not allowed"
        case nodes.For() if loops > 1:
            return "a loop inside a loop is not allowed"
        case nodes.For() if node.recursive or not isinstance(node.target, nodes.Name):
            return "a loop has one name, and is not recursive: more is not allowed"
        case nodes.Const() if isinstance(node.value, int | float) and not abs(node.value) <= MAX_NUMBER:
            return f"a number beyond {MAX_NUMBER:.0e} is not allowed"
    return ""


def render_wording(text: str, values: Mapping[str, Any], budget: Budget | None = None) -> str:
    """A text with its values.

    Args:
        budget: the steps that this text shares with others; its own by default.

    Raises:
        InputError: as `check_wording`; or it grows too long, or takes too many steps.
    """
    tree = check_wording(text, values)
    budget = budget or Budget()
    pieces: list[str] = []
    length = 0
    try:
        for piece in _written(tree.body, values, budget):
            length += len(piece)
            if length > MAX_LENGTH:
                raise WordingLimit(f"it grows longer than {MAX_LENGTH:,} characters")
            pieces.append(piece)
    except (WordingLimit, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"the text cannot be written: {error}") from None
    return "".join(pieces)


def _written(body: Sequence[nodes.Node], values: Mapping[str, Any], budget: Budget) -> Iterator[str]:
    """The pieces of a text, one after the other."""
    for node in body:
        budget.spend()
        match node:
            case nodes.Output():
                for part in node.nodes:
                    yield str(_value(part, values, budget))
            case nodes.If():
                branches = [(node.test, node.body), *((other.test, other.body) for other in node.elif_)]
                chosen = (inside for test, inside in branches if _value(test, values, budget))
                yield from _written(next(chosen, node.else_), values, budget)
            case nodes.For():
                yield from _looped(node, values, budget)


def _looped(loop: nodes.For, values: Mapping[str, Any], budget: Budget) -> Iterator[str]:
    assert isinstance(loop.target, nodes.Name)
    empty = True
    for item in _value(loop.iter, values, budget):
        budget.spend()
        inside = {**values, loop.target.name: item}
        if loop.test is None or _value(loop.test, inside, budget):
            empty = False
            yield from _written(loop.body, inside, budget)
    if empty:
        yield from _written(loop.else_, values, budget)


def _value(node: nodes.Node, values: Mapping[str, Any], budget: Budget) -> Any:
    """The value of an expression."""
    budget.spend()

    def of(part: nodes.Node) -> Any:
        return _value(part, values, budget)

    match node:
        case nodes.TemplateData():
            return node.data
        case nodes.Const():
            return node.value
        case nodes.Name():
            if node.name not in values:
                raise ValueError(f"{node.name} has no value outside its loop")
            return values[node.name]
        case nodes.List() | nodes.Tuple():
            return [of(item) for item in node.items]
        case nodes.CondExpr():
            return of(node.expr1) if of(node.test) else of(node.expr2) if node.expr2 is not None else ""
        case nodes.And():
            return of(node.left) and of(node.right)
        case nodes.Or():
            return of(node.left) or of(node.right)
        case nodes.Not():
            return not of(node.node)
        case nodes.Concat():
            return budget.checked(FILTERS["join"]([of(part) for part in node.nodes]))
        case nodes.Compare():
            left = of(node.expr)
            for operand in node.ops:
                right = of(operand.expr)
                if not COMPARISONS[operand.op](left, right):
                    return False
                left = right
            return True
        case nodes.Filter() | nodes.Test() if node.node is not None:
            known = FILTERS if isinstance(node, nodes.Filter) else TESTS
            named = {str(pair.key): of(pair.value) for pair in node.kwargs}
            return budget.checked(known[node.name](of(node.node), *map(of, node.args), **named))
    raise TypeError(f"{type(node).__name__.lower()} has no value")
