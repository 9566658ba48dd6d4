"""Jinja2 in script templates, which may come from strangers: values, conditions and one loop, nothing that calls, reads or grows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..storyboard.errors import InputError

ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For, nodes.CondExpr, nodes.Compare,
    nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Filter, nodes.Test, nodes.Concat, nodes.List, nodes.Tuple, nodes.Keyword,
)  # fmt: skip
FILTERS = {
    "join",
    "upper",
    "lower",
    "title",
    "capitalize",
    "default",
    "round",
    "int",
    "length",
    "first",
    "last",
    "trim",
}


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def check_wording(text: str, known: Mapping[str, Any]) -> None:
    """Whether a text may be rendered.

    Args:
        known: the values it may name.

    Raises:
        InputError: not Jinja2, a construct that is not allowed, nested loops, or a value that nobody gives; says the line.
    """
    try:
        tree = _environment().parse(text)
    except TemplateSyntaxError as error:
        raise InputError(f"line {error.lineno} of the text: {error.message}") from None
    for node, depth in _walk(tree, 0):
        name = type(node).__name__.lower()
        if not isinstance(node, ALLOWED):
            raise InputError(f"line {node.lineno} of the text: {name} is not allowed in a script template")
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise InputError(
                f"line {node.lineno} of the text: filter {node.name!r} is not allowed; choose of {', '.join(sorted(FILTERS))}"
            )
        if isinstance(node, nodes.For) and depth > 1:
            raise InputError(f"line {node.lineno} of the text: a loop inside a loop is not allowed")
    missing = meta.find_undeclared_variables(tree) - set(known)
    if missing:
        has = f"the parameters are {', '.join(known)}" if known else "the template has no parameters"
        raise InputError(f"{', '.join(sorted(missing))} is given by nobody: {has}")


def _walk(node: nodes.Node, depth: int) -> Iterator[tuple[nodes.Node, int]]:
    """Every node with the loops it lies in, itself counted."""
    depth += isinstance(node, nodes.For)
    yield node, depth
    for child in node.iter_child_nodes():
        yield from _walk(child, depth)


def render_wording(text: str, values: Mapping[str, Any]) -> str:
    """A checked text with its values.

    Raises:
        InputError: as `check_wording`.
    """
    check_wording(text, values)
    try:
        return _environment().from_string(text).render(**values)
    except (UndefinedError, TypeError, ValueError) as error:
        raise InputError(f"the text cannot be written: {error}") from None
