"""GitHub-flavoured Markdown → HTML that is safe to show: rendered by markdown-it, then cut down to an allow list."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape
from mdit_py_plugins.tasklists import tasklists_plugin

ALERTS = ("note", "tip", "important", "warning", "caution")
_ALERT = re.compile(r"\[!(note|tip|important|warning|caution)\][ \t]*(?:\n|$)", re.IGNORECASE)
_REFERENCE = re.compile(
    r"(?<![\w/&@#-])(?:#(?P<number>\d{1,9})|@(?P<login>[A-Za-z\d](?:[A-Za-z\d-]{0,38})(?:\[bot\])?)|(?P<sha>[0-9a-f]{40}))(?![\w-])"
)
_HEADING = re.compile(r"[^\w\- ]")
PREFIX = "user-content-"

_TAGS = frozenset(
    re.findall(
        r"\w+",
        "a b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img input ins kbd li ol p picture"
        " pre q rp rt ruby s samp source span strike strong sub summary sup table tbody td tfoot th thead tr tt ul var",
    )
)
_ATTRIBUTES = {
    "*": {"align", "title", "dir"},
    "a": {"href"},
    "details": {"open"},
    "img": {"src", "alt", "width", "height"},
    "input": {"type", "checked", "disabled"},
    "ol": {"start"},
    "source": {"srcset", "media"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
} | {f"h{level}": {"id"} for level in range(1, 7)}
_CLASSES = {
    "pre": {"mermaid"},
    "div": {"alert", *(f"alert-{kind}" for kind in ALERTS)},
    "p": {"alert-title"},
    "li": {"task-list-item"},
    "ul": {"contains-task-list"},
    "ol": {"contains-task-list"},
    "a": {"mention", "sha"},
}
_ALIGN = {"text-align:left": "left", "text-align:right": "right", "text-align:center": "center"}


@dataclass(frozen=True, kw_only=True)
class Links:
    """Where references of a text lead.

    Args:
        reference: (`number`, `login` or `sha`; value) → address, or None for what does not exist.
        base: folder that relative links start from, such as `/o/r/blob/main`; relative pictures come from `raw`.
        raw: folder of relative pictures.
        home: address of the sandbox; links to it lose that part, so that they stay right in an exported copy.
        former: addresses that the sandbox had when the text was written.
    """

    reference: Callable[[str, str], str | None]
    base: str
    raw: str
    home: str
    former: tuple[str, ...] = ()


def render(text: str | None, links: Links) -> Markup:
    """Safe HTML of a text; nothing in it can run, load from elsewhere or leave its place."""
    if not text:
        return Markup("")
    html = _parser().render(text, {"links": links})
    return Markup(_clean(html, links))  # noqa: S704 - cleaned in the line itself


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": True})
    if parser.linkify is not None:
        parser.linkify.set({"fuzzy_link": False, "fuzzy_email": False})
    tasklists_plugin(parser)
    parser.core.ruler.push("alerts", _alerts)
    parser.core.ruler.push("references", _references)
    parser.core.ruler.push("anchors", _anchors)
    parser.core.ruler.push("alignment", _alignment)
    parser.add_render_rule("fence", _fence)
    return parser


def _fence(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    """Fenced code; `mermaid` is marked for the page's script, which draws it from the same text."""
    kind = tokens[at].info.strip().split(" ")[0].lower()
    opening = '<pre class="mermaid">' if kind == "mermaid" else "<pre>"
    return f"{opening}<code>{escape(tokens[at].content)}</code></pre>\n"


def _alerts(state: StateCore) -> None:
    """`> [!NOTE]` becomes a marked box."""
    tokens = state.tokens
    for at, token in enumerate(tokens):
        if token.type != "blockquote_open" or at + 2 >= len(tokens) or tokens[at + 2].type != "inline":
            continue
        inline = tokens[at + 2]
        found = _ALERT.match(inline.content)
        if not found:
            continue
        kind = found[1].lower()
        end = next(
            k
            for k in range(at + 1, len(tokens))
            if tokens[k].type == "blockquote_close" and tokens[k].level == token.level
        )
        token.tag = tokens[end].tag = "div"
        token.attrSet("class", f"alert alert-{kind}")
        rest = inline.content[found.end() :]
        inline.content = rest
        inline.children = state.md.parseInline(rest, state.env)[0].children if rest else []
        title = Token("html_block", "", 0, content=f'<p class="alert-title">{kind.capitalize()}</p>\n')
        token.meta["alert"] = title
    for at in range(len(tokens) - 1, -1, -1):
        if "alert" in tokens[at].meta:
            tokens.insert(at + 1, tokens[at].meta["alert"])


def _references(state: StateCore) -> None:
    """`#1`, `@name` and full commit SHAs become links where they name something that exists."""
    links: Links = state.env["links"]
    for block in state.tokens:
        if block.type != "inline":
            continue
        made: list[Token] = []
        depth = 0
        for token in block.children or []:
            depth += {"link_open": 1, "link_close": -1}.get(token.type, 0)
            made += _split(token, links) if token.type == "text" and depth == 0 else [token]
        block.children = made


def _split(token: Token, links: Links) -> list[Token]:
    made: list[Token] = []
    last = 0
    for found in _REFERENCE.finditer(token.content):
        kind, value = next((kind, value) for kind, value in found.groupdict().items() if value)
        address = links.reference(kind, value)
        if address is None:
            continue
        made.append(Token("text", "", 0, content=token.content[last : found.start()]))
        attrs: dict[str, str | int | float] = {"href": address}
        if kind != "number":
            attrs["class"] = "mention" if kind == "login" else "sha"
        made.append(Token("link_open", "a", 1, attrs=attrs))
        made.append(Token("text", "", 0, content=value[:7] if kind == "sha" else found[0]))
        made.append(Token("link_close", "a", -1))
        last = found.end()
    return [*made, Token("text", "", 0, content=token.content[last:])] if made else [token]


def _anchors(state: StateCore) -> None:
    """Headings get the ids that GitHub gives them, counted where they repeat."""
    seen: dict[str, int] = {}
    for at, token in enumerate(state.tokens):
        if token.type == "heading_open":
            text = "".join(
                one.content for one in state.tokens[at + 1].children or [] if one.type in ("text", "code_inline")
            )
            slug = _HEADING.sub("", text.lower()).strip().replace(" ", "-")
            count = seen[slug] = seen.get(slug, -1) + 1
            token.attrSet("id", f"{PREFIX}{slug}-{count}" if count else f"{PREFIX}{slug}")


def _alignment(state: StateCore) -> None:
    """Columns are aligned by an attribute: inline styles are not let through."""
    for token in state.tokens:
        if token.type in ("th_open", "td_open") and "style" in token.attrs:
            token.attrSet("align", _ALIGN.get(str(token.attrs.pop("style")), "left"))


def _clean(html: str, links: Links) -> str:
    def attribute(tag: str, name: str, value: str) -> str | None:
        if name == "href":
            return _address(value, links.base, links)
        if (tag, name) == ("img", "src"):
            return _picture(value, links)
        if name == "srcset":
            return _picture(value.split(" ")[0].rstrip(","), links)
        if tag == "input" and name == "type":
            return "checkbox" if value == "checkbox" else "hidden"
        return value

    return nh3.clean(
        html,
        tags=set(_TAGS),
        clean_content_tags={"script", "style", "iframe", "object", "embed", "noscript", "template", "svg", "math"},
        attributes=_ATTRIBUTES,
        attribute_filter=attribute,
        allowed_classes=_CLASSES,
        set_tag_attribute_values={"input": {"disabled": ""}},
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer",
        id_prefix=PREFIX,
    )


def _address(value: str, base: str, links: Links) -> str | None:
    """A link's target: in-page, in the sandbox, in the repository, or elsewhere on the web."""
    value = value.strip()
    for home in filter(None, (links.home, *links.former)):
        if value.startswith(home + "/"):
            value = value.removeprefix(home)
            break
    if value.startswith("#"):
        name = value[1:]
        return value if name.startswith((PREFIX, "issuecomment-")) else f"#{PREFIX}{name}"
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    if parts.scheme or value.startswith(("/", "\\")):
        return None if value.startswith(("//", "/\\", "\\")) else value
    steps: list[str] = []
    for step in parts.path.split("/"):
        if step == ".." and steps:
            steps.pop()
        elif step not in ("", ".", ".."):
            steps.append(step)
    return f"{base}/{'/'.join(steps)}" if steps else None


def _picture(value: str, links: Links) -> str | None:
    found = _address(value, links.raw, links)
    return found if found and found.startswith(("/", "https://")) else None
