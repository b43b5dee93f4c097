"""What the PDF keeps together on a page."""

from reportlab.platypus import Paragraph

from kgenre.reports import blocks, pdf


def test_heading_and_paragraph_stay_with_what_follows():
    pdf._register_fonts("")
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


def _texts(parts):
    return [part.getPlainText() for part in parts if isinstance(part, Paragraph)]
