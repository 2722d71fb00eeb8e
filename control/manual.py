"""The manual: Markdown files in `help/`, rendered on the box.

Two parts are generated when a page is asked for, so that they cannot be out of step: `{{settings}}` becomes the table
of all settings, `{{routes}}` the table of the console's own routes. HTML inside the Markdown stays text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from flask import Flask
from markdown_it import MarkdownIt
from markupsafe import Markup

from appliance.config import documented
from appliance.errors import NotFound
from appliance.work import Noun
from control.gate import OPEN_ENDPOINTS
from control.roles import needed

FOLDER = Path(__file__).parent / "help"

ORDER = (
    "index", "getting-started", "installing", "signed-media", "certificates", "services", "concepts", "cli",
    "repositories", "media", "forges", "merge-requests", "intake",
    "repair", "droids", "sandbox", "learning", "lessons", "replay", "models", "engines", "playground", "clients",
    "keys", "routing", "access", "security", "backups", "troubleshooting", "settings", "routes", "metrics",
)  # fmt: skip
"""The chapters, as the contents list them; decisions follow by name."""


WIDE = {
    "<table>": '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>', "</table>": "</table></div>",
    "<pre>": '<pre tabindex="0">',
}  # fmt: skip
"""What may be wider than the screen scrolls, by keyboard too. The renderer has escaped whatever else looks like it."""


class Page(Noun):
    """One page of the manual, rendered."""

    name: str
    title: str
    html: str

    @property
    def safe(self) -> Markup:
        """For templates. The renderer escapes all HTML of the source."""
        return Markup(self.html)  # noqa: S704 - see above


def names() -> list[str]:
    """All pages: the chapters, then the decisions."""
    decisions = sorted(f"decisions/{file.stem}" for file in (FOLDER / "decisions").glob("*.md"))
    return [*ORDER, *decisions]


def source(name: str) -> str:
    """A page's Markdown. Raises NotFound; only names in `names()` are ever opened."""
    if name not in names():
        raise NotFound(f"the manual has no page {name!r}", "see /help/")
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def title(name: str) -> str:
    """The first heading of a page."""
    return source(name).partition("\n")[0].removeprefix("# ").strip()


@lru_cache(maxsize=1)
def contents() -> tuple[tuple[str, str], ...]:
    """(name, title) of each page in order."""
    return tuple((name, title(name)) for name in names())


def page(name: str, routes: str = "") -> Page:
    """A rendered page."""
    text = source(name).replace("{{settings}}", settings_table()).replace("{{routes}}", routes)
    html = _renderer().render(text)
    for plain, scrolling in WIDE.items():
        html = html.replace(plain, scrolling)
    return Page(name=name, title=title(name), html=html)


@lru_cache(maxsize=1)
def _renderer() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")


def settings_table() -> str:
    """Every setting with its default, as Markdown, a section each."""
    lines: list[str] = []
    section = ""
    for row in documented():
        here, _, field = row["name"].partition(".")
        if here != section:
            section = here
            lines += ["", f"## {section}", "", "| setting | default | meaning |", "| --- | --- | --- |"]
        cells = (f"`{field}`", f"`{_short(row['default'])}`", row["description"])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _short(default: str, most: int = 60) -> str:
    return default if len(default) <= most else f"{default[:most]}…"


def routes_table(app: Flask) -> str:
    """Every route of the application with the least role it needs and the first line of its view's documentation."""
    lines = ["| route | methods | needs | what |", "| --- | --- | --- | --- |"]
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        roles = {str(needed(rule.endpoint, method)) for method in methods}
        needs = "" if rule.endpoint in OPEN_ENDPOINTS else ", ".join(sorted(roles))
        first = (app.view_functions[rule.endpoint].__doc__ or "").strip().partition("\n")[0]
        what = "stylesheet and script" if rule.endpoint == "static" else first
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        lines.append(f"| `{path}` | {', '.join(methods)} | {needs} | {what} |")
    return "\n".join(lines)
