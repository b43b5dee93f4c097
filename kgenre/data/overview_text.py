"""An overview as it stands in a table, as text: without HTML, and "" for what tables write where there is none."""

from __future__ import annotations

import html
import re

# What tables write where a film has no overview, without a full stop.
NO_OVERVIEW = frozenset(
    {"n/a", "#n/a", "n.a", "nan", "none", "null", "-", "--", "?", "", "tbd", "tba", "unknown", "plot unknown"}
    | {"no overview", "no overview found", "no overview available", "add a plot"}
)
_SHOWN = 1500  # characters: 12 lines of a page
_MOST_ESCAPES = 4  # a text that was escaped, stored, and escaped again
_LONGEST = 30  # characters of what may be one of these
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]\w{1,30});", re.IGNORECASE)
# Names of tags that texts are marked up with: "3 < 5", "<3" and "<unknown>" stay.
_TAGS = (
    "a|abbr|b|big|blockquote|br|cite|code|div|em|font|h[1-6]|hr|i|img|li|ol|p|pre|q|s|small|span|strong|sub|sup|u|ul"
)
_ATTRIBUTE = r"""\s+[\w:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+)"""
_TAG = re.compile(rf"</?(?:{_TAGS})(?:{_ATTRIBUTE})*\s*/?>", re.IGNORECASE)


def overview_text(cell: str) -> str:
    """The text of an overview: entities are the characters that they stand for, tags a blank; "" where there is none.

    What was escaped several times is read as often, so that the text of a table's cell, given again, stays as it is.

    Example:
        >>> overview_text("A <b>man</b> &amp; a dog<br/>run."), overview_text("No overview found.")
        ('A  man  & a dog run.', '')
    """
    for _ in range(_MOST_ESCAPES):
        if len(cell) <= _LONGEST and cell.casefold().strip(" .") in NO_OVERVIEW:
            return ""
        if "&" not in cell and "<" not in cell:
            return cell
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]).replace("\N{NO-BREAK SPACE}", " "), cell)
        text = _TAG.sub(" ", text).strip()
        if text == cell.strip():
            return cell
        cell = text
    return cell


def beginning(overview: str) -> str:
    """As much of an overview as is shown of it: some may be books."""
    return overview if len(overview) <= _SHOWN else f"{overview[:_SHOWN].rstrip()} …"
