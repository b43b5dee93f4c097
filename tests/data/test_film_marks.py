import numpy as np
import pytest

from kgenre.data.film_marks import film_marks, may_be_the_same

pytestmark = pytest.mark.backend_free


def test_marks_ignore_case_blanks_and_punctuation():
    marks = film_marks(
        ["Alien", " ALIEN", "Aliens", "", ""], ["", "A ship, lost", "a ship lost", "A ship lost!", "..."]
    )
    titles, overviews = [mark[:4] for mark in marks], [mark[4:] for mark in marks]
    assert titles[0] == titles[1] != titles[2] != titles[3] == titles[4] == "...."
    assert overviews[1] == overviews[2] == overviews[3] != overviews[0] == overviews[4] == "...."


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("aaaabbbb", "aaaacccc", True),
        ("aaaabbbb", "ccccbbbb", True),
        ("aaaabbbb", "ccccdddd", False),
        ("....bbbb", "....cccc", False),
        ("aaaa....", "bbbb....", False),
        ("....bbbb", "aaaa....", True),
        ("........", "aaaabbbb", True),
    ],
)
def test_films_may_be_the_same_unless_all_common_marks_differ(one, other, same):
    assert may_be_the_same(np.array([one, one]), np.array([other, one])).tolist() == [same, True]
