import numpy as np
import pytest

from kgenre.data import FilmDataError, OverviewVectorizer
from kgenre.data.overviews import normalised_overview

TRAINING = ["A ship in space.", "The ship, the crew!", "a"]


@pytest.fixture
def vectorizer():
    return OverviewVectorizer.adapt(TRAINING)


def test_encode_pads_on_the_right_and_marks_unknown_words(vectorizer):
    assert vectorizer.vocabulary[:2] == ["", "[UNK]"]
    assert set(vectorizer.vocabulary[2:5]) == {"a", "ship", "the"}
    tokens = vectorizer.encode(["The SHIP?", "", "unheard ship"])
    the, ship = vectorizer.vocabulary.index("the"), vectorizer.vocabulary.index("ship")
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [[the, ship, 0, 0], [0, 0, 0, 0], [1, ship, 0, 0]]


def test_sequence_length_is_the_longest_training_overview_at_most_200():
    assert OverviewVectorizer.adapt(TRAINING).sequence_length == 4
    assert OverviewVectorizer.adapt(["word " * 500]).sequence_length == 200
    cut = OverviewVectorizer.adapt(TRAINING, sequence_length=2)
    assert cut.encode(TRAINING).shape == (3, 2)
    assert (cut.encode(TRAINING) == OverviewVectorizer.adapt(TRAINING).encode(TRAINING)[:, :2]).all()


def test_vocabulary_size_keeps_the_most_frequent_words():
    vectorizer = OverviewVectorizer.adapt(["b b b", "c c", "d"], vocabulary_size=4)
    assert vectorizer.vocabulary == ["", "[UNK]", "b", "c"]
    assert vectorizer.encode(["d c b"]).tolist() == [[1, 3, 2]]


def test_made_again_from_its_words_it_encodes_the_same(vectorizer):
    again = OverviewVectorizer(vectorizer.vocabulary, vectorizer.sequence_length)
    texts = [*TRAINING, "the unknown ship", "", "..."]
    np.testing.assert_array_equal(again.encode(texts), vectorizer.encode(texts))


@pytest.mark.parametrize("text", ["", "  \n", "...", "?!", "-- '' --"])
def test_texts_without_words_are_all_padding(vectorizer, text):
    assert normalised_overview(text) == ""
    assert not vectorizer.encode([text]).any()


def test_every_text_that_has_words_has_tokens(vectorizer):
    texts = ["é", "東京", "a.", "«quoted»", "don't", "x" * 10_000, "\u00a0a"]
    assert all(map(normalised_overview, texts))
    assert (vectorizer.encode(texts)[:, 0] > 0).all()


def test_normalised_overview():
    assert normalised_overview(" The  SHIP,\nthe crew! ") == "the ship the crew"


def test_no_words_in_training_is_an_error():
    with pytest.raises(FilmDataError, match="None of the 2 training overviews has a word"):
        OverviewVectorizer.adapt(["", "..."])
