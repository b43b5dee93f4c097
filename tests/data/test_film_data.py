import csv
import json
import logging
import re
import shutil
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from kgenre.data import FilmData, FilmDataError, LeftOut, make_sample_films, read_films, read_poster
from kgenre.data.films_in_use import summarize_left_out
from kgenre.data.overviews import normalised_overview
from kgenre.models import GenreClassifier
from kgenre.training import Trainer, TrainerError

pytestmark = pytest.mark.one_backend("jax")  # under TensorFlow, all tests that train on films use it


def collect(source, epoch=0):
    return [{name: tensor.numpy() for name, tensor in batch.items()} for batch in source.epoch_batches(epoch)]


def films_of(source):
    return np.concatenate([batch["index"][batch["weight"] > 0] for batch in collect(source)])


@pytest.fixture(scope="module")
def films(sample):
    """Set up for training; tests must not change it."""
    films = FilmData(str(sample), image_size=(24, 16), batch_size=16)
    films.setup("fit")
    return films


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_sample_films(tmp_path_factory.mktemp("whole") / "films", n=60)


@pytest.fixture
def broken(whole, tmp_path):
    """60 films of which 3 have a bad poster and 2 no overview."""
    folder = shutil.copytree(whole, tmp_path / "broken")
    (folder / "posters" / "sample00003.jpg").write_bytes(b"")
    (folder / "posters" / "sample00004.jpg").unlink()
    (folder / "posters" / "sample00005.jpg").write_text("<html>")
    with (folder / "films.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[8][3], rows[9][3] = "", "..."
    with (folder / "films.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def test_batches_are_hardly_larger_than_a_small_part(sample):
    films = FilmData(str(sample), overviews=False, image_size=(8, 8), batch_size=512)
    films.setup("fit")
    for source in (
        films.train_dataloader(),
        films.val_dataloader(),
        films.test_dataloader(),
        films.predict_dataloader(),
    ):
        (batch,) = source
        assert len(source.rows) == batch["weight"].numpy().sum() <= len(batch["poster"]) < len(source.rows) + 16


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("batch_size", 0),
        ("batch_size", -1),
        ("image_size", (0, 64)),
        ("image_size", (64,)),
        ("vocabulary_size", 1),
        ("sequence_length", 0),
        ("val_fraction", 1.5),
        ("test_fraction", -0.5),
        ("split_seed", -1),
        ("seed", -1),
        ("max_bad_fraction", 20),
        ("resize", "stretch"),
        ("poster_table", "ram"),
        ("stem", "klingon"),
        ("min_df", 0),
        ("incomplete", "drop"),
        ("min_films", -1),
        ("length_buckets", 0),
        ("standardize", "upper"),
    ],
)
def test_error_argument(argument, value):
    with pytest.raises(FilmDataError) as error:
        FilmData(**{argument: value})
    message = str(error.value)
    assert f"{argument}={value}" in message.replace("'", "")
    assert "Give" in message or "must be" in message
    assert len(message.splitlines()) == 1


def test_error_nothing_to_learn_from():
    with pytest.raises(FilmDataError, match="Set one to True"):
        FilmData(posters=False, overviews=False)


def test_hyperparameters_are_kept():
    assert vars(FilmData("x", batch_size=7, image_size=[32, 24]).hparams)["batch_size"] == 7


def test_arguments_may_be_numpys(sample):
    given = {
        "vocabulary_size": 50,
        "sequence_length": 9,
        "batch_size": 16,
        "split_seed": 3,
        "min_df": 2,
        "min_films": 5,
    }
    given |= {
        "val_fraction": 0.25,
        "test_fraction": 0.125,
        "posters": False,
        "given_split": True,
        "max_bad_fraction": 0.5,
    }
    plain, of_numpy = (
        FilmData(str(sample), **given),
        FilmData(str(sample), **{n: np.array(v)[()] for n, v in given.items()}),
    )
    for films in (plain, of_numpy):
        films.setup("fit")
    assert json.dumps(of_numpy.state_dict()) == json.dumps(plain.state_dict())
    assert {type(getattr(of_numpy, name)) for name in given} == {int, float, bool}
    assert "overviews of up to 9 words, vocabulary 50;" in plain.description


def test_each_part_has_its_films(films):
    split = films.split
    assert sorted(films_of(films.train_dataloader())) == split.train.tolist()
    assert films_of(films.val_dataloader()).tolist() == split.validation.tolist()
    assert films_of(films.test_dataloader()).tolist() == split.test.tolist()
    assert films_of(films.predict_dataloader()).tolist() == list(range(120))


def test_training_films_are_shuffled_again_each_epoch(films):
    source = films.train_dataloader()
    first, second = (np.concatenate([b["index"] for b in collect(source, epoch)]) for epoch in (0, 1))
    assert first.tolist() != second.tolist()


def test_batches_equal_the_encoded_films_of_their_index(films):
    batch = collect(films.test_dataloader())[0]
    assert batch["poster"].shape == (16, 24, 16, 3)
    paths = [films.table.poster_paths[i] for i in batch["index"]]
    encoded = films.encode(paths, [films.table.overviews[i] for i in batch["index"]])
    assert encoded.keys() == batch.keys()
    np.testing.assert_array_equal(encoded["poster"], batch["poster"])
    np.testing.assert_array_equal(encoded["overview"], batch["overview"])
    np.testing.assert_array_equal(films.table.genres[batch["index"]], batch["genres"])
    for name in batch:
        assert (encoded[name].dtype, encoded[name].shape) == (batch[name].dtype, batch[name].shape)


def test_the_vocabulary_comes_from_training_films_only(films):
    def words_of(rows):
        return {word for i in rows for word in normalised_overview(films.table.overviews[i]).split()}

    assert set(films.vocabulary[2:]) == words_of(films.split.train)
    assert words_of(films.split.test) - set(films.vocabulary)


def test_a_second_setup_reads_nothing(films, monkeypatch):
    monkeypatch.setattr("kgenre.data.film_data.read_films", lambda *_: pytest.fail("read twice"))
    table = films.table
    for stage in ("fit", "validate", "test", "predict"):
        films.setup(stage)
    assert films.table is table


def test_augmentation_without_posters_is_warned_about(sample, caplog):
    films = FilmData(str(sample), posters=False, augment=True)
    films.setup("fit")
    assert [m for m in caplog.messages if "augment" in m] == [
        "augment has no effect: it changes posters, and none are read (posters=False)."
    ]


def test_only_training_posters_are_augmented(sample):
    plain, augmented = (
        FilmData(str(sample), overviews=False, image_size=(24, 16), augment=augment) for augment in (False, True)
    )
    for films in (plain, augmented):
        films.setup("fit")
    same = {
        name: all(
            (a["poster"] == b["poster"]).all()
            for a, b in zip(collect(getattr(plain, name)()), collect(getattr(augmented, name)()), strict=True)
        )
        for name in ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")
    }
    assert same.pop("train_dataloader") is False
    assert all(same.values())


def test_sample_films_are_used_without_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path))
    sizes = []
    fewer = partial(make_sample_films, n=60)  # test_sample_films.py tests the whole set
    monkeypatch.setattr("kgenre.data.sample.make_sample_films", lambda out, n, seed: sizes.append(n) or fewer(out))
    films = FilmData(overviews=False, image_size=(8, 8))
    films.prepare_data()
    assert len(list(tmp_path.iterdir())) == 1
    films.setup("fit")
    assert (sizes, len(films.table), len(films.genre_names)) == ([600], 60, 10)


def test_unusable_films_are_left_out_and_logged(broken, tmp_path, caplog):
    films = FilmData(str(broken), image_size=(8, 8), max_bad_fraction=0.1)
    with caplog.at_level(logging.INFO, "kgenre"):
        films.setup("fit")
    assert len(films.table) == 55
    assert [(e.id, e.reason) for e in films.bad_posters] == [
        ("sample00003", "the file is empty"),
        ("sample00004", "no such file"),
        ("sample00005", "not a picture in a supported format"),
    ]
    assert "Left out (5): 2: no overview (sample00007, ...); 1: the file is empty (s" in caplog.text
    assert caplog.text.lower().count("left out") == 1
    assert not {e.id for e in films.left_out} & set(films.table.ids)
    assert sorted(np.concatenate([films.split.train, films.split.validation, films.split.test])) == list(range(55))
    predicted = collect(films.predict_dataloader())[0]
    np.testing.assert_array_equal(
        films.encode(films.table.poster_paths[5:6], ["x"])["poster"][0], predicted["poster"][5]
    )

    films.save_artifacts(tmp_path / "run")
    with (tmp_path / "run" / "left_out.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "reason"]
    assert len(rows) == 6


def test_films_that_can_be_used_when_a_run_is_resumed_are_not_listed_as_left_out(broken, sample, tmp_path):
    films = FilmData(str(broken), image_size=(8, 8), max_bad_fraction=0.1)
    films.setup("fit")
    films.save_artifacts(tmp_path)
    assert (tmp_path / "left_out.csv").exists()
    mended = FilmData(str(sample), image_size=(8, 8))
    mended.load_state_dict(films.state_dict())
    mended.setup("fit")
    assert not mended.left_out
    mended.save_artifacts(tmp_path)
    assert not (tmp_path / "left_out.csv").exists()


def test_rows_left_out_of_a_part_are_counted_by_reason():
    rows = [LeftOut(f"a{line}", f"test.csv: line {line}: an earlier row is the same") for line in range(4)]
    assert summarize_left_out(rows) == "test.csv: an earlier row is the same (a0, ...)"
    rows = [LeftOut(f"{kind}{i}", kind * 3) for i in range(2) for kind in "abcdefg"]
    assert summarize_left_out(rows).endswith("2: eee (e0, ...); 4 for other reasons")
    rows = [LeftOut("a", "too small")] * 1500 + [LeftOut("b", "no overview")] * 1000
    assert summarize_left_out(rows) == "1,500: too small (a, ...); 1,000: no overview (b, ...)"


def test_films_that_were_predicted_are_checked_before_training(broken):
    films, fresh = (FilmData(str(broken), image_size=(8, 8), max_bad_fraction=0.1) for _ in range(2))
    films.setup("predict")
    films.setup("fit")
    fresh.setup("fit")
    assert films.state_dict() == fresh.state_dict()
    posters = FilmData(str(broken), image_size=(8, 8), max_bad_fraction=0.1, overviews=False)
    posters.setup("predict")
    assert {posters.table.ids[row] for row in posters.split.test} >= {fresh.table.ids[row] for row in fresh.split.test}
    films = FilmData(str(broken), image_size=(8, 8))
    films.setup("predict")
    assert len(films.table) == 55
    for stage in ("fit", "test"):
        with pytest.raises(FilmDataError, match="3 of 60 posters cannot be used"):
            films.setup(stage)


@pytest.mark.parametrize(("incomplete", "left_out"), [("leave_out", 5), ("keep", 1)])
def test_a_film_that_lacks_both_inputs_is_left_out_once(broken, incomplete, left_out):
    (broken / "posters" / "sample00007.jpg").unlink()  # whose overview is missing too
    with (broken / "films.csv").open("a") as table:
        table.write("cut off\n")
    films = FilmData(str(broken), image_size=(8, 8), max_bad_fraction=0.1, incomplete=incomplete)
    films.setup("fit")
    assert (len(films.left_out), len(films.table)) == (1 + left_out, 60 - left_out)
    assert films.left_out[0].reason == "the row has too few or too many fields"
    assert ("sample00007", "no overview, no such file") in films.left_out


def test_common_films_are_split_alike_for_all_inputs(broken):
    split = {}
    for inputs in ({"posters": False}, {"overviews": False}, {}):
        films = FilmData(str(broken), image_size=(8, 8), max_bad_fraction=0.1, **inputs)
        films.setup("test")
        split[str(inputs)] = {
            film_id: part
            for part in ("train", "validation", "test")
            for film_id in (films.table.ids[i] for i in getattr(films.split, part))
        }
    both = split["{}"]
    assert len(both) == 55
    for sides in split.values():
        assert {film_id: sides[film_id] for film_id in both} == both
    assert sorted(map(len, split.values())) == [55, 57, 58]


def test_error_most_posters_are_missing(broken):
    for path in sorted((broken / "posters").iterdir())[:30]:
        path.unlink()
    with pytest.raises(FilmDataError, match=r"3[012] of 60 posters cannot be used"):
        FilmData(str(broken)).setup("fit")
    films = FilmData(str(broken), posters=False)
    films.setup("fit")
    assert len(films.table) == 58


def test_error_posters_with_other_names(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "films")
    for path in (folder / "posters").iterdir():
        path.rename(f"{path}.jpg")
    with pytest.raises(FilmDataError, match=r"None of the 60 films .* has .*\.jpg\.jpg, \.\.\., but no "):
        FilmData(str(folder)).setup("fit")


def test_error_posters_that_fail_only_when_decoded(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "films")
    for i in range(3):
        poster = folder / "posters" / f"sample{i:05}.jpg"
        poster.write_bytes(poster.read_bytes()[:-200])
    with pytest.raises(
        FilmDataError, match=r"3 of 60 posters cannot be used \(0 missing\): sample00000: the picture is damaged"
    ):
        FilmData(str(folder), overviews=False).setup("fit")
    films = FilmData(str(folder), overviews=False, max_bad_fraction=0.05)
    films.setup("fit")
    assert len(films.bad_posters) == 3


def test_the_advised_max_bad_fraction_is_enough(sample, tmp_path):
    folder = shutil.copytree(sample, tmp_path / "films")
    lines = (folder / "films.csv").read_text(encoding="utf-8").splitlines()
    (folder / "films.csv").write_text("\n".join(lines[:101]) + "\n", encoding="utf-8")
    posters = sorted((folder / "posters").iterdir())
    for poster in posters[:28]:
        poster.write_bytes(b"")
    posters[28].write_bytes(posters[28].read_bytes()[:-200])  # found only by decoding
    with pytest.raises(FilmDataError, match=r"29 of 100 .*\n.*--data.max_bad_fraction 0.29\."):
        FilmData(str(folder), overviews=False).setup("fit")
    films = FilmData(str(folder), overviews=False, max_bad_fraction=0.29)
    films.setup("fit")
    assert len(films.bad_posters) == 29


def test_error_no_overviews_or_no_posters(tmp_path):
    rows = "\n".join(f"{i},Drama" for i in range(20))
    (tmp_path / "films.csv").write_text(f"id,genres\n{rows}\n")
    with pytest.raises(
        FilmDataError, match=r"20 films .* no overview\. .* --data\.overviews false --data\.posters true\."
    ):
        FilmData(str(tmp_path), posters=False).setup("fit")
    with pytest.raises(FilmDataError, match=r"None of the 20 films .* --data\.posters false --data\.overviews true\."):
        FilmData(str(tmp_path), overviews=False, max_bad_fraction=1.0).setup("fit")


def test_genres_are_needed_except_for_prediction(tmp_path, films):
    rows = "\n".join(f"{i},,A film about a ship" for i in range(3))
    (tmp_path / "films.csv").write_text(f"id,genres,overview\n{rows}\n")
    state = {**films.state_dict(), "posters": False}
    for stage in ("fit", "validate", "test"):
        with pytest.raises(FilmDataError, match="no film has a genre, so there is nothing to train or test on"):
            FilmData(str(tmp_path), posters=False).setup(stage)
    unlabelled = FilmData(str(tmp_path))
    unlabelled.load_state_dict(state)
    unlabelled.setup("predict")
    (batch,) = collect(unlabelled.predict_dataloader())
    assert batch["weight"].sum() == 3
    assert batch["genres"].shape == (16, len(films.genre_names))


@pytest.mark.parametrize("leaking", [0, 2])
def test_leaks_in_a_given_split_are_counted(write_csv, tmp_path, caplog, leaking):
    for part, first in (("train", 0), ("val", 20), ("test", 30)):
        overviews = [f"Film {first + n} of the sea" for n in range(10)]
        if part == "test" and leaking:
            overviews[3] = "film 2 of the SEA."
        films = [[f"{part}{n}", ["War", "Drama"][n % 2], text] for n, text in enumerate(overviews)]
        write_csv(f"{part}.csv", [["id", "genres", "overview"], *films])
    FilmData(str(tmp_path), posters=False).setup("fit")
    said = "2 films share a poster, an overview, or title and year with a film in another part"
    assert caplog.text.count(said) == caplog.text.count("another part") == leaking / 2


def test_films_without_genres_are_counted(write_csv, tmp_path, caplog):
    genres = ["Drama", "War", "", "N/A"] * 5
    write_csv("films.csv", [["id", "genres", "overview"], *([n, g, f"film {n}"] for n, g in enumerate(genres))])
    for stage, said in (("fit", 1), ("predict", 0)):
        caplog.clear()
        FilmData(str(tmp_path), posters=False).setup(stage)
        assert caplog.text.count("10 of 20 films have no genre, and are treated as having none") == said


@pytest.mark.parametrize("genres", ["Drama", "Drama|War"])
def test_films_with_the_same_genres_are_warned_about(write_csv, tmp_path, caplog, genres):
    overviews = [f"film number {n} of the sea" for n in range(20)]
    write_csv("films.csv", [["id", "genres", "overview"], *([n, genres, text] for n, text in enumerate(overviews))])
    films = FilmData(str(tmp_path), posters=False)
    films.setup("fit")
    assert f"All 20 films have the same genres ({genres.replace('|', ', ')}): there is nothing to tell" in caplog.text
    caplog.clear()
    films.setup("test")
    assert "nothing to tell" not in caplog.text


def test_no_validation_and_no_test_films(sample):
    films = FilmData(str(sample), posters=False, val_fraction=0, test_fraction=0)
    films.setup("fit")
    assert films.val_dataloader() is None
    with pytest.raises(FilmDataError, match=r"no test films .*--data.test_fraction"):
        films.test_dataloader()


def test_error_a_given_split_has_no_test_films(write_csv, tmp_path):
    for part in ("train", "val"):
        write_csv(
            f"{part}.csv", [["id", "genres", "overview"], *([f"{part}{n}", "War", f"ship {n}"] for n in range(9))]
        )
    films = FilmData(str(tmp_path), posters=False)
    films.setup("fit")
    with pytest.raises(FilmDataError, match=r"no test films .* or --data\.given_split false\."):
        films.test_dataloader()


def test_error_a_given_split_has_no_training_films(tmp_path):
    (tmp_path / "dataset").mkdir()
    for n in range(20):
        film = {"genres": ["War"], "plot": [f"ship {n}"]}
        (tmp_path / "dataset" / f"{n}.json").write_text(json.dumps(film))
    (tmp_path / "split.json").write_text(json.dumps({"train": [], "dev": [], "test": [str(n) for n in range(20)]}))
    with pytest.raises(FilmDataError, match=r"no train films .* or --data\.given_split false\."):
        FilmData(str(tmp_path), posters=False).setup("fit")
    for n in range(20):
        Image.new("RGB", (8, 8)).save(tmp_path / "dataset" / f"{n}.jpeg")
    films = FilmData(str(tmp_path), overviews=False, image_size=(8, 8))
    films.setup("fit")
    for use in (films.train_dataloader, films.training_films, partial(films.training_films, posters=5)):
        with pytest.raises(FilmDataError, match=r"no train films .* or --data\.given_split false\."):
            use()


def test_the_published_split_is_kept_by_default(real_data):
    folder = str(real_data / "raw_formats" / "mmimdb_layout_constructed")
    published = json.loads((real_data / "raw_formats" / "mmimdb_layout_constructed" / "split.json").read_text())
    kept, drawn = (FilmData(folder, posters=False, given_split=given) for given in (True, False))
    for films in (kept, drawn):
        films.setup("fit")
    assert kept.split.sizes == (14, 2, 4)
    assert {kept.table.ids[i] for i in kept.split.test} == set(published["test"])
    assert drawn.split.sizes != (14, 2, 4) or {drawn.table.ids[i] for i in drawn.split.test} != set(published["test"])


def test_drop_remainder(sample):
    films = FilmData(str(sample), posters=False, batch_size=32, drop_remainder=True)
    films.setup("fit")
    training = len(films.split.train)
    assert training % 32
    assert len(films.train_dataloader()) == training // 32
    assert len(films.test_dataloader()) == -(-len(films.split.test) // 32)  # no test film is dropped
    films.batch_size = training + 1
    with pytest.raises(
        FilmDataError, match=rf"^{training} training films are too few to fill a batch of {training + 1}\."
    ):
        films.train_dataloader()


def test_training_overviews_are_padded_to_a_few_lengths(sample):
    films = FilmData(str(sample), posters=False, batch_size=4, length_buckets=2)
    films.setup("fit")
    short, whole = sorted({batch["overview"].shape[1] for batch in films.train_dataloader()})
    assert {batch["overview"].shape[1] for batch in films.test_dataloader()} == {whole}
    assert short < whole


def test_error_before_setup():
    with pytest.raises(RuntimeError, match="setup") as caught:
        _ = FilmData().table
    line, message = caught.value._render_traceback_()  # in a notebook
    assert "test_film_data.py" in line
    assert message == "NotReadError: FilmData has read no films yet: call setup('fit') first."
    with pytest.raises(RuntimeError, match="setup"):
        FilmData().predict_dataloader()
    with pytest.raises(RuntimeError, match="setup"):
        FilmData().save_artifacts("nowhere")
    assert FilmData().state_dict() == {}


@pytest.fixture
def state(films):
    return json.loads(json.dumps(films.state_dict()))


def test_prediction_needs_only_the_state(films, state, sample):
    again = FilmData()
    again.load_state_dict(state)
    posters = [sample / "posters" / f"sample0000{i}.jpg" for i in (1, 2)]
    overviews = ["A man goes home to his ship.", "The unheard word"]
    expected, got = (data.encode(posters, overviews) for data in (films, again))
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name])
    assert again.genre_names == films.genre_names
    assert again.state_dict() == state


def test_a_run_without_a_split_gets_a_new_one(state, sample):
    again = FilmData(str(sample))
    again.load_state_dict(state | {"split": None, "marks": ""})
    again.setup("fit")
    assert sum(again.split.sizes) == 120


def test_a_loaded_state_is_not_learned_again(films, state, sample, monkeypatch):
    monkeypatch.setattr("kgenre.data.film_data.OverviewVectorizer.adapt", lambda *_: pytest.fail("adapted again"))
    again = FilmData(str(sample), split_seed=99, val_fraction=0.3)
    again.load_state_dict(state)
    again.setup("test")
    assert again.vocabulary == films.vocabulary
    assert again.image_size == (24, 16)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(again.split, part), getattr(films.split, part))
    assert json.loads(json.dumps(again.state_dict())) == state


def test_loading_its_own_state_reads_nothing_again(films, state):
    table = films.table
    films.load_state_dict(state)
    assert films.table is table


def test_the_state_decides_which_inputs_are_read(films, state):
    posters_only = FilmData()
    posters_only.load_state_dict({**state, "overviews": False})
    assert posters_only.posters
    assert not posters_only.overviews
    assert posters_only.vocabulary == []


def test_the_checkpoints_settings_replace_the_given_ones(state, sample, caplog):
    given = {
        "overviews": False,
        "image_size": (8, 8),
        "resize": "crop",
        "vocabulary_size": 50,
        "sequence_length": 9,
        "min_df": 2,
        "stem": "english",
        "standardize": None,
        "word_split": "character",
        "val_fraction": 0.3,
        "test_fraction": 0.3,
        "split_seed": 7,
        "given_split": False,
    }
    again = FilmData(str(sample), batch_size=5, **given)
    again.load_state_dict(json.loads(json.dumps(state)))
    again.setup("fit")
    kept = {**state, **state["arguments"], "image_size": tuple(state["image_size"]), "sequence_length": None}
    for name, value in given.items():
        assert getattr(again, name) == getattr(again.hparams, name) == kept[name] != value
        assert f"{name}={kept[name]!r} (given: {value!r})" in caplog.text
    assert again.hparams.batch_size == 5
    assert again.state_dict() == state


def test_a_fit_from_scratch_uses_the_given_arguments_that_a_tested_checkpoint_replaced(tmp_path):
    def trainer():
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        return Trainer(max_epochs=1, default_root_dir=tmp_path / "runs", **quiet)

    numbered_films(tmp_path, numbered("Ship"))
    run = trainer()
    run.fit(GenreClassifier("overview_words"), datamodule=FilmData(str(tmp_path), posters=False))
    films = FilmData(str(tmp_path), posters=False, split_seed=5, vocabulary_size=20)
    used = [(0, 0, 10_000, 0), (0, 0, 10_000, 0), (5, 5, 20, 5)]
    for ckpt_path, stage in ((run.run_dir, "test"), (run.run_dir, "fit"), (None, "fit")):
        getattr(trainer(), stage)(GenreClassifier("overview_words"), datamodule=films, ckpt_path=ckpt_path)
        assert (films.split_seed, films.hparams.split_seed, films.vocabulary_size, films.split.seed) == used.pop(0)
    assert len(films.vocabulary) == films.hparams.vocabulary_size == 20
    loaded = FilmData.load_from_checkpoint(run.run_dir, split_seed=5)
    trainer().fit(GenreClassifier.load_from_checkpoint(run.run_dir), datamodule=loaded)
    assert loaded.split.seed == 0, "loaded to go on with the run's words and split"


def test_films_of_a_changed_folder_stay_in_their_part(films, state, sample, tmp_path, caplog):
    folder = tmp_path / "changed"
    shutil.copytree(sample, folder)
    lines = (folder / "films.csv").read_text(encoding="utf-8").splitlines()
    new = "new1,New,2000,A ship sails home.,Drama,posters/sample00000.jpg"
    (folder / "films.csv").write_text("\n".join([lines[0], new, *lines[11:]]) + "\n", encoding="utf-8")
    again = FilmData(str(folder))
    again.load_state_dict(state)
    with caplog.at_level(logging.WARNING, "kgenre"):
        again.setup("test")
    gone = len(set(state["split"]["test"]) - set(again.table.ids))
    assert 0 < gone < 3, "of the 24 test films"
    assert f"in no part of it, not used: 1; films that are missing: 10, {gone} of them test films." in caplog.text
    test_ids = {films.table.ids[i] for i in films.split.test}
    assert {again.table.ids[i] for i in again.split.test} == test_ids & set(again.table.ids)
    assert again.state_dict()["split"] == state["split"], "the films that are missing today keep their side"
    assert again.results_name == ""


@pytest.mark.parametrize(("stage", "sizes"), [("validate", (28, 4, 8)), ("test", (0, 0, 40))])
def test_other_films_are_all_tested_or_split_again(stage, sizes, state, tmp_path, caplog, monkeypatch):
    rows = "\n".join(f"x{i},{'Drama' if i % 2 else 'News|Comedy'},A film about number {i}" for i in range(40))
    (tmp_path / "films.csv").write_text(f"id,genres,overview\n{rows}\n")
    other = FilmData(str(tmp_path))
    assert other.results_name == "", "of no checkpoint"
    other.load_state_dict({**state, "posters": False})
    other.setup(stage)
    assert other.results_name == tmp_path.name
    monkeypatch.setenv("HOME", str(tmp_path))
    for other.path in (str(tmp_path / "films.csv"), "~/films.csv"):
        assert other.results_name == f"{tmp_path.name}_films"
        assert other.results_source == str(tmp_path / "films.csv")
    assert "None of these 40 films is in the checkpoint's split" in caplog.text
    assert "was trained on" not in caplog.text
    assert other.split.sizes == sizes
    assert len(other.split.test) == sum(1 for batch in other.test_dataloader() for w in batch["weight"] if w > 0)
    assert other.state_dict()["split"] == state["split"], "the run that is tested stays the same"


def test_other_films_that_only_their_ids_tell_apart_are_named(films, state, sample, tmp_path, caplog):
    """The posters of the run's films under new names: which of them it was trained on is unknown."""
    shutil.copytree(sample / "posters", tmp_path / "posters")
    rows = [f"new{i},{'|'.join(films.table.genres_of(i))},posters/{name}.jpg" for i, name in enumerate(films.table.ids)]
    (tmp_path / "films.csv").write_text("\n".join(["id,genres,poster", *rows]) + "\n", encoding="utf-8")
    other = FilmData(str(tmp_path))
    other.load_state_dict({**state, "overviews": False})
    other.setup("test")
    assert len(other.split.test) == len(rows)
    assert f" {len(rows)} of them have neither title nor overview: films that the model was trained on" in caplog.text


def numbered_films(folder, films, **state):
    """Write a table of films (id, number, title, overview); return its FilmData, with a checkpoint's state loaded."""
    rows = "\n".join(f"{i},{'Drama' if n % 2 else 'News|Comedy'},{title},{text}" for i, n, title, text in films)
    (folder / "films.csv").write_text(f"id,genres,title,overview\n{rows}\n")
    data = FilmData(str(folder), posters=False)
    data.load_state_dict(json.loads(json.dumps(state)))
    return data


def numbered(name, begin=0, of=range(40)):
    return [(i + begin, n, f"{name} {n}", f"The story of {name} number {n}") for i, n in enumerate(of)]


@pytest.fixture
def run_of_numbered_films(tmp_path):
    run = numbered_films(tmp_path, numbered("Ship"))
    run.setup("fit")
    return run


def test_films_with_the_same_id_may_be_different_films(run_of_numbered_films, tmp_path, caplog):
    run = run_of_numbered_films
    state = run.state_dict()
    others = numbered_films(tmp_path, numbered("Horse"), **state)
    others.setup("test")
    assert (
        "None of these 40 films is in the checkpoint's split: the model is tested on all of them. There" in caplog.text
    )
    assert others.split.sizes == (0, 0, 40)
    assert others.results_name == tmp_path.name
    mixed = numbered_films(tmp_path, numbered("Ship", of=range(30)) + numbered("Horse", 30, range(10)), **state)
    mixed.setup("fit")
    assert set(mixed.split.test) == {row for row in run.split.test if row < 30}
    assert "Films in no part of it, not used: 10; films that are missing: 10, " in caplog.text
    assert mixed.state_dict() == state
    edited = [(i, n, "", text.upper()) if i % 2 else (i, n, title, "") for i, n, title, text in numbered("Ship")]
    same = numbered_films(tmp_path, edited, **state)
    same.overviews = same.posters = False
    assert not same._kept.has_none_of(read_films(tmp_path)), "a title or an overview is enough"
    assert same._kept.split_over(read_films(tmp_path)).sizes == run.split.sizes
    older = numbered_films(tmp_path, numbered("Horse"), **{**state, "marks": ""})
    older.setup("test")
    assert older.split.sizes == run.split.sizes


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_error_films_with_the_ids_of_other_films_of_the_run(stage, run_of_numbered_films, tmp_path):
    moved = numbered_films(tmp_path, numbered("Ship", of=[39, *range(39)]), **run_of_numbered_films.state_dict())
    with pytest.raises(
        FilmDataError, match=r"^40 of 40 films have an id that a different .* such as 0 \(Ship 39\)\. Ids"
    ):
        moved.setup(stage)


def test_training_films_under_other_ids_are_not_tested(run_of_numbered_films, tmp_path, caplog):
    run = run_of_numbered_films
    again = numbered_films(tmp_path, numbered("Ship", 100) + numbered("Horse", 200), **run.state_dict())
    again.setup("test")
    seen_in_training = {*run.split.train.tolist(), *run.split.validation.tolist()}
    assert set(again.split.test.tolist()) == set(range(80)) - seen_in_training
    assert "the model is tested on all of them except 32 that it was trained on, under different ids" in caplog.text
    untitled = [(film_id, number, "", text) for film_id, number, _, text in numbered("Ship", 100)]
    untitled = numbered_films(tmp_path, untitled, **run.state_dict())
    untitled.setup("test")
    assert set(untitled.split.test.tolist()) == set(range(40)) - seen_in_training
    anew = numbered_films(tmp_path, numbered("Ship", 100), **run.state_dict())
    anew.setup("validate")
    all_seen = "trained on 4 of the 4 validation films, under different ids: the results look better than they are."
    assert f"a new split is drawn. The model was {all_seen}" in caplog.text
    again.setup("validate")
    assert re.search(r"trained on \d of the 8 validation films, under different ids: these are left out\.", caplog.text)
    assert 0 < len(again.split.validation) < 8
    assert not seen_in_training & {*again.split.validation.tolist()}
    all_known = numbered_films(tmp_path, numbered("Ship", 100, run.split.train.tolist()), **run.state_dict())
    with pytest.raises(FilmDataError, match="trained on all of these 28 films, under different ids"):
        all_known.setup("test")


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("before", [[], ["validate"], ["predict"], ["test", "validate"]])
def test_training_films_are_never_tested_whatever_came_before(run_of_numbered_films, tmp_path, caplog, before, given):
    run = run_of_numbered_films
    others = numbered_films(tmp_path, numbered("Ship", 100) + numbered("Horse", 200), **run.state_dict())
    if given:
        head, *rows = (tmp_path / "films.csv").read_text().splitlines()
        (tmp_path / "films.csv").unlink()
        for name, part in (("train", rows[:20] + rows[60:]), ("val", rows[20:24]), ("test", rows[24:60])):
            (tmp_path / f"{name}.csv").write_text("\n".join([head, *part]))
    for stage in [*before, "test"]:
        others.setup(stage)
        if stage == "validate":
            assert len(others.val_dataloader().rows) > 0
    known = {*run.split.train.tolist(), *run.split.validation.tolist()}
    expected = {str(row + 100 if row < 40 else row + 160) for row in range(80) if row not in known}
    if given:
        expected &= {line.partition(",")[0] for line in rows[24:60]}
        assert "the split that comes with them is used" in caplog.text
        assert "is drawn" not in caplog.text
    assert {others.table.ids[row] for row in others.test_dataloader().rows} == expected
    assert others.results_name == tmp_path.name
    others.setup("fit")
    fitted_on = others.split
    assert len(others.train_dataloader().rows) > 0
    assert not {others.table.ids[row] for row in fitted_on.test} - expected
    others.setup("test")
    assert others.split is fitted_on, "the split of the fit is that of the new run"
    assert others.results_name == ""


@pytest.mark.parametrize(("gone", "own"), [(0, True), (1, True), (2, False), (8, False)])
def test_films_are_the_runs_own_if_nearly_all_of_its_test_films_are_there(gone, own, tmp_path, caplog):
    run = numbered_films(tmp_path, numbered("Ship", of=range(60)))
    run.setup("fit")
    left_out, n = set(run.split.test[:gone].tolist()), len(run.split.test)
    here = numbered("Ship", of=[n for n in range(60) if n not in left_out])
    here = [(n, n, title, text) for _, n, title, text in here]
    films = numbered_films(tmp_path, here + numbered("Horse", 100), **run.state_dict())
    films.setup("test")
    assert (films.results_name == "") == own
    assert len(films.split.test) == n - gone + (0 if own else 40)
    if own:
        assert (f"films that are missing: {gone}, {gone} of them test films." in caplog.text) == bool(gone)
    else:
        assert f"These {100 - gone} films include only {n - gone} of the {n} test films" in caplog.text
        trained_on = 60 - n
        assert f"the model is tested on all of them except {trained_on} that it was trained on. There" in caplog.text


def test_films_in_another_order_are_warned_about(state, sample, tmp_path, caplog):
    lines = (sample / "films.csv").read_text(encoding="utf-8").splitlines()
    shutil.copytree(sample, tmp_path / "sorted")
    (tmp_path / "sorted" / "films.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n", encoding="utf-8")
    for folder, said in ((sample, 0), (tmp_path / "sorted", 1)):
        caplog.clear()
        again = FilmData(str(folder))
        again.load_state_dict(state)
        again.setup("fit")
        assert caplog.text.count("The films are in a different order than when the run began") == said


def test_the_genres_are_those_of_the_checkpoint(films, state, tmp_path, caplog):
    (tmp_path / "films.csv").write_text("id,genres,overview\n" + "1,News|Western|Action,A ship\n" * 1 + "2,News,B\n")
    other = FilmData(str(tmp_path))
    other.load_state_dict({**state, "posters": False})
    with caplog.at_level(logging.WARNING, "kgenre"):
        other.setup("predict")
    assert "does not know are ignored: News." in caplog.text
    assert other.table.genre_names == films.genre_names
    assert other.table.genres_of(0) == ("Action", "Western")
    assert other.table.genres_of(1) == ()


def test_more_films_with_other_capitals_in_a_genre_do_not_change_its_name(tmp_path):
    rows = [f"f{n},{('Zombie', 'Drama', 'zombie', 'Drama')[n % 4]},The story number {n}" for n in range(37)]
    more = [f"g{n},zombie,Another tale {n}" for n in range(5)]
    tables = []
    for some in (rows, rows + more):  # more films have "Zombie" in the first, "zombie" in the second
        (tmp_path / "films.csv").write_text("\n".join(["id,genres,overview", *some]) + "\n")
        tables.append(FilmData(str(tmp_path), posters=False))
        if len(tables) > 1:
            tables[1].load_state_dict(tables[0].state_dict())
        tables[-1].setup("fit")
    assert [data.genre_names for data in tables] == [("Drama", "Zombie")] * 2
    assert [data.table.genres.sum(axis=0).tolist() for data in tables] == [[18, 19], [18, 24]]


def test_error_none_of_the_checkpoints_genres_unless_films_are_only_predicted(state, tmp_path, caplog):
    (tmp_path / "films.csv").write_text("id,genres,overview\n1,News,A ship\n")
    other = FilmData(str(tmp_path))
    other.load_state_dict({**state, "posters": False})
    with pytest.raises(FilmDataError, match=r"none of the checkpoint's genres.\nTheir genres: News"):
        other.setup("test")
    other.setup("predict")
    assert caplog.text.count("Genres that the checkpoint does not know are ignored: News.") == 1
    assert other.table.genres_of(0) == ()
    assert len(other.predict_dataloader().rows) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image_size": 64}, r"image_size=64 must be .* whole pixels, from 1 to 65535, such as \(64, 64\)"),
        ({"image_size": "64"}, "image_size=64 must be height"),
        ({"image_size": (64.5, 64)}, r"image_size=\(64\.5, 64\) must be height"),
        ({"image_size": ("a", "b")}, r"image_size=\('a', 'b'\) must be height"),
        ({"image_size": ((1, 2), 3)}, r"image_size=\(\(1, 2\), 3\) must be height"),
        ({"max_bad_fraction": "x"}, "max_bad_fraction='x' must be a number from 0 to 1"),
        ({"val_fraction": "x"}, "val_fraction='x' must be a share of the films"),
        ({"batch_size": 32.0}, r"batch_size=32\.0 is not a whole number\. Give 1 or more, such as 64"),
        ({"batch_size": True}, "batch_size=True is not a whole number"),
        ({"seed": None}, "seed=None is not a whole number"),
        ({"posters": "false"}, "posters='false' must be True or False"),
        ({"augment": None}, "augment=None must be True, False or shares by name"),
    ],
)
def test_error_arguments_of_the_wrong_type(given, message):
    with pytest.raises(FilmDataError, match=f"^{message}"):
        FilmData("films", **given)


@pytest.mark.parametrize(
    ("method", "advice"),
    [
        ("to_csv", r" Write it to a file first, df\.to_csv\('films\.csv', index=False\)\."),
        ("write_csv", r" Write it to a file first, df\.write_csv\('films\.csv'\)\."),
        ("copy", ""),
    ],
)
def test_error_a_table_instead_of_its_path(method, advice):
    frame = type("DataFrame", (), {method: None})()  # as of pandas, of Polars, of another package
    message = rf"^path must be a folder of films, or a file\. Received: a DataFrame\.{advice}$"
    with pytest.raises(FilmDataError, match=message):
        FilmData(frame)


@pytest.mark.parametrize(
    ("posters", "overviews", "message"),
    [
        (None, None, "reads posters"),
        (["a.jpg"], ["A ship.", "Two"], "The numbers of posters and overviews must be equal"),
        (["no such.jpg"], ["A ship."], "no such file"),
        ("sample", [""], "has no words"),
        ("sample", [" ...!"], "has no words"),
        (None, "A ship in space.", r"overviews='A ship in space\.' is a single overview\. Pass a list"),
        (Path("a.jpg"), None, r"posters='a\.jpg' is a single poster\. Pass a list"),
        (Image.new("RGB", (8, 8)), None, r"posters='<PIL\..* is a single poster\. Pass a list"),
        ("sample", [float("nan")], "The overview nan has no words"),
        ([None], None, r"A poster must be a picture file, .* Received: None\."),
    ],
)
def test_error_encode(films, sample, posters, overviews, message):
    if posters == "sample":
        posters = [sample / "posters" / "sample00000.jpg"]
    with pytest.raises(FilmDataError, match=message) as error:
        films.encode(posters, overviews)
    assert len(str(error.value).splitlines()) == 1


def test_encode_omits_missing_inputs_and_the_network_reports_them(films, sample):
    one = films.encode(overviews=np.array(["A ship in space.", "A man."]))  # from a run that reads posters too
    assert "poster" not in one
    assert one["overview"].any()
    module = GenreClassifier("overview_words")
    module.prepare_for(list(films.genre_names), {"vocabulary_size": len(films.vocabulary)})
    assert module.probabilities(one).shape == (2, len(films.genre_names))
    with pytest.raises(TrainerError, match="This model reads overviews: give the film's overview"):
        module.probabilities(films.encode([sample / "posters" / "sample00000.jpg"]))


def test_encode_warns_about_unused_inputs(state, sample, caplog):
    films = FilmData()
    films.load_state_dict({**state, "overviews": False})
    with caplog.at_level(logging.WARNING, "kgenre"):
        batch = films.encode([sample / "posters" / "sample00000.jpg"], ["A ship."])
    assert "The overview is not used" in caplog.text
    assert "overview" not in batch


@pytest.mark.parametrize(
    ("text", "known"), [("Ein Schiff im All, ship.", 1), ("xyz zyx", 0), ("Schiff", 0), ("A ship in space", None)]
)
def test_encode_warns_about_mostly_unknown_words(state, caplog, text, known):
    films = FilmData(posters=False)
    vocabulary = ["", "[UNK]", "a", "ship", "in", "space"]
    with caplog.at_level(logging.WARNING, "kgenre"):
        films.load_state_dict({**state, "posters": False, "overviews": True, "vocabulary": vocabulary})
        films.encode(overviews=[text])
    words = len(text.split())
    said = f"knows only {known} of the overview's {words} {'word' if words == 1 else 'words'} (is"
    assert said in caplog.text if known is not None else "overview's" not in caplog.text


def test_artifacts(films, tmp_path):
    films.save_artifacts(tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["genres.txt", "split.json", "vocabulary.txt"]
    assert (tmp_path / "run" / "genres.txt").read_text().splitlines() == list(films.genre_names)
    assert (tmp_path / "run" / "vocabulary.txt").read_text(encoding="utf-8").splitlines() == films.vocabulary
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert split["test"] == [films.table.ids[i] for i in films.split.test]


def test_real_films(real_data):
    films = FilmData(str(real_data / "films"), format="course")
    films.setup("fit")
    assert len(films.table) == 2500
    assert len(films.genre_names) == 25
    assert "never occur" in films.description
    assert not films.left_out
    batch = next(iter(films.train_dataloader()))
    assert batch["genres"].shape == (64, 25)
    assert films.table.ids == read_films(real_data / "films").ids


def test_genres_with_few_films_or_none_are_listed(write_csv, caplog):
    rows = [[f"f{i}", "", 1, int(i < 2), 0, f"a ship {i}"] for i in range(12)]
    path = write_csv("films.csv", [["Id", "Genre", "Drama", "War", "News", "Overview"], *rows])
    films = FilmData(str(path), format="course", posters=False, min_films=3)
    with caplog.at_level(logging.INFO, "kgenre"):
        films.setup("fit")
    assert "Fewer than 3 films: War (2); never occur: News" in caplog.text

    films.min_films = 2
    assert "\nNever occur: News" in films.description

    films.setup("predict")
    assert "Never" in films.description, "already read"
    to_predict = FilmData(str(path), format="course", posters=False, min_films=3)
    to_predict.load_state_dict(films.state_dict())
    to_predict.setup("predict")
    assert "occur" not in to_predict.description


def test_incomplete_films_can_be_kept(broken, caplog, monkeypatch):
    films = FilmData(str(broken), image_size=(8, 8), batch_size=8, incomplete="keep", test_fraction=0.4)
    films.setup("fit")
    assert len(films.table) == 60
    assert "Used without a poster (3): sample00003 (the file is empty); sample00004 (no such file); sam" in caplog.text
    assert films.left_out == ()
    seen = {"poster": set(), "overview": set()}
    for source in (films.train_dataloader(), films.val_dataloader(), films.test_dataloader()):
        for batch in collect(source):
            for name, found in seen.items():
                empty = ~batch[name].reshape(len(batch[name]), -1).any(axis=1)
                found |= {films.table.ids[i] for i in batch["index"][empty & (batch["weight"] > 0)]}
    assert seen["poster"] == {"sample00003", "sample00004", "sample00005"}
    assert len(seen["overview"]) == 2

    batch = films.encode(overviews=["A ship in space."])
    assert batch["poster"].shape == (1, 8, 8, 3)
    assert not batch["poster"].any()
    assert not films.encode(posters=[broken / "posters" / "sample00006.jpg"])["overview"].any()
    with pytest.raises(FilmDataError, match="give the film's poster"):
        films.encode()
    with pytest.raises(FilmDataError, match="needs a table of posters"):
        FilmData(str(broken), incomplete="keep", poster_table="stream")
    monkeypatch.setattr("kgenre.data.poster_table._choose", lambda size, file: "stream")
    films = FilmData(str(broken), incomplete="keep", max_bad_fraction=0.1)
    with pytest.raises(FilmDataError, match="needs a table of posters"):
        films.setup("fit")
    with pytest.raises(RuntimeError, match="no vocabulary yet"):
        films.encode(overviews=["A ship in space."])
    films = FilmData(str(broken), incomplete="keep", posters=False)
    films.setup("fit")
    assert "poster" not in films.encode(overviews=["A ship in space."])


def test_training_films_are_those_of_the_split(films):
    known = films.training_films()
    rows = films.split.train
    np.testing.assert_array_equal(known["genres"], films.table.genres[rows])
    assert known["overview"].shape[0] == len(rows)
    assert known["vocabulary"].tolist() == films.vocabulary
    words = {films.vocabulary[i] for i in known["overview"][0] if i}
    assert words - {"[UNK]"} <= set(normalised_overview(films.table.overviews[rows[0]]).split())


@pytest.mark.parametrize("table", ["memory", "stream"])
def test_training_films_include_the_requested_number_of_posters(sample, table):
    films = FilmData(str(sample), overviews=False, image_size=(8, 8), batch_size=4, poster_table=table)
    films.setup("fit")
    assert "poster" not in films.training_films()
    found = films.training_films(posters=6)["poster"]
    assert found.shape == (6, 8, 8, 3)
    assert found.dtype == np.uint8
    everyone = films.training_films(posters=10**6)["poster"]
    assert len(everyone) == len(films.split.train)
    np.testing.assert_array_equal(found[[0, -1]], everyone[[0, -1]])


def test_the_resize_mode_is_stored_in_the_checkpoint(sample):
    films = FilmData(str(sample), overviews=False, image_size=(16, 16), resize="crop")
    films.setup("fit")
    again = FilmData(overviews=False)
    again.load_state_dict(json.loads(json.dumps(films.state_dict())))
    poster = read_films(sample).poster_paths[0]
    np.testing.assert_array_equal(again.encode([poster])["poster"], films.encode([poster])["poster"])
    pixels = np.zeros((2, 30, 20, 3), np.uint8)
    assert again.encode(pixels)["poster"].shape == again.encode(list(pixels))["poster"].shape == (2, 16, 16, 3)
    assert (again.encode([poster])["poster"][0] != read_poster(poster, (16, 16), "squash")).any()


def test_error_the_state_of_other_data():
    with pytest.raises(FilmDataError, match="The checkpoint's data have no genre_names: its run was trained on other"):
        FilmData().load_state_dict({"classes": ["Drama", "War"]})


def test_the_word_split_is_stored_in_the_checkpoint(tmp_path, caplog):
    rows = [f"{i},{'战争' if i % 2 else '剧情'},{'士兵战役' if i % 2 else '家庭回忆'}第{i}天。" for i in range(40)]
    (tmp_path / "films.csv").write_text("\n".join(["id,genres,overview", *rows]), encoding="utf-8")
    FilmData(str(tmp_path), posters=False).setup("fit")
    assert "no spaces between words: set --data.word_split character --data.standardize unicode to" in caplog.text
    caplog.clear()
    split = FilmData(str(tmp_path), posters=False, word_split="character", standardize="unicode")
    split.setup("fit")
    assert "--data." not in caplog.text
    assert {"士", "兵", "庭"} < set(split.vocabulary)
    again = FilmData()
    again.load_state_dict(json.loads(json.dumps(split.state_dict())))
    given = again.encode(overviews=["士兵。"])["overview"]
    np.testing.assert_array_equal(given, split.encode(overviews=["士兵。"])["overview"])
    assert given.min(initial=9, where=given > 0) > 1


def test_stemming_is_stored_in_the_checkpoint(sample, films):
    stemmed = FilmData(str(sample), posters=False, stem="english", min_df=2)
    stemmed.setup("fit")
    assert len(stemmed.vocabulary) < len(films.vocabulary)
    again = FilmData(posters=False)
    again.load_state_dict(json.loads(json.dumps(stemmed.state_dict())))
    texts = [*films.table.overviews[:20], "Shipping ships"]
    np.testing.assert_array_equal(
        again.encode(overviews=texts)["overview"], stemmed.encode(overviews=texts)["overview"]
    )


def test_batches_are_equal_on_both_backends(sample, run_python):
    if keras.backend.backend() != "jax":
        pytest.skip("compares both in one run")
    script = f"""
import hashlib
from kgenre.data import FilmData
shares = {{"flip": 0.5, "shift": 0.1, "crop": 0.2, "color": 0.2, "erase": 0.25}}
films = FilmData({str(sample)!r}, image_size=(12, 8), batch_size=8, augment=shares)
films.setup("fit")
digest = hashlib.sha256()
for source in (films.train_dataloader(), films.val_dataloader()):
    for batch in source.epoch_batches(3):
        for name in sorted(batch):
            digest.update(name.encode() + batch[name].numpy().tobytes())
print(digest.hexdigest())
"""
    here = {}
    exec(script, here)
    assert here["digest"].hexdigest() == run_python(script, backend="tensorflow").split()[-1]
