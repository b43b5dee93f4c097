"""Texts that a program has corrupted are distinguished from intact ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from kgenre.data import FilmDataError, read_films
from kgenre.data.corrupted_texts import corrupted_texts

pytestmark = pytest.mark.backend_free

# Overviews cut after 233 characters; 5-25-77 became 5/25/1977; 11-11-11 became 11/11/2011.
CORRUPTED = {"movies-250.json", "IMDB-Movie-Data.csv", "movies_imdb_metadata_head3000.csv"}


@pytest.fixture(scope="module")
def table(sample):
    return read_films(sample)


@pytest.mark.parametrize("most", [60, 128])
def test_truncated_overviews_are_found(table, most):
    [line] = corrupted_texts(replace(table, overviews=[text[:most].strip() for text in table.overviews]))
    assert f"overviews end in mid-sentence after exactly {most} characters, such as sample0" in line


def test_several_longest_overviews_may_be_complete(table):
    longest = max(table.overviews, key=len)
    assert not corrupted_texts(replace(table, overviews=[*table.overviews[:110], *[longest] * 10]))
    no_stops = [text.replace(".", "") for text in table.overviews]
    assert not corrupted_texts(replace(table, overviews=no_stops))


@pytest.mark.parametrize("lost", ["childâ€™s", "cafÃ©", "caf\ufffd", "child\x92s"])
def test_corrupted_characters_are_found(table, lost):
    [line] = corrupted_texts(replace(table, overviews=[*table.overviews[:-2], f"A {lost} play.", f"The {lost} end."]))
    assert line.startswith(f"2 overviews have corrupted characters, such as {table.ids[-2]}: {lost!r}. ")
    assert not corrupted_texts(replace(table, overviews=[*table.overviews[:-2], "A café’s “NÃO”…", "Âge d’or à côté."]))


@pytest.mark.parametrize(
    "title", ["2012-01-09 00:00:00", "12-Sep", "9-nov", "08.Mai", "Sep-12", "5/25/1977", "12-sept.", "3-févr"]
)
def test_titles_that_became_dates_are_found(table, title):
    [line] = corrupted_texts(replace(table, titles=[*table.titles[:-1], title]))
    assert f"turned into dates: 1, such as {table.ids[-1]}: {title!r}" in line


@pytest.mark.parametrize(
    "title", ["2012", "9/11", "11-11-11", "1917", "May", "Mars-1", "21-87", "8.5", "03:34", "7-Set-Up"]
)
def test_titles_with_numbers_are_not_corrupted(table, title):
    assert not corrupted_texts(replace(table, titles=[*table.titles[:-1], title]))


def test_real_files(real_data):
    files = [*(real_data / "films").glob("*.csv"), *Path(real_data, "raw_formats").glob("*/*.csv")]
    files += Path(real_data, "raw_formats").glob("*/*.json")
    corrupted = set()
    for file in files:
        try:
            found = read_films(file)
        except FilmDataError:  # the reasons are tested in tests/data/formats
            continue
        corrupted |= {file.name} if corrupted_texts(found) else set()
    assert corrupted == CORRUPTED
