"""Baselines on a datamodule: fitted once per split, then read from the cache."""

import shutil

import numpy as np
import pytest

import kgenre
from kgenre.data import FilmData, make_sample_films
from kgenre.evaluation import multilabel_metrics
from kgenre.evaluation.baseline_comparison import BaselineComparison
from kgenre.evaluation.baseline_predictions import _features, predict_baselines
from kgenre.evaluation.baselines import BASELINES
from kgenre.evaluation.poster_statistics import poster_features
from kgenre.models import GenreClassifier


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    data = FilmData(str(make_sample_films(tmp_path_factory.mktemp("f") / "films", n=160)), image_size=(32, 32))
    data.setup("fit")
    return data


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The cache folder of `predicted`."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def predicted(films, kept):
    return predict_baselines(films, kept)


def test_every_baseline_predicts_every_film(films, predicted):
    assert list(predicted) == ["frequency", "top3", "tfidf", "colours"]
    assert all(prob.shape == films.table.genres.shape for prob in predicted.values())
    rows = films.split.test
    losses = {key: multilabel_metrics(films.table.genres[rows], prob[rows])["loss"] for key, prob in predicted.items()}
    assert losses["tfidf"] < losses["frequency"]
    assert losses["colours"] < losses["frequency"], "the sample posters show their genres"
    assert (predicted["top3"].sum(axis=1) == 3).all()


def test_second_run_reads_the_cache(films, predicted, kept, monkeypatch):
    for kind in BASELINES:
        monkeypatch.setattr(kind, "fit", None)
    monkeypatch.setattr(FilmData, "predict_dataloader", None)  # posters are not read either
    second = predict_baselines(films, kept)
    assert all((predicted[key] == second[key]).all() for key in predicted)


def test_another_split_is_fitted_again(films, predicted, kept):
    other = FilmData(films.path, image_size=(32, 32), split_seed=1)
    other.setup("fit")
    assert not np.allclose(predicted["tfidf"], predict_baselines(other, kept)["tfidf"])


def test_other_posters_are_fitted_again(films, predicted, kept, tmp_path):
    folder = shutil.copytree(films.path, tmp_path / "films")
    data = FilmData(str(folder), image_size=(32, 32))
    data.setup("fit")
    for one, other in zip(data.table.poster_paths[::2], data.table.poster_paths[1::2], strict=True):
        shutil.copyfile(other, one)
    changed, smaller = FilmData(str(folder), image_size=(32, 32)), FilmData(films.path, image_size=(16, 16))
    for data in (changed, smaller):
        data.setup("fit")
        assert not np.allclose(predicted["colours"], predict_baselines(data, kept)["colours"])


def quiet_trainer(folder, *callbacks):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return kgenre.Trainer(max_epochs=1, default_root_dir=folder, callbacks=list(callbacks), **quiet)


def test_a_given_callback_fits_the_baselines_again_when_a_checkpoint_replaces_the_split(films, tmp_path):
    """The datamodule stays the same object, but is read again with the checkpoint's split."""
    run = quiet_trainer(tmp_path)
    run.fit(GenreClassifier("overview_words"), datamodule=FilmData(films.path, posters=False))
    tested = []
    for callbacks in ([], [BaselineComparison()]):
        other, data = quiet_trainer(tmp_path, *callbacks), FilmData(films.path, posters=False, split_seed=1)
        other.fit(GenreClassifier("overview_words"), datamodule=data)
        tested += other.test(GenreClassifier("overview_words"), datamodule=data, ckpt_path=run.run_dir, verbose=False)
    names = [name for name in tested[0] if name.startswith("test/baseline_")]
    assert names
    assert {name: tested[0][name] for name in names} == {name: tested[1][name] for name in names}


def test_a_given_callback_fits_the_baselines_again_when_a_stage_splits_other_films_anew(films, tmp_path):
    """The films stay the same table; all of them are tested, which leaves none to fit baselines on."""
    run = quiet_trainer(tmp_path)
    run.fit(GenreClassifier("overview_words"), datamodule=FilmData(films.path, posters=False))
    module, data = (
        GenreClassifier("overview_words"),
        FilmData(make_sample_films(tmp_path / "other", 40, seed=7), posters=False),
    )
    trainer = quiet_trainer(tmp_path, BaselineComparison())
    [validated] = trainer.validate(module, datamodule=data, ckpt_path=run.run_dir, verbose=False)
    [tested] = trainer.test(module, datamodule=data, ckpt_path=run.run_dir, verbose=False)
    assert "val/baseline_tfidf/loss" in validated
    assert not [name for name in tested if name.startswith("test/baseline_")]


@pytest.mark.parametrize("damage", ["cut", "unwritable"])
def test_a_broken_or_unwritable_cache_costs_only_time(films, predicted, kept, tmp_path, damage):
    folder = shutil.copytree(kept, tmp_path / "cut") if damage == "cut" else tmp_path / "file" / "below"
    (tmp_path / "file").write_text("")
    for path in folder.glob("*.npy"):
        path.write_bytes(path.read_bytes()[:40])
    again = predict_baselines(films, folder)
    assert all((predicted[key] == again[key]).all() for key in predicted)


def test_bad_streamed_poster_changes_no_other_film(tmp_path):
    folder = make_sample_films(tmp_path / "films", n=120)
    whole = FilmData(str(folder), image_size=(32, 32), poster_table="stream", overviews=False)
    whole.setup("fit")
    expected = _features(whole)
    bad = whole.table.poster_paths[7]
    bad.write_bytes(bad.read_bytes()[:-200])
    found = _features(whole)
    assert len(found) == 120
    np.testing.assert_array_equal(np.delete(found, 7, axis=0), np.delete(expected, 7, axis=0))
    assert not np.array_equal(found[7], expected[7])


def test_without_posters_no_poster_baseline(films, predicted, kept):
    data = FilmData(films.path, posters=False)
    data.setup("fit")
    assert list(predict_baselines(data, kept)) == ["frequency", "top3", "tfidf"]


def test_poster_features_see_colour_and_layout():
    posters = np.zeros((3, 20, 12, 3), "uint8")
    posters[0, :, :, 0] = 255  # red
    posters[1, :10, :, 0] = 255  # red above black
    features = poster_features(posters)
    assert features.shape == (3, 390)
    assert np.isfinite(features).all()
    assert np.linalg.norm(features[0] - features[1]) > 1
    np.testing.assert_allclose(features[0, :192].reshape(8, 8, 3)[..., 0], 1)  # the thumbnail
    assert np.isfinite(poster_features(posters[:, :1, :1])).all(), "posters smaller than the grid"
