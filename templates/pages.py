"""HTML pages from shipped Jinja2 files: sandboxed, escaped, without access to files."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

PACKAGE = "filmwright.templates"


class _PackageLoader(BaseLoader):
    """Pages from the package only; no include path, no file system."""

    def get_source(self, environment: Any, template: str) -> tuple[str, str | None, Any]:
        file = resources.files(PACKAGE) / template
        if "/" in template or not file.is_file():
            raise TemplateNotFound(template)
        return file.read_text(encoding="utf-8"), None, None


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=_PackageLoader(), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def render_page(template: str, **values: Any) -> str:
    """Renders a shipped page."""
    return _environment().get_template(template).render(**values)
