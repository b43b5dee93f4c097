"""Detection of texts that a program corrupted: overviews cut off, letters lost, titles turned into dates."""

from __future__ import annotations

import re

import numpy as np

from kgenre.data.film_table import FilmTable

_LEAST, _SHARE = 10, 0.01  # films that share the greatest length; of uncut overviews hardly two do
_NEARLY_ALL = 0.8
_SHOWN = 30  # characters
_END = re.compile(r"[.!?…。！？।۔؟][\"'”’»)\]」』）]*$")
# Traces of ’ and é in UTF-8 that was read as Windows-1252 (â€™, Ã©), and of letters that a program could not decode.
_LOST = re.compile("â€.|Ã[\xa0-\xbf]|[\x80-\x9f\ufffd]")
_MONTH = (
    "jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec|"  # English
    "mrz|mär|mai|okt|dez|janv|févr|mars|avr|juin|juil|août|déc|ene|abr|ago|dic|gen|mag|giu|lug|set|ott"
)
# What spreadsheets turn 12/9, 1/9/2012, 5-25-77 and 8.5 into: 12-Sep, 2012-01-09 00:00:00, 5/25/1977, 08.Mai
_DATE = re.compile(
    rf"\d{{4}}-\d\d-\d\d 00:00:00|\d\d?/\d\d?/\d{{4}}|\d\d?[-.]({_MONTH})\.?|({_MONTH})[-.]\d\d", re.IGNORECASE
)


def corrupted_texts(table: FilmTable) -> list[str]:
    """Return a line each about overviews that were cut off, overviews that lost letters, and titles that became dates.

    Overviews count as cut off if many are exactly as long as the longest and nearly all of these end in mid-sentence.

    Example:
        >>> corrupted_texts(read_films("films"))
        []
    """
    return [line for line in (_cut_overviews(table), _lost_letters(table), _dated_titles(table)) if line]


def _cut_overviews(table: FilmTable) -> str:
    lengths = np.fromiter(map(len, table.overviews), np.int64, len(table))
    longest = lengths.max(initial=0)
    texts = {table.overviews[row]: row for row in np.flatnonzero(lengths == longest).tolist()}
    cut = [row for text, row in texts.items() if not _END.search(text)]
    if len(cut) < max(_LEAST, _SHARE * len(table), _NEARLY_ALL * len(texts)):
        return ""
    end = table.overviews[cut[0]][-_SHOWN:]
    return (
        f"{len(cut):,} overviews end in mid-sentence after exactly {longest} characters, such as {table.ids[cut[0]]}: "
        f"...{end!r}. A program has truncated them: get an earlier version of the table."
    )


def _lost_letters(table: FilmTable) -> str:
    found = [(row, lost) for row, text in enumerate(table.overviews) if (lost := _LOST.search(text))]
    if len(found) < _SHARE * len(table) or not found:
        return ""
    row, lost = found[0]
    word = next(word for word in table.overviews[row].split() if _LOST.search(word))
    return (
        f"{len(found):,} overviews have corrupted characters, such as {table.ids[row]}: {word[:_SHOWN]!r}. "
        "Get an earlier version of the table, and read and save it as UTF-8."
    )


def _dated_titles(table: FilmTable) -> str:
    dates = [row for row, title in enumerate(table.titles) if _DATE.fullmatch(title)]
    if not dates:
        return ""
    return (
        f"Titles that a spreadsheet seems to have turned into dates: {len(dates):,}, such as {table.ids[dates[0]]}: "
        f"{table.titles[dates[0]]!r}. Get an earlier version of the table, and import its title column as text."
    )
