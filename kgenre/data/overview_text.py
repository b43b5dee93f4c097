"""Cleaning of overviews: without HTML, and "" for the placeholders that tables have for missing overviews."""

from __future__ import annotations

import html
import re

# Placeholders for a missing overview, in lower case and without a full stop.
NO_OVERVIEW = frozenset(
    {"n/a", "#n/a", "n.a", "nan", "none", "null", "-", "--", "?", "", "tbd", "tba", "unknown", "plot unknown"}
    | {"no overview", "no overview found", "no overview available", "add a plot"}
)
_SHOWN = 1500  # characters: 12 lines of a page
_MOST_ESCAPES = 4  # levels of escaping: some texts were escaped again each time they were stored
_LONGEST = 30  # characters; a longer text is no placeholder
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]\w{1,30});", re.IGNORECASE)
# Only these tags are removed: "3 < 5", "<3" and "<unknown>" stay.
_TAGS = (
    "a|abbr|b|big|blockquote|br|cite|code|div|em|font|h[1-6]|hr|i|img|li|ol|p|pre|q|s|small|span|strong|sub|sup|u|ul"
)
_ATTRIBUTE = r"""\s+[\w:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+)"""
_TAG = re.compile(rf"</?(?:{_TAGS})(?:{_ATTRIBUTE})*\s*/?>", re.IGNORECASE)


def overview_text(cell: str) -> str:
    """Return the text of an overview, with HTML entities decoded and tags replaced by blanks; "" if it is missing.

    Text that was escaped several times is decoded as often, so that cleaning a cleaned text does not change it.

    Example:
        >>> overview_text("A <b>man</b> &amp; a dog<br/>run."), overview_text("No overview found.")
        ('A  man  & a dog run.', '')
    """
    for _ in range(_MOST_ESCAPES):
        if len(cell) <= _LONGEST and cell.casefold().strip(" .") in NO_OVERVIEW:
            return ""
        if "&" not in cell and "<" not in cell:
            break
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]).replace("\N{NO-BREAK SPACE}", " "), cell)
        text = _TAG.sub(" ", text).strip()
        if text == cell.strip():
            break
        cell = text
    return cell


def shortened(overview: str) -> str:
    """Return as much of an overview as is shown: some are as long as a book."""
    return overview if len(overview) <= _SHOWN else f"{overview[:_SHOWN].rstrip()} …"
