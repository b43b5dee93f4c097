import csv

import pytest

from kgenre.data import read_films
from kgenre.data.overview_text import overview_text, shortened

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("A <b>man</b> runs", "A  man  runs"),
        ("<p>He says &quot;away&quot; &amp; goes.</p>", 'He says "away" & goes.'),
        ("One.<br/>Two.<BR>Three&nbsp;four.", "One. Two. Three four."),
        ('See <a href="http://x.org/?a=1" rel=nofollow>this</a>.', "See  this ."),
        ("&lt;i&gt;Alien&lt;/i&gt; &#39;79", "Alien  '79"),
        ("Tom &amp;amp; Jerry &amp;lt;br&amp;gt;run", "Tom & Jerry  run"),
        ("<p>N/A</p>", ""),
    ],
)
def test_html_is_read_as_text(cell, text):
    assert overview_text(cell) == overview_text(text) == text  # cleaning twice changes nothing


@pytest.mark.parametrize("cell", ["3 < 5 > 2", "I <3 you", "AT&T and R&B; a <b and c> d", "A <unknown> man", " 1 < 2"])
def test_text_that_is_no_html_stays(cell):
    assert overview_text(cell) == cell


@pytest.mark.parametrize(
    "cell",
    [
        "null",
        "None",
        "NaN",
        "-",
        "N/A",
        "No overview found.",
        "No overview",
        "Add a Plot",
        "#N/A",
        "n.a.",
        "--",
        "TBD",
        "Plot unknown.",
    ],
)
def test_placeholders_for_no_overview_become_empty(cell):
    assert overview_text(cell) == ""
    assert overview_text(f"{cell} of them came back") != ""


@pytest.mark.parametrize("layout", ["films", "course", "omdb"])
def test_every_layout_cleans_overviews_and_counts_html(tmp_path, layout):
    header = {
        "films": ["id", "overview", "genres"],
        "course": ["Id", "Overview", "Genre"],
        "omdb": ["imdbID", "Plot", "Genre", "Title"],
    }[layout]
    genre = "['Drama']" if layout == "course" else "Drama"
    overviews = ["A <i>ship</i>.", "null", "No overview found.", "A &amp; B", "A house."]
    rows = [[str(i), text, genre, "x"][: len(header)] for i, text in enumerate(overviews)]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    table = read_films(tmp_path / "a.csv", layout)
    assert table.overviews == ("A  ship .", "", "", "A & B", "A house.")
    assert table.notes == ("2 overviews contained HTML, which was converted to text.",)


def test_long_overviews_are_shortened():
    assert shortened("A ship.") == "A ship."
    assert shortened("word " * 20_000) == f"{('word ' * 300).rstrip()} …"
