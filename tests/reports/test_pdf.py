"""What the PDF keeps together on a page."""

import pytest
from reportlab.platypus import Paragraph

from kgenre.reports import blocks, pdf


@pytest.fixture(autouse=True)
def _fonts():
    pdf._register_fonts("")


def test_heading_and_paragraph_stay_with_what_follows():
    content = [
        blocks.Heading("Title", 1),
        blocks.Paragraph("Summary."),
        blocks.Heading("Films"),
        blocks.Paragraph("A caption."),
        blocks.Bullets(("first", "second")),
        blocks.Heading("Last"),
        blocks.Paragraph("The end."),
    ]
    groups = [[]]
    for part in pdf._story(content, 500):
        groups[-1] += _texts([part])
        groups += [] if part.getKeepWithNext() else [[]]
    assert groups == [["Title", "Summary."], ["Films", "A caption.", "first"], ["second"], ["Last", "The end."], []]


def test_films_do_not_start_a_new_page():
    film = blocks.Film("tt1", "Alien", "worst", ("Horror",), "A ship.", None, ())
    content = [blocks.Paragraph("Above."), blocks.Heading("Films"), blocks.Films((film, film))]
    assert pdf._built(content, 1.0)[1] == 1, "pages"


@pytest.mark.parametrize(
    ("pages", "scale"), [((3,), 1.0), ((4, 3), 0.96), ((5, 4, 4, 4), 0.96), ((4, 4, 4, 4), 1.0), ((5, 5, 5, 4), 0.88)]
)
def test_letters_are_made_smaller_only_if_that_saves_a_page(monkeypatch, pages, scale):
    counts = iter(pages)
    monkeypatch.setattr(pdf, "_built", lambda content, scale: (f"{scale}", next(counts)))
    assert pdf.to_pdf([blocks.Heading("Title", 1)]) == f"{scale}"


def test_a_smaller_scale_applies_to_the_whole_page(monkeypatch):
    monkeypatch.setattr("reportlab.rl_config.pageCompression", 0)
    content = pdf._built([blocks.Heading("Title", 1)], 0.88)[0]
    assert b".88 0 0 .88 0 0 cm" in content
    assert b"/MediaBox [ 0 0 595.2756 841.8898 ]" in content, "A4"


def test_columns_are_as_wide_as_their_longest_line():
    widths = pdf._table(blocks.Table(("", "a", "b"), (("run", "0.123\n0.1234", "1"),)), 500)._colWidths
    assert widths[1] == pytest.approx((6 + 2) / (1 + 2) * widths[2])
    assert sum(widths) == pytest.approx(500)


def test_the_language_is_given_to_screen_readers():
    assert b"/Lang (en)" in pdf.to_pdf([blocks.Heading("Title", 1)])


def _texts(parts):
    return [part.getPlainText() for part in parts if isinstance(part, Paragraph)]
