"""The main commands: fit, validate, test, predict."""

import csv
import json
import math
import os
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from boring import BoringModule

import kgenre
from kgenre.checkpoints import read_checkpoint, write_checkpoint, write_pointer
from kgenre.cli.main import main
from kgenre.cli.next_step import print_next_command
from kgenre.data import FilmData

ALIKE = pytest.mark.one_backend("jax")
METRICS = ("loss", "precision", "recall", "f1_micro", "f1_macro", "map", "top3_hit")


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text())


def test_the_run_folder_is_complete(poster_run):
    names = {path.name for path in poster_run.iterdir()}
    expected = {"config.yaml", "metrics.csv", "metrics.json", "environment.json", "split.json", "genres.txt"}
    assert expected <= names
    assert any(name.startswith("events.out.tfevents.") for name in names)
    assert {"best", "last"} <= {path.name for path in (poster_run / "checkpoints").iterdir()}


def test_an_overview_run_saves_its_vocabulary(overview_run):
    words = (overview_run / "vocabulary.txt").read_text().splitlines()
    assert words[:2] == ["", "[UNK]"]
    assert len(words) > 50


def test_baselines_are_tested_with_the_model(poster_run):
    metrics = metrics_of(poster_run)
    for name in METRICS:
        for rival in ("", "baseline_frequency/", "baseline_tfidf/"):
            assert math.isfinite(metrics[f"test/{rival}{name}"])
    assert metrics["test/baseline_tfidf/loss"] < metrics["test/baseline_frequency/loss"]


def test_the_comparison_with_baselines_is_printed(poster_run, capsys):
    assert main(["test", "--ckpt_path", str(poster_run)]) == 0
    printed = capsys.readouterr()
    line = next(line for line in printed.err.splitlines() if line.startswith("test loss"))
    assert "genre frequencies" in line
    assert "tfidf" in printed.out
    assert "support" not in printed.out, "details stay out of the table"
    assert "/genre/" not in (poster_run / "metrics.csv").read_text().splitlines()[0]


@ALIKE
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("command", [["test", "--ckpt_path"], ["fuse", "--root=fused"]], ids=["test", "fuse"])
def test_results_are_saved_when_standard_output_is_on_a_full_disk(
    poster_run, in_tmp_path, capsys, monkeypatch, command
):
    (run := in_tmp_path / "version_0").mkdir()
    shutil.copytree(poster_run / "checkpoints", run / "checkpoints")
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main([*command, str(run)]) == 0
    said = "kgenre: standard output can no longer be written (No space left on device); the command continues."
    assert said in capsys.readouterr().err.splitlines()
    assert [path.name for path in in_tmp_path.rglob("predictions_test.csv")] == ["predictions_test.csv"]


@ALIKE
def test_the_config_is_complete_and_can_be_read_again(poster_run, capsys):
    config = yaml.safe_load((poster_run / "config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 2
    assert config["trainer"]["gradient_clip_val"] is None, "options that were left alone are written too"
    assert config["model"]["init_args"]["network"] == "poster_colours"
    assert main(["fit", "--config", str(poster_run / "config.yaml"), "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == config


@ALIKE
def test_print_config_can_skip_unset_or_default_options(poster_run, capsys):
    assert main(["fit", "--ckpt_path", str(poster_run), "--print_config=skip_null"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["init_args"]["network"] == "poster_colours"
    assert "gradient_clip_val" not in printed["trainer"]
    assert main(["fit", "--ckpt_path", str(poster_run), "--print_config=skip_default"]) == 0
    shorter = yaml.safe_load(capsys.readouterr().out)
    assert shorter["model"]["init_args"] == {"network": "poster_colours", "learning_rate": 0.01}
    assert main(["fit", "--ckpt_path", str(poster_run), "--print_config=skip_nil"]) == 2
    assert "--print_config takes skip_default, skip_unset, skip_null. Received: skip_nil" in capsys.readouterr().err


@ALIKE
def test_the_same_config_repeats_the_run(poster_run, tmp_path):
    arguments = ["fit", "--config", str(poster_run / "config.yaml"), "--trainer.default_root_dir", str(tmp_path)]
    assert main(arguments) == 0
    second = tmp_path / "posters" / "version_0"
    assert {n: v for n, v in metrics_of(second).items() if not n.startswith("throughput/")} == {
        n: v for n, v in metrics_of(poster_run).items() if not n.startswith("throughput/")
    }
    assert (second / "checkpoints" / "last").read_text() == (poster_run / "checkpoints" / "last").read_text()
    arrays = list(second.glob("checkpoints/step=*/weights.safetensors"))
    assert arrays
    for array in arrays:
        assert array.read_bytes() == (poster_run / array.relative_to(second)).read_bytes()


@ALIKE
@pytest.mark.parametrize("ckpt_path", ["run", "best", "last"])
def test_validate_uses_the_requested_checkpoint(poster_run, tmp_path, ckpt_path):
    run = shutil.copytree(poster_run, tmp_path / "version_0")
    with (run / "metrics.csv").open(newline="") as file:
        losses = [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]][:2]  # of the two epochs
    own = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    where = [str(run)] if ckpt_path == "run" else [ckpt_path, "--config", str(run / "config.yaml")]
    assert main(["validate", "--ckpt_path", *where]) == 0
    expected = losses[-1] if ckpt_path == "last" else min(losses)
    results = metrics_of(run / "validate")
    assert results["val/loss"] == pytest.approx(expected, rel=1e-5)
    assert "val/baseline_tfidf/recall" in results
    pointer = "last" if ckpt_path == "last" else "best"
    assert results["val/checkpoint"] == (run / "checkpoints" / pointer).read_text().strip()
    assert {path: path.read_bytes() for path in own} == own, "the values of the fit"


def test_predict_one_poster(poster_run, films, capsys):
    poster = next((films / "posters").glob("*.jpg"))
    assert main(["predict", "--ckpt_path", str(poster_run), "--poster", str(poster), "--json"]) == 0
    genres = json.loads(capsys.readouterr().out)["genres"]
    assert len(genres) == 3
    probabilities = [genre["probability"] for genre in genres]
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(0 < p < 1 for p in probabilities)
    names = (poster_run / "genres.txt").read_text().split("\n")
    assert all(genre["genre"] in names for genre in genres)


def test_predict_one_overview_as_text(overview_run, capsys):
    text = "A detective hunts a killer through the city."
    assert main(["predict", "--ckpt_path", str(overview_run), "--overview", text, "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(re.fullmatch(r"\S+ +0\.\d{3}(  predicted)?", line) for line in lines)
    assert lines[0].endswith("  predicted"), "above its threshold"


@ALIKE
def test_predicting_one_film_imports_no_slow_packages(poster_run, films, run_python):
    poster = next((films / "posters").glob("*.jpg"))
    script = (
        "import sys\nfrom kgenre.cli.main import main\n"
        f"main(['predict', '--ckpt_path', {str(poster_run)!r}, '--poster', {str(poster)!r}])\n"
        "print([name for name in ('tensorflow', 'sklearn', 'matplotlib') if name in sys.modules])\n"
        "import sklearn, matplotlib"
    )
    assert run_python(script, backend="jax").splitlines()[-1] == "[]"


def test_predict_many_agrees_with_predict_one(poster_run, films, unlabelled, tmp_path, capsys):
    many = ["predict", "--ckpt_path", str(poster_run), "--data.path", str(unlabelled)]
    assert main(many) == 0
    with (poster_run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert main([*many, "--out", str(tmp_path / "new" / "table.csv")]) == 0
    assert (tmp_path / "new" / "table.csv").read_bytes() == (poster_run / "predictions.csv").read_bytes()
    split = json.loads((poster_run / "split.json").read_text())
    seen = len({row["id"] for row in rows}.intersection(split["train"] + split["validation"]))
    assert seen
    assert f"{seen} of them were used to train or tune this model" in capsys.readouterr().out
    assert main([*many, "--out", str(tmp_path)]) == 1
    assert len(rows) == 5
    capsys.readouterr()
    poster = films / "posters" / f"{rows[0]['id']}.jpg"
    assert main(["predict", "--ckpt_path", str(poster_run), "--poster", str(poster), "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["genres"]
    assert rows[0]["top3"] == "|".join(genre["genre"] for genre in best)
    for genre in best:
        assert float(rows[0][genre["genre"]]) == pytest.approx(genre["probability"], abs=2e-5)


def test_predict_counts_the_films_that_could_be_predicted(poster_run, unlabelled, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(unlabelled, tmp_path / "films")
    poster = next((folder / "posters").iterdir())
    poster.write_bytes(poster.read_bytes()[:-600])  # damaged, but its header is intact
    monkeypatch.setattr("kgenre.data.poster_table._choose", lambda size, file: "stream")
    out = tmp_path / "table.csv"
    assert main(["predict", "--ckpt_path", str(poster_run), "--data.path", str(folder), "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 1 + 4
    assert f"4 films: {out}" in capsys.readouterr().out


def test_films_of_similar_length_are_predicted_together(overview_run, films, tmp_path, monkeypatch):
    predict = ["predict", "--ckpt_path", str(overview_run), "--data.path", str(films), "--out"]
    monkeypatch.setattr("kgenre.models.networks.NETWORKS", ())
    assert main([*predict, str(tmp_path / "in_order.csv")]) == 0
    monkeypatch.undo()
    monkeypatch.setattr("kgenre.data.batch_plan._BATCHES_PER_BUCKET", 1)
    used, choose = [], FilmData.batches_by_length
    monkeypatch.setattr(FilmData, "batches_by_length", lambda data: used.append(choose(data)) or used[0])
    assert main([*predict, str(tmp_path / "by_length.csv")]) == 0
    assert len(used[0].buckets.widths) > 1
    in_order, by_length = (
        list(csv.reader((tmp_path / name).read_text().splitlines())) for name in ("in_order.csv", "by_length.csv")
    )
    assert [row[:5] for row in by_length] == [row[:5] for row in in_order]
    probabilities = [np.array([row[5:] for row in table[1:]], float) for table in (in_order, by_length)]
    np.testing.assert_allclose(*probabilities, rtol=1e-5, atol=1e-7)


@ALIKE
def test_predict_without_genres_or_without_a_table(poster_run, unlabelled, tmp_path, capsys):
    with (unlabelled / "films.csv").open(newline="", encoding="utf-8") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    posters = tmp_path / "new" / "posters"
    shutil.copytree(unlabelled / "posters", posters)
    predicted = []
    for table in ("", "id,title\n" + "".join(f"{film_id},A film\n" for film_id in ids)):
        if table:
            (posters.parent / "films.csv").write_text(table)
        assert main(["predict", "--ckpt_path", str(poster_run), "--data.path", str(posters.parent)]) == 0
        with (poster_run / "predictions.csv").open(newline="") as file:
            predicted.append({row["id"]: row["top3"] for row in csv.DictReader(file)})
    assert list(predicted[1]) == ids
    assert predicted[0] == predicted[1]
    capsys.readouterr()
    assert main(["test", "--ckpt_path", str(poster_run), "--data.path", str(posters.parent)]) == 1
    assert "no film has a genre, so there is nothing to train or test on" in capsys.readouterr().err


@ALIKE
@pytest.mark.parametrize(("stage", "known"), [("test", 0), ("test", 1), ("validate", 0)])
def test_results_on_other_films_are_written_separately(stage, known, poster_run, films, tmp_path, capsys):
    """With one ``known`` test film of the run among them too."""
    run = shutil.copytree(poster_run, tmp_path / "version_0")
    own = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    other = shutil.copytree(films, tmp_path / "other")
    table = (films / "films.csv").read_text(encoding="utf-8")
    tested = json.loads((run / "split.json").read_text())["test"]
    but = "".join(f"(?!{film_id})" for film_id in tested[:known])
    (other / "films.csv").write_text(re.sub(f"^{but}sample", "x", table, flags=re.MULTILINE), encoding="utf-8")
    assert main([stage, "--ckpt_path", str(run), "--data.path", str(other)]) == 0
    results = run / f"{stage}_other"
    report = [f"Report: kgenre report {results}"] * (stage == "test")
    assert capsys.readouterr().out.splitlines()[-1 - len(report) :] == [
        f"Written to {results / 'metrics.json'}",
        *report,
    ]
    assert {path: path.read_bytes() for path in own} == own
    assert {path.name for path in run.iterdir()} - {path.relative_to(run).parts[0] for path in own} == {results.name}
    assert "data/train_films" not in metrics_of(results)
    assert yaml.safe_load((results / "config.yaml").read_text())["data"]["init_args"]["path"] == str(other)
    if stage == "test":
        # The model has seen the others, under different ids.
        assert metrics_of(results)["test/films"] == len(tested)
        assert (results / "predictions_test.csv").read_text().count("\nx") == len(tested) - known


@ALIKE
def test_films_that_a_fit_had_are_counted_although_some_are_missing_in_its_test(fit, films, tmp_path):
    network = ["--model.network", "poster_colours", "--data.overviews", "false", "--trainer.max_epochs", "1"]
    assert fit(tmp_path, *network, "--trainer.name", "posters") == 0
    run = tmp_path / "posters" / "version_0"
    split = json.loads((run / "split.json").read_text())
    of_fit = {f"data/{part}_films": len(split[part]) for part in ("train", "validation")}
    assert metrics_of(run).items() >= of_fit.items()
    fewer = shutil.copytree(films, tmp_path / "films")
    gone = {*split["train"][10:], *split["validation"][4:]}
    lines = (films / "films.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.split(",")[0] not in gone]
    (fewer / "films.csv").write_text("".join(kept), encoding="utf-8")
    assert main(["test", "--ckpt_path", str(run), "--data.path", str(fewer)]) == 0
    assert metrics_of(run).items() >= (of_fit | {"test/baseline_films": 10}).items()


@ALIKE
def test_the_last_checkpoint_is_tested_without_validation_films(fit, tmp_path):
    words = ["--model.network", "poster_colours", "--data.overviews", "false", "--data.val_fraction", "0"]
    assert fit(tmp_path, *words, "--trainer.name", "all", "--trainer.max_epochs", "1", "--test", "true") == 0
    assert metrics_of(tmp_path / "all" / "version_0")["test/checkpoint"] == "step=000003"


@ALIKE
def test_fast_dev_run_writes_nothing(fit, tmp_path):
    network = ["--model.network", "poster_colours", "--data.overviews", "false"]
    assert fit(tmp_path, "--trainer.fast_dev_run", "1", *network) == 0
    assert list(tmp_path.iterdir()) == []


def test_metrics_json_is_complete(poster_run):
    metrics = metrics_of(poster_run)
    for name in ("tuned_f1_micro", "per_genre_tuned_f1_macro", "roc_auc", "lrap", "ece", "top3_precision"):
        assert math.isfinite(metrics[f"test/{name}"])
        assert metrics[f"test/interval/{name}/low"] <= metrics[f"test/{name}"] <= metrics[f"test/interval/{name}/high"]
    genres = (poster_run / "genres.txt").read_text().split("\n")[:-1]
    assert sum(metrics[f"test/genre/{genre}/support"] for genre in genres) > metrics["test/films"] > 0
    assert all(f"test/genre/{genre}/threshold" in metrics for genre in genres)
    gained = metrics["test/f1_micro"] - metrics["test/baseline_top3/f1_micro"]
    assert metrics["test/difference/baseline_top3/f1_micro"] == pytest.approx(gained)
    assert (
        metrics["test/difference/baseline_top3/f1_micro/low"] <= metrics["test/difference/baseline_top3/f1_micro/high"]
    )
    assert "test/baseline_top3/loss" not in metrics, "decisions have no loss"
    assert metrics["data/test_films"] == metrics["test/films"]
    assert metrics["model/parameters"] > 1e3


def test_predictions_use_the_thresholds_of_the_checkpoint(poster_run):
    pointer = (poster_run / "checkpoints" / "best").read_text().strip()
    state = json.loads((poster_run / "checkpoints" / pointer / "state.json").read_text())
    thresholds = state["classifier"]["thresholds"]["per_genre"]
    with (poster_run / "predictions_test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        above = [genre for genre, threshold in thresholds.items() if float(row[genre]) > threshold]
        assert row["predicted"] == "|".join(above)


@ALIKE
@pytest.mark.parametrize(
    ("base", "pointers", "suggested"),
    [(BoringModule, ["last"], True), (BoringModule, [], False), (kgenre.Module, ["last"], False)],
)
def test_a_test_is_suggested_if_the_run_can_be_tested(base, pointers, suggested, tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    for name in pointers:
        (tmp_path / "checkpoints" / name).touch()
    state = SimpleNamespace(fn="fit")
    print_next_command(SimpleNamespace(run_dir=tmp_path, results_dir=None, module=base(), state=state))
    assert capsys.readouterr().out == f"Test: kgenre test --ckpt_path {tmp_path}\n" * suggested


def test_a_resumed_run_keeps_its_films_and_arguments(poster_run, films, tmp_path, capsys):
    run = shutil.copytree(poster_run, tmp_path / "course" / "version_0")
    text = (run / "config.yaml").read_text().replace("seed_everything: 0", "seed_everything: 5")
    (run / "config.yaml").write_text(text)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    config = tmp_path / "course.yaml"
    config.write_text(
        "model: {init_args: {network: poster_colours}}\ndata: {init_args: {path: null, overviews: false}}\n"
        f"trainer: {{name: course, default_root_dir: '{tmp_path}', max_epochs: 2}}\n"
    )
    other = shutil.copytree(films, tmp_path / "other")
    table = (films / "films.csv").read_text(encoding="utf-8")
    (other / "films.csv").write_text(re.sub("^sample", "x", table, flags=re.MULTILINE), encoding="utf-8")
    for command in ("fit", "test"):
        capsys.readouterr()
        assert main([command, "--config", str(config), "--data.path", str(other), "--ckpt_path", "last"]) == 1
        (refusal,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("kgenre: ")]
        assert refusal.startswith(f"kgenre: None of these 120 films is in the split of {run}{os.sep}")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    seeds = ["--data.split_seed=7", "--seed_everything=9", "--data.seed=3"]
    assert main(["fit", "--config", str(config), "--ckpt_path", "last", *seeds]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == f"Test: kgenre test --ckpt_path {run}"
    assert "sample films" not in printed.err
    assert "The checkpoint's settings replace the given ones: split_seed=0 (given: 7).\n" in printed.err
    assert "The run keeps the seed that it was started with: seed_everything=5 (given: 9).\n" in printed.err
    assert "Nothing is left to train: epochs done: 2, steps: 6, with max_epochs=2" in printed.err
    used = yaml.safe_load((run / "config.yaml").read_text())
    assert used["data"]["init_args"]["path"] == str(films)
    assert used["seed_everything"] == 5
    assert {name: used["data"]["init_args"][name] for name in ("batch_size", "split_seed", "seed")} == {
        "batch_size": 32,
        "split_seed": 0,
        "seed": 3,
    }
    assert used["model"]["init_args"]["learning_rate"] == 0.01
    assert main(["fit", "--ckpt_path", str(run), "--trainer.max_epochs", "1"]) == 0
    used = yaml.safe_load((run / "config.yaml").read_text())
    assert used["ckpt_path"] is None, "the config repeats the run from its start"


@ALIKE
def test_last_with_the_runs_own_config_falls_back_to_an_intact_checkpoint(poster_run, tmp_path, capsys):
    run = shutil.copytree(poster_run, tmp_path / "version_0")
    intact = run / "checkpoints" / (run / "checkpoints" / "last").read_text().strip()
    damaged = write_checkpoint(read_checkpoint(intact), run / "checkpoints" / "step=000999")
    write_pointer(run / "checkpoints", "last", damaged)
    (damaged / "weights.safetensors").write_bytes(b"")
    assert main(["fit", "--config", str(run / "config.yaml"), "--ckpt_path", "last"]) == 0
    assert f"Falling back to {intact}." in capsys.readouterr().err


@ALIKE
def test_without_checkpoints_the_current_weights_are_tested(fit, tmp_path, capsys):
    network = ["--model.network", "poster_colours", "--data.overviews", "false", "--trainer.max_epochs", "1"]
    assert fit(tmp_path, *network, "--trainer.enable_checkpointing", "false", "--test", "true") == 0
    assert "test loss" in capsys.readouterr().err
