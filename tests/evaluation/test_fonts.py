"""Characters that DejaVu Sans lacks come from other installed fonts; those that no font has are named."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from kgenre.evaluation import fonts
from kgenre.evaluation.film_pictures import co_occurrence_image
from kgenre.evaluation.fonts import characters_of, fonts_for, rendering_problems

pytestmark = pytest.mark.backend_free

FOLDER = Path(mpl.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Pretend that one font is installed, and one file that is not a font."""
    found = (Path(__file__), FOLDER / "STIXGeneral.ttf")
    monkeypatch.setattr(fonts, "_installed", lambda: found)
    fonts._fonts_for.cache_clear()
    yield found
    fonts._fonts_for.cache_clear()


def test_dejavu_alone_if_it_has_all_characters():
    assert [file.name for file in fonts_for("Comédie Драма").files] == ["DejaVuSans.ttf"]
    assert rendering_problems("Comédie Драма") == ""


def test_another_font_for_missing_characters(installed):
    letter = min(characters_of(installed[1]) - characters_of(FOLDER / "DejaVuSans.ttf"))
    assert [file.name for file in fonts_for(f"a{letter}").files] == ["DejaVuSans.ttf", "STIXGeneral.ttf"]
    assert fonts_for(f"a{letter}剧").missing == "剧"


def test_rendering_problems_are_described():
    assert rendering_problems("剧情") == "no installed font has the characters 剧 情"
    assert "from right to left" in rendering_problems("رعب")
    for text in ("नाटक", "နှင့်", "រឿង"):
        assert "characters that should join" in rendering_problems(text)


def test_cyrillic_genres_are_legible_in_tensorboard():
    true, predicted = np.eye(2) > 0, np.ones((2, 2), bool)
    # Drawn as boxes, names of the same lengths would give the same image.
    images = {co_occurrence_image(true, predicted, names) for names in (["Комедия", "Ужасы"], ["Детские", "Драма"])}
    assert len(images) == 2


def test_picture_of_hundreds_of_tags_shows_the_most_frequent():
    true = np.arange(300)[:, None] >= np.arange(300)  # the first is the most frequent
    picture = co_occurrence_image(true, true, [f"tag {i}" for i in range(300)])
    assert picture == co_occurrence_image(true[:, :60], true[:, :60], [f"tag {i}" for i in range(60)])
