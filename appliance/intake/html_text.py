"""The words of an HTML page, for mails that have no plain text. Pure, and linear in the length whatever the page holds:
the library's own parser takes the square on pages made for that.
"""

from __future__ import annotations

import html
import re

SILENT = frozenset({"script", "style", "title", "template", "noscript", "svg", "math", "object"})
"""What is in these is not for readers."""
BREAKS = frozenset({
    "address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2", "h3", "h4", "h5",
    "h6", "header", "hr", "li", "ol", "p", "pre", "section", "table", "tr", "ul",
})  # fmt: skip
LONGEST = 1024 * 1024
"""Characters looked at."""

TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,20})")
ENDS = {name: re.compile(rf"</{name}", re.IGNORECASE) for name in SILENT}
TOO_LONG_REFERENCE = re.compile(r"&#[xX]?[0-9a-fA-F]{9,}")


def words_of(page: str) -> str:
    """The words a reader would see, a line for each block; no markup, script or style.

    >>> words_of("<p>Totals<br>are&nbsp;off</p><script>x()</script>")
    'Totals\\nare off'
    """
    text = html.unescape(TOO_LONG_REFERENCE.sub("", _without_tags(page[:LONGEST])))
    kept: list[str] = []
    for line in (" ".join(one.split()) for one in text.split("\n")):
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).strip()


def _without_tags(page: str) -> str:
    words: list[str] = []
    place = 0
    while (opened := page.find("<", place)) >= 0:
        words.append(page[place:opened].replace("\n", " "))  # line ends in HTML are blanks
        place, instead = _behind(page, opened)
        words.append(instead)
        if place < 0:  # it never ends, so nothing behind it is for readers
            return "".join(words)
    return "".join([*words, page[place:].replace("\n", " ")])


def _behind(page: str, opened: int) -> tuple[int, str]:
    """Where what begins with this `<` ends, -1 for never, and what takes its place."""
    if page.startswith("<!--", opened):
        closed = page.find("-->", opened + 2)
        return (closed + 3 if closed >= 0 else -1), ""
    tag = TAG.match(page, opened)
    if tag is None and not page.startswith(("<!", "<?"), opened):
        return opened + 1, "<"
    name = tag[2].lower() if tag else ""
    if tag and not tag[1] and name in SILENT:
        end = ENDS[name].search(page, opened)
        if end is None:
            return -1, ""
        opened = end.start()
    closed = page.find(">", opened)
    return (closed + 1 if closed >= 0 else -1), _instead(name, tag is not None and bool(tag[1]))


def _instead(name: str, closing: bool) -> str:
    if name == "li" and not closing:
        return "\n- "
    return "\n" if name in BREAKS else " " if name in ("td", "th") else ""
