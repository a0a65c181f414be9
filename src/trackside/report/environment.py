"""The template engine: sandboxed, every value escaped, and bounded work even for a template that means harm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, StrictUndefined, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from trackside.errors import ConfigError
from trackside.report import escape

TEMPLATES = Path(__file__).parent / "templates"
MAX_STEPS = 400_000
"""Loop steps of one rendering."""
MAX_OUTPUT = 4_000_000
MAX_TEMPLATE = 256 * 1024
REMOVED = ("range", "lipsum", "cycler", "joiner", "namespace", "dict")
MAX_VALUE = 1_000_000
"""Characters of one value that is printed or joined: doubling a text again and again ends here."""
REMOVED_FILTERS = (
    "replace",
    "center",
    "indent",
    "wordwrap",
    "pprint",
    "xmlattr",
    "safe",
    "format",
    "filesizeformat",
    "tojson",
)


class Environment(ImmutableSandboxedEnvironment):
    """Loops are counted, sizes multiplied in templates are bounded, nothing reaches the file system."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, sources: Mapping[str, str], *, markdown: bool) -> None:
        super().__init__(
            loader=DictLoader(dict(sources)),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            finalize=_in_markdown if markdown else _in_html,
        )
        self.steps = 0
        for name in REMOVED:
            self.globals.pop(name, None)
        for name in REMOVED_FILTERS:
            self.filters.pop(name, None)
        self.filters["counted"] = self.counted
        self.filters["bounded"] = _bounded

    def counted(self, things: Iterable[Any]) -> Iterator[Any]:
        for thing in things:
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise SecurityError(f"more than {MAX_STEPS:,} loop steps")
            yield thing

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)
        for joined in list(tree.find_all(nodes.Concat)):
            joined.nodes = [nodes.Filter(n, "bounded", [], [], None, None, lineno=n.lineno) for n in joined.nodes]
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return super().call_binop(context, operator, _bounded(left), _bounded(right))
        if not all(isinstance(one, int | float) and abs(one) < 1e9 for one in (left, right)):
            raise SecurityError(f"`{operator}` works on small numbers only")
        if operator == "**" and abs(right) > 10:
            raise SecurityError("`**` takes exponents up to 10")
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Any:
        """`format` pads to any width, so it is out of reach."""
        if super().wrap_str_format(value) is not None:
            raise SecurityError("`format` is not available in templates")
        return None

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Methods of text that can grow it without bound (`ljust`, `format`, …) are out of reach."""
        if isinstance(obj, str) and attr in ("ljust", "rjust", "center", "zfill", "expandtabs", "format", "format_map"):
            return False
        return super().is_safe_attribute(obj, attr, value)


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_VALUE:
        raise SecurityError(f"a text of more than {MAX_VALUE:,} characters")
    return value


def _in_markdown(value: Any) -> Any:
    """What `{{ … }}` prints: markup made here as it is, everything else escaped."""
    return _bounded(value) if hasattr(value, "__html__") else escape.inline(value)


def _in_html(value: Any) -> Any:
    return _bounded(value) if hasattr(value, "__html__") else escape.plain(value, 2000)


def builtin(name: str) -> str:
    """Text of a template that comes with the package."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def render(
    name: str,
    context: Mapping[str, Any],
    filters: Mapping[str, Callable[..., Any]],
    *,
    user: Mapping[str, str] | None = None,
    markdown: bool = True,
) -> str:
    """A template's text.

    Args:
        name: `report.md.j2` or `report.html.j2`.
        context: values the template may read.
        filters: by name.
        user: templates by name that take the place of those of the package, which stay reachable as
            `trackside/<name>` for `{% extends %}`.
        markdown: how printed values are escaped.

    Raises:
        ConfigError: the template is wrong or does too much.
    """
    sources = {key: value[:MAX_TEMPLATE] for key, value in (user or {}).items() if not key.startswith("trackside/")}
    sources = {name: builtin(name), **sources, f"trackside/{name}": builtin(name)}
    try:
        environment = Environment(sources, markdown=markdown)
        environment.filters.update(filters)
        made: list[str] = []
        length = 0
        for chunk in environment.get_template(name).generate(dict(context)):
            made.append(chunk)
            length += len(chunk)
            if length > MAX_OUTPUT:
                raise SecurityError(f"more than {MAX_OUTPUT:,} characters")
        return str(Markup("").join(Markup(chunk) for chunk in made))  # noqa: S704 - escaped where printed
    except (TemplateError, RecursionError, TypeError, ValueError, AttributeError, KeyError, ZeroDivisionError) as error:
        line = getattr(error, "lineno", None)
        where = f" line {line}" if line else ""
        raise ConfigError(
            f"the report template {name}{where} cannot be rendered",
            why=f"{type(error).__name__}: {error}"[:500],
            remedy="extend `trackside/" + name + "` and override its blocks",
            link="templates.md",
        ) from error
