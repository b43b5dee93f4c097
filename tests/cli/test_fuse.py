"""``kgenre fuse`` combines several runs into one that is tested, predicts and is reported like any other."""

import errno
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from kgenre.checkpoints import find_checkpoint, read_checkpoint, write_checkpoint
from kgenre.cli import fuse
from kgenre.cli.main import main
from kgenre.evaluation.film_predictions import read_predictions

pytestmark = pytest.mark.one_backend("jax")


def log_odds(run):
    prob = read_predictions(run / "predictions_test.csv").prob
    return np.log(prob) - np.log1p(-prob)


def test_a_poster_and_an_overview_run_are_fused(poster_run, overview_run, films, tmp_path, capsys):
    moved = shutil.copytree(films, tmp_path / "moved")
    gone = json.loads((poster_run / "split.json").read_text())["train"][0]
    rows = (moved / "films.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (moved / "films.csv").write_text("".join(row for row in rows if not row.startswith(gone)), encoding="utf-8")
    where = ["--root", str(tmp_path), "--name", "fused 🎬", "--data.path", str(moved)]
    assert main(["fuse", str(overview_run), str(poster_run), *where]) == 0
    run = tmp_path / "fused 🎬" / "version_0"
    assert yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["data"]["init_args"]["path"] == str(moved)
    metrics = json.loads((run / "metrics.json").read_text())
    for name in ("loss", "map", "baseline_tfidf/loss", "baseline_colours/loss", "threshold"):
        assert f"test/{name}" in metrics
    assert {"config.yaml", "split.json", "vocabulary.txt", "environment.json"} <= {path.name for path in run.iterdir()}
    ours = read_predictions(run / "predictions_test.csv")
    assert ours.ids == read_predictions(poster_run / "predictions_test.csv").ids

    # The log-odds are a weighted sum of the members', per genre.
    members = [log_odds(overview_run), log_odds(poster_run)]
    for genre in range(ours.prob.shape[1]):
        columns = np.stack([*(member[:, genre] for member in members), np.ones(len(ours.ids))], axis=1)
        target = log_odds(run)[:, genre]
        fitted = np.linalg.lstsq(columns, target, rcond=None)[0]
        np.testing.assert_allclose(columns @ fitted, target, atol=2e-3)
        assert (fitted[:2] > -1e-3).all()

    assert capsys.readouterr().out.splitlines()[-1] == f'Report: kgenre report "{run}"'
    poster = next((films / "posters").iterdir())
    for given in (["--overview", "A ship in space."], ["--poster", str(poster)]):
        assert main(["predict", "--ckpt_path", str(run), *given, "--json"]) == 0
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert len(said["genres"]) == 3
    assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(run)]) == 0
    assert json.loads((run / "metrics.json").read_text())["test/loss"] == pytest.approx(metrics["test/loss"], rel=1e-4)
    assert main(["fuse", str(run), str(poster_run), "--root", str(tmp_path)]) == 1
    assert "version_0 is already a fused run. Fuse the runs that it was made from" in capsys.readouterr().err


def test_weights_are_fitted_on_films_that_have_the_input(monkeypatch):
    poster = np.zeros((2, 3, 4, 4, 3), "uint8")
    poster[0, 1], poster[1, 0] = 7, 7
    weights = np.array([[1, 1, 1], [1, 0, 0]])
    batches = [{"poster": posters, "weight": weight} for posters, weight in zip(poster, weights, strict=True)]
    predicted = [{"probabilities": np.full((3, 2), 0.3), "weight": weight} for weight in weights]
    trainer = SimpleNamespace(predict=lambda module, dataloaders: predicted)
    monkeypatch.setattr("kgenre.training.Trainer", lambda **options: trainer)
    films = SimpleNamespace(val_dataloader=lambda: batches)
    prob, has_input = fuse._validation_predictions(SimpleNamespace(inputs=["poster"]), films)
    assert prob.shape == (4, 2)
    assert has_input.tolist() == [False, True, False, True]


def test_weights_are_fitted_to_what_the_fused_model_computes(poster_run, tmp_path):
    """The fused model mirrors posters for all its networks if one of them does."""
    checkpoint = read_checkpoint(find_checkpoint(poster_run))
    checkpoint.state["model"]["hyperparameters"]["mirror"] = True
    twin = write_checkpoint(checkpoint, tmp_path / "step=000001")
    assert main(["fuse", str(poster_run), str(twin), "--root", str(tmp_path)]) == 0
    arrays = read_checkpoint(find_checkpoint(tmp_path / "fused" / "version_0")).weights
    [weights] = [array for name, array in arrays.items() if name.endswith(".weight") and array.shape == (2, 10)]
    np.testing.assert_allclose(*weights, rtol=1e-3, err_msg="the same network twice")


def test_the_mean_of_an_ensemble(poster_run, fit, tmp_path, capsys):
    same = ["--config", str(poster_run / "config.yaml"), "--seed_everything", "1", "--trainer.name", "other"]
    assert fit(tmp_path, *same) == 0
    runs = [poster_run, tmp_path / "other" / "version_0"]
    metrics = json.loads((runs[1] / "metrics.json").read_text())
    (runs[1] / "metrics.json").write_text(json.dumps(metrics | {"test/step": 1}))  # as if trained further since
    capsys.readouterr()
    assert main(["fuse", *map(str, runs), "--method", "mean", "--root", str(tmp_path), "--name", "both"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "tested at step" in line]
    outdated = f"was tested at step 1, but its best checkpoint is step {metrics['test/step']}"
    assert said == [f"version_0 {outdated}: kgenre test --ckpt_path {runs[1]}"]
    mean = np.mean([log_odds(run) for run in runs], axis=0)
    np.testing.assert_allclose(log_odds(tmp_path / "both" / "version_0"), mean, atol=2e-3)
    (runs[1] / "metrics.json").write_text("{broken")
    assert main(["fuse", *map(str, runs), "--method", "mean", "--root", str(tmp_path)]) == 1
    assert "metrics.json cannot be read" in capsys.readouterr().err.splitlines()[-1]


def test_the_mean_is_over_the_inputs_that_a_film_has(poster_run, overview_run, films, tmp_path, capsys):
    def predicted(run, *given):
        capsys.readouterr()
        assert main(["predict", "--ckpt_path", str(run), *given, "--top", "10", "--json"]) == 0
        genres = json.loads(capsys.readouterr().out.splitlines()[-1])["genres"]
        return {genre["genre"]: genre["probability"] for genre in genres}

    assert main(["fuse", str(poster_run), str(overview_run), "--method", "mean", "--root", str(tmp_path)]) == 0
    run = tmp_path / "fused" / "version_0"
    overview, poster = ["--overview", "A ship in space."], ["--poster", str(next((films / "posters").iterdir()))]
    alone = predicted(overview_run, *overview), predicted(poster_run, *poster)
    assert predicted(run, *overview) == pytest.approx(alone[0], abs=1e-5)
    assert predicted(run, *poster) == pytest.approx(alone[1], abs=1e-5)
    for name, prob in predicted(run, *overview, *poster).items():
        both = [one[name] / (1 - one[name]) for one in alone]
        assert prob / (1 - prob) == pytest.approx(np.sqrt(both[0] * both[1]), rel=1e-3)
    mean = np.mean([log_odds(overview_run), log_odds(poster_run)], axis=0)
    np.testing.assert_allclose(log_odds(run), mean, atol=2e-3)


@pytest.mark.parametrize(
    ("part", "changed", "message"),
    [
        (
            "state",
            {"split": None},
            "differ in their split: train both with the same --data.path, --data.split_seed, --data.val_fraction and "
            "--data.test_fraction.",
        ),
        ("state", {"genre_names": ["War"]}, "differ in their genre names: train both with the same films and genres."),
        (
            "state",
            {"stem": "english", "vocabulary": []},
            "read overviews with different settings (vocabulary, stem): train both with",
        ),
        (
            "hyperparameters",
            {"vocabulary_size": 400},
            "different settings (vocabulary size): train both with the same --data.vocab",
        ),
    ],
)
def test_incompatible_runs_are_rejected(overview_run, part, changed, message, tmp_path, capsys):
    checkpoint = read_checkpoint(find_checkpoint(overview_run))
    checkpoint.state["data"]["state"]["split"]["test"].reverse()  # a different order is still the same split
    checkpoint.state["data"][part] |= changed
    other = write_checkpoint(checkpoint, tmp_path / "step=000009")
    assert main(["fuse", str(overview_run), str(other), "--root", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_error_the_same_checkpoint_twice(overview_run, tmp_path, capsys):
    twice = [str(overview_run), str(overview_run / "checkpoints" / "best")]
    assert main(["fuse", *twice, "--root", str(tmp_path / "out")]) == 1
    assert "The same checkpoint is given twice" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_error_no_validation_films(overview_run, tmp_path, capsys):
    checkpoint = read_checkpoint(find_checkpoint(overview_run))
    split = checkpoint.state["data"]["state"]["split"]
    split |= {"train": split["train"] + split["validation"], "validation": []}
    other = write_checkpoint(checkpoint, tmp_path / "step=000009")
    assert main(["fuse", str(other), "--root", str(tmp_path / "out")]) == 1
    assert (
        "There are no validation films to fit the weights on: train with --data.val_fraction" in capsys.readouterr().err
    )


def test_error_a_folder_without_a_run(tmp_path, capsys):
    assert main(["fuse", str(tmp_path)]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_ctrl_c_leaves_no_partial_run(overview_run, tmp_path, monkeypatch):
    def stop(films, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("kgenre.data.film_data.FilmData.save_artifacts", stop)
    assert main(["fuse", str(overview_run), "--root", str(tmp_path)]) == 130
    assert list(tmp_path.glob("fused/*")) == []


def test_a_full_disk_leaves_no_partial_run(overview_run, tmp_path, capsys, monkeypatch):
    def full(self, folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "split.json"))

    monkeypatch.setattr("kgenre.data.film_data.FilmData.save_artifacts", full)
    assert main(["fuse", str(overview_run), "--root", str(tmp_path)]) == 1
    assert "split.json cannot be written (No space left on device): make room there, or" in capsys.readouterr().err
    assert list(tmp_path.glob("fused/*")) == []
