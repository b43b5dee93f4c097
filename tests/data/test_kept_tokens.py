"""Vocabularies and token ids, cached on the disk for later runs."""

import os

import numpy as np
import pytest

from kgenre.data import FilmData, OverviewVectorizer, kept_tokens
from kgenre.data.kept_tokens import adapted, encoded
from kgenre.data.packed_columns import PackedTexts

pytestmark = pytest.mark.one_backend("tensorflow")
# The vocabulary of the even rows does not depend on how words are standardized and split; the ids of the odd rows do.
FILMS = [("film", "ship"), ("film\u8239", "sea"), ("film", ""), ("FILM", "night")] * 300
TEXTS = PackedTexts([f"{film} {i % 7} of the {word}." for i, (film, word) in enumerate(FILMS)])
TRAINING = np.arange(0, 1200, 2)
SETTINGS = {"vocabulary_size": 12, "sequence_length": None, "standardize": "lower", "stem": "english", "min_df": 2}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokens"


def both(texts=TEXTS, training=TRAINING, **changed):
    vectorizer = adapted(texts, training, **SETTINGS | changed)
    return vectorizer.vocabulary, encoded(texts, vectorizer)


def expected(texts=TEXTS, training=TRAINING, **changed):
    vectorizer = OverviewVectorizer.adapt(texts.take(training), **SETTINGS | changed)
    return vectorizer.vocabulary, vectorizer.encode(texts)


def check(found, wanted):
    assert found[0] == wanted[0]
    np.testing.assert_array_equal(found[1], wanted[1])


def test_a_second_run_reads_what_the_first_wrote(folder, monkeypatch):
    wanted = expected()
    check(both(), wanted)
    assert sorted(file.suffix for file in folder.iterdir()) == [".json", ".npy"]
    monkeypatch.setattr(OverviewVectorizer, "adapt", lambda *_: pytest.fail("adapted again"))
    monkeypatch.setattr(OverviewVectorizer, "encode", lambda *_: pytest.fail("encoded again"))
    check(both(), wanted)
    ids = both()[1]
    assert isinstance(ids, np.memmap)
    assert ids.flags.writeable, "TensorFlow would copy it"


def test_a_read_only_cache_is_used(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError

    check(both(), wanted := expected())
    monkeypatch.setattr(kept_tokens.os, "utime", refuse)
    monkeypatch.setattr(OverviewVectorizer, "adapt", lambda *_: pytest.fail("adapted again"))
    monkeypatch.setattr(OverviewVectorizer, "encode", lambda *_: pytest.fail("encoded again"))
    check(both(), wanted)


@pytest.mark.parametrize(
    "change",
    [
        {"vocabulary_size": 5},
        {"sequence_length": 2},
        {"standardize": None},
        {"stem": None},
        {"word_split": "character"},
        {"min_df": 200},
        {"training": TRAINING[:10]},
        {"texts": TEXTS.take(np.arange(1200)[::-1])},
        {"texts": PackedTexts([*TEXTS[:-1], TEXTS[-1].replace("night", "light")])},
    ],
    ids=str,
)
def test_the_key_contains_all_settings_and_texts(change):
    check(both(), expected())
    check(both(**change), expected(**change))


@pytest.mark.parametrize("damage", ["cut", "empty", "other bytes", "another table", "a folder"])
def test_damaged_or_foreign_files_are_replaced(folder, damage, monkeypatch):
    both()
    for file in folder.iterdir():
        data = file.read_bytes()
        if damage == "a folder":
            file.unlink()
            file.mkdir()
        elif damage == "another table":
            file.write_text("[]")
            if file.suffix == ".npy":
                other = np.zeros((3, 4), np.int64)
                with file.open("wb") as out:
                    np.save(out, other)
                    out.write(kept_tokens._sum_of(other))
        else:
            half = len(data) // 2
            new = {"cut": data[:half], "empty": b"", "other bytes": data[:half] + b"\1" * 9 + data[half + 9 :]}
            file.write_bytes(new[damage])
    wanted = expected()
    check(both(), wanted)
    if damage != "a folder":  # which no file can replace: the texts are processed each time
        monkeypatch.setattr(OverviewVectorizer, "adapt", lambda *_: pytest.fail("adapted again"))
        monkeypatch.setattr(OverviewVectorizer, "encode", lambda *_: pytest.fail("encoded again"))
    check(both(), wanted)


def test_works_without_a_writable_cache(tmp_path, folder, monkeypatch):
    (tmp_path / "cache").write_text("a file, not a folder")
    check(both(), expected())
    (tmp_path / "cache").unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_tokens.os, "fsync", full)
    check(both(), expected())
    assert not list(folder.iterdir())


def test_the_files_used_last_are_kept(folder, monkeypatch):
    monkeypatch.setattr(kept_tokens, "_MAX_FILES", 4)
    written = {}
    for age, size in enumerate((5, 6, 5, 7)):
        before = set(folder.glob("*"))
        both(vocabulary_size=size)
        written.setdefault(size, set(folder.glob("*")) - before)
        for file in written[size]:  # as if used longer ago
            os.utime(file, (0, file.stat().st_mtime - 1000 + 100 * age))
    assert set(folder.iterdir()) == written[5] | written[7]
    assert len(written[5] | written[7]) == 4


def test_film_data_has_the_same_tokens_from_the_cache(tmp_path, folder, monkeypatch):
    rows = "".join(f"{i},{'Drama' if i % 3 else 'War'},{text}\n" for i, text in enumerate(TEXTS[:60]))
    (tmp_path / "films.csv").write_text(f"id,genres,overview\n{rows}")
    monkeypatch.setattr(kept_tokens, "_LEAST", 1)
    tokens = []
    for _ in range(2):
        films = FilmData(str(tmp_path / "films.csv"), posters=False)
        films.setup("fit")
        tokens.append(films.training_films()["overview"])
    assert len(list(folder.iterdir())) == 2
    np.testing.assert_array_equal(*tokens)
