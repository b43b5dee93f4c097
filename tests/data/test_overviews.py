import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgenre.data import FilmDataError, OverviewVectorizer
from kgenre.data.formats import read_films
from kgenre.data.overviews import has_words, normalised_overview
from kgenre.data.text_words import STANDARDIZE, TextWords

pytestmark = pytest.mark.one_backend("tensorflow")  # Keras's TextVectorization uses it under every backend

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


def test_sequence_length_is_the_longest_overview_up_to_200():
    assert OverviewVectorizer.adapt(TRAINING).sequence_length == 4
    assert OverviewVectorizer.adapt(["word " * 500]).sequence_length == 200
    cut = OverviewVectorizer.adapt(TRAINING, sequence_length=2)
    assert cut.encode(TRAINING).shape == (3, 2)
    assert (cut.encode(TRAINING) == OverviewVectorizer.adapt(TRAINING).encode(TRAINING)[:, :2]).all()


def test_vocabulary_size_keeps_the_most_frequent_words():
    vectorizer = OverviewVectorizer.adapt(["b b b", "c c", "d"], vocabulary_size=4)
    assert vectorizer.vocabulary == ["", "[UNK]", "b", "c"]
    assert vectorizer.encode(["d c b"]).tolist() == [[1, 3, 2]]


def test_a_vectorizer_can_be_rebuilt_from_its_vocabulary(vectorizer):
    again = OverviewVectorizer(vectorizer.vocabulary, vectorizer.sequence_length)
    texts = [*TRAINING, "the unknown ship", "", "..."]
    np.testing.assert_array_equal(again.encode(texts), vectorizer.encode(texts))


@pytest.mark.parametrize("text", ["", "  \n", "...", "?!", "-- '' --"])
def test_texts_without_words_are_all_padding(vectorizer, text):
    assert normalised_overview(text) == ""
    assert not vectorizer.encode([text]).any()


def test_texts_with_words_have_tokens(vectorizer):
    texts = ["é", "東京", "a.", "«quoted»", "don't", "x" * 10_000, "\u00a0a"]
    assert all(map(normalised_overview, texts))
    assert (vectorizer.encode(texts)[:, 0] > 0).all()


def test_normalised_overview():
    assert normalised_overview(" The  SHIP,\nthe crew! ") == "the ship the crew"


@given(st.text(st.sampled_from("a .,!'-\n\t\x1c\u00a0\u2003É\u00ab"), max_size=6))
def test_has_words_agrees_with_normalised_overview(text):
    assert has_words(text) == bool(normalised_overview(text))


def test_error_no_words_in_training():
    with pytest.raises(FilmDataError, match="None of the 2 training overviews has any words"):
        OverviewVectorizer.adapt(["", "..."])


def keras_ids(vectorizer, texts, standardize):
    from keras.layers import TextVectorization

    layer = TextVectorization(standardize=standardize, split="whitespace", output_mode="int")
    layer.set_vocabulary(vectorizer.vocabulary)
    found = np.asarray(layer(texts))[:, : vectorizer.sequence_length]
    ids = np.zeros((len(texts), vectorizer.sequence_length), np.int32)
    ids[:, : found.shape[1]] = found
    return ids


@pytest.mark.parametrize("standardize", [one for one in STANDARDIZE if one != "unicode"])
def test_ids_equal_those_of_keras_text_vectorization(standardize):
    texts = [
        "É été İ ß",
        "a\tb\x0bc\x0cd\r\ne",
        "\u00a0a b\u2003c",
        "«quoted» don't",
        "[UNK] a",
        "東京, 東京",
        "x\x1cy",
        "",
    ]
    vectorizer = OverviewVectorizer.adapt([*texts, *TRAINING], standardize=standardize)
    np.testing.assert_array_equal(vectorizer.encode(texts), keras_ids(vectorizer, texts, standardize))

    # Several texts at once: a call of the layer takes as long for one.
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40), min_size=4))
    def any_texts(texts):
        several = [text for one in texts for text in (one, one.upper(), f"the {one} ship")]
        np.testing.assert_array_equal(vectorizer.encode(several), keras_ids(vectorizer, several, standardize))

    any_texts()


def test_ids_equal_those_of_keras_on_real_overviews(real_data):
    overviews = [text for text in read_films(real_data / "films").overviews if text]
    vectorizer = OverviewVectorizer.adapt(overviews[::2])
    layer = keras_ids(vectorizer, overviews, "lower_and_strip_punctuation")
    np.testing.assert_array_equal(vectorizer.encode(overviews), layer)


@pytest.mark.parametrize("size", [5, 9, 1000])
def test_the_vocabulary_equals_that_of_keras(sample, size):
    from keras.layers import TextVectorization

    texts = ["b a b", "É é z [UNK]", "", "東京 東京", *read_films(sample).overviews]
    layer = TextVectorization(max_tokens=size, standardize="lower", split="whitespace")
    layer.adapt(texts)
    assert OverviewVectorizer.adapt(texts, size, standardize="lower").vocabulary == layer.get_vocabulary()


def test_words_with_the_same_stem_share_an_id():
    vectorizer = OverviewVectorizer.adapt(["ships sailed", "the ship sails"], stem="english")
    assert set(vectorizer.vocabulary) == {"", "[UNK]", "ship", "sail", "the"}
    ids = vectorizer.encode(["Shipping, SAILS!", "ship sail"])
    np.testing.assert_array_equal(ids[0], ids[1])
    assert ids.min(axis=1)[0] == 0
    assert (ids[:, :2] > 1).all()
    assert OverviewVectorizer.adapt(["navires"], stem="french").vocabulary[2:] == ["navir"]


def test_unicode_ignores_case_punctuation_and_composition():
    said = ["«Дом» — у озера", "ДОМ!", "l’été", "cafe\u0301", "CAFÉ", "युद्ध।", "🔪 бой"]
    words = TextWords("unicode")
    found = [[word.decode() for word in words(text)] for text in said]
    assert found == [["дом", "у", "озера"], ["дом"], ["l", "été"], ["café"], ["café"], ["युद्ध"], ["🔪", "бой"]]
    assert OverviewVectorizer.adapt(said, standardize="unicode").encode(["Дом"])[0, 0] > 1


def test_characters_are_words_in_scripts_without_spaces():
    vectorizer = OverviewVectorizer.adapt(["NASA的飞船，2049年"], word_split="character", standardize="unicode")
    assert set(vectorizer.vocabulary[2:]) == {"nasa", "的", "飞", "船", "2049", "年"}
    assert vectorizer.encode(["船飞"])[0, :2].tolist() == [vectorizer.vocabulary.index(one) for one in "船飞"]
    with pytest.raises(FilmDataError, match=r"--data\.word_split character"):
        OverviewVectorizer.adapt(["宇宙船", "宇宙"], min_df=2)


@pytest.mark.parametrize("standardize", STANDARDIZE)
@pytest.mark.parametrize("word_split", ["whitespace", "character"])
@given(st.text(st.sampled_from("ab .,'-\n\x1c\u00a0É«。宇é的ก"), max_size=12))
def test_pieces_have_the_words_of_the_text(standardize, word_split, text):
    words = TextWords(standardize, word_split)
    assert [word for piece in words.pieces(text) for word in words(piece)] == words(text)


@pytest.mark.parametrize("argument", ["standardize", "word_split"])
def test_error_an_unknown_way_to_split(argument):
    with pytest.raises(FilmDataError, match=rf"^{argument}='words' must be one of "):
        OverviewVectorizer.adapt(["a b"], **{argument: "words"})


def test_rare_words_are_unknown():
    vectorizer = OverviewVectorizer.adapt(["a a b", "b c"], min_df=2)
    assert vectorizer.vocabulary == ["", "[UNK]", "b"], "a stands twice in one overview, b in two"
    with pytest.raises(FilmDataError, match=r"No word occurs in at least 3 \(min_df\) of the 2 training overviews"):
        OverviewVectorizer.adapt(["a", "a"], min_df=3)
