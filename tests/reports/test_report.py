"""The report: numbers from metrics.json, the same bytes each time, and refusal of runs that cannot be compared."""

import csv
import dataclasses
import errno
import html
import io
import json
import math
import re
import shutil
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from boring import quiet_trainer
from markdown_it import MarkdownIt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from scipy.stats import t as student_t

from kgenre import checkpoints
from kgenre.checkpoints import Checkpoint, write_checkpoint, write_pointer
from kgenre.cli.main import main
from kgenre.cli.predict import _table_path
from kgenre.data import FilmData, FilmTable, make_sample_films
from kgenre.data.text_words import TextWords
from kgenre.evaluation import Thresholds, bootstrap_metrics, fonts, genre_metrics, intervals, multilabel_metrics
from kgenre.evaluation.baseline_comparison import DIFFERENCES
from kgenre.evaluation.evaluation import Evaluation
from kgenre.evaluation.film_predictions import write_predictions
from kgenre.evaluation.random_order import compare_with_random_order
from kgenre.models import explanations, trained_classifier
from kgenre.reports import ReportError, examples, read_runs, sentences, write_report
from kgenre.reports.blocks import Bullets, Figure, Film, Films, Guess, Heading, Paragraph, Table
from kgenre.reports.example_films import _words, choose_films, example_films
from kgenre.reports.figures import curves_figure, genres_figure
from kgenre.reports.html import to_html
from kgenre.reports.learning_curve import learning_curve
from kgenre.reports.markdown import to_markdown
from kgenre.reports.model_card import model_card
from kgenre.reports.numbers import Numbers
from kgenre.reports.options import differing_options
from kgenre.reports.pdf import to_pdf
from kgenre.reports.report import _chosen, report_blocks
from kgenre.reports.run_difference import (
    Difference,
    _discovery_level,
    baseline_difference,
    genre_differences,
    random_order,
    run_differences,
)
from kgenre.reports.sentences import next_steps, thresholds, training
from kgenre.reports.tables import differences, results, training_table
from kgenre.reports.tested_checkpoint import checkpoint_of_test, untested_bests
from kgenre.reports.verdicts import COMPARED, against_baselines, better_run, headline, learning_verdict, per_genre

pytestmark = pytest.mark.one_backend("tensorflow")
GENRES = ("Comedy", "Drama", "N/A", "War")


TITLE = "A <b>title</b>"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = make_sample_films(tmp_path_factory.mktemp("films") / "films", n=80)
    write_films(folder, [row | {"title": TITLE} for row in films_of(folder)])
    return folder


def films_of(folder):
    with (folder / "films.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_films(folder, rows):
    with (folder / "films.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def make_run(
    folder,
    films,
    skill,
    validation=(0.6, 0.5, 0.4),
    genres=GENRES,
    tested=40,
    fit=lambda i: 0.7 / (i + 1),
    shares=(0.5, 0.4, 0.0, 0.1),
):
    """Write the folder that `kgenre fit --test true` leaves, for a model of a given skill, and return it."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    ids = [f"sample{i:05d}" for i in range(80)]
    true = rng.random((tested, len(genres))) < np.resize(shares, len(genres))
    noise = rng.normal(size=true.shape)
    prob = 1 / (1 + np.exp(-(skill * (2 * true - 1) + 0.5 * noise - 0.5)))
    table = FilmTable(
        tuple(ids[:tested]), (TITLE,) * tested, (None,) * tested, ("",) * tested,
        true.astype("uint8"), genres, (None,) * tested,
    )  # fmt: skip
    thresholds = Thresholds(0.4, (0.4,) * len(genres))
    write_predictions(folder / "predictions_test.csv", table, prob, thresholds)
    metrics = {"test/films": tested, "test/threshold": 0.4, "model/parameters": 12345}
    metrics |= {f"data/{part}_films": n for part, n in (("train", 30), ("validation", 10), ("test", tested))}
    own = multilabel_metrics(true, prob, thresholds=thresholds)
    metrics |= {f"test/{name}": value for name, value in own.items()}
    for name, ends in intervals(bootstrap_metrics(true, prob, thresholds, rounds=50), own).items():
        metrics |= {f"test/interval/{name}/{end}": value for end, value in zip(("low", "high"), ends, strict=True)}
    for name, values in genre_metrics(true, prob, thresholds=thresholds).items():
        metrics |= {f"test/genre/{g}/{name}": v for g, v in zip(genres, values, strict=True)}
    for key, base in (("frequency", true.mean(axis=0) + 0.01), ("tfidf", np.clip(0.3 + 0.4 * true, 0, 1))):
        theirs = multilabel_metrics(true, np.broadcast_to(base, true.shape), thresholds=thresholds)
        metrics |= {f"test/baseline_{key}/{name}": value for name, value in theirs.items()}
        for name in DIFFERENCES:
            difference = own[name] - theirs[name]
            ends = (("", difference), ("/low", difference - 0.01), ("/high", difference + 0.01))
            metrics |= {f"test/difference/baseline_{key}/{name}{end}": value for end, value in ends}
    clean = {name: float(v) if np.isfinite(v) else None for name, v in metrics.items()}
    (folder / "metrics.json").write_text(json.dumps(clean))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["step", "train/loss", "val/loss", "val/baseline_frequency/loss", "throughput/seconds_per_epoch"]
        )
        writer.writerows([10 * (i + 1), fit(i), v, 0.55, 2.5] for i, v in enumerate(validation))
    (folder / "config.yaml").write_text(
        "model: {class_path: kgenre.models.GenreClassifier, init_args: {network: poster_cnn_2024}}\n"
        f"data: {{init_args: {{path: '{films}', format: auto, batch_size: 32}}}}\nseed_everything: 3\n"
    )
    (folder / "split.json").write_text(json.dumps({"seed": 0, "train": ids[40:70], "validation": [], "test": ids[:40]}))
    machine = {"backend": "jax", "devices": ["cpu:0"], "cpus": 2, "versions": {"keras": "3", "jax": "0"}}
    (folder / "environment.json").write_text(json.dumps(machine))
    return folder


@pytest.fixture(scope="module")
def runs(films, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [make_run(root / "good" / "version_0", films, 1.0), make_run(root / "poor" / "version_1", films, 0.1)]


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    return write_report(runs, tmp_path_factory.mktemp("report"), explain=False)


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the figures, which take half of a report's time: for tests of its texts."""
    for figure in ("curves_figure", "genres_figure"):
        monkeypatch.setattr(f"kgenre.reports.report.{figure}", lambda runs: b"")


def test_all_files_are_there(report):
    names = {path.name for path in report.iterdir()}
    assert {"report.html", "report.md", "report.pdf", "model_card.md", "report.json", "genres.png"} <= names


def test_every_number_comes_from_metrics_json(report, runs):
    said = json.loads((report / "report.json").read_text())
    metrics = {run.parent.name: json.loads((run / "metrics.json").read_text()) for run in runs}
    compared = 0
    for name, number in said.items():
        run, _, metric = name.partition(": ")
        if metric.startswith(("test/", "data/", "model/")):
            assert number["value"] == metrics[run][metric]
            assert float(number["printed"].replace(",", "")) == pytest.approx(metrics[run][metric], abs=0.006)
            compared += 1
    assert compared > 60
    printed = {number["printed"] for number in said.values()}
    for file in ("report.md", "model_card.md"):
        text = (report / file).read_text()
        text = text.split("## Example films")[0] if file == "report.md" else text
        numbers = re.findall(r"(?<![\w.])[+-]?\d+\.\d+", text)
        assert len(numbers) > 5
        assert not {number for number in numbers if number not in printed and number != "0.5"}, "a number from nowhere"


def test_the_same_runs_give_the_same_bytes(report, runs, tmp_path):
    again = write_report(runs, tmp_path / "again", explain=False)
    for path in report.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_a_report_that_cannot_be_written_leaves_the_earlier_one_whole(report, runs, tmp_path, monkeypatch):
    out, write = shutil.copytree(report, tmp_path / "out"), Path.write_bytes
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def write_half(path, content):
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="No space left on device"):
        write_report(runs, out, explain=False)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_html_is_self_contained_and_escapes_titles(report):
    html = (report / "report.html").read_text()
    assert "A &lt;b&gt;title&lt;/b&gt;" in html
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert html.count("data:image/png") == 2
    assert html.count('alt="poster of A &lt;b&gt;title&lt;/b&gt;"') == 6, "the example films' posters"
    assert not re.search(r"[; {]color: *(#|var)", html), "a fixed grey is too faint on white or on a dark page"


def test_pdf_has_two_or_three_pages_of_a4(report):
    content = (report / "report.pdf").read_bytes()
    pages = len(re.findall(rb"/Type /Page\b", content))
    assert pages in (2, 3)
    assert b"/MediaBox [ 0 0 595.2756 841.8898 ]" in content


def test_pictures_of_the_markdown_exist(report):
    names = re.findall(r"\]\((.+?)\)", (report / "report.md").read_text())
    assert set(names) == {path.name for path in report.iterdir() if path.suffix in (".png", ".jpg")}
    assert "learning_curves.png" in names
    assert all((report / name).stat().st_size > 500 for name in names)


def test_the_verdict_follows_from_the_numbers(runs):
    good, poor = read_runs(runs)
    assert "beats the genre frequencies" in headline([good], Numbers())
    assert "poor is worse than the genre frequencies" in headline([poor], Numbers())
    base = "test/difference/baseline_frequency/loss"
    level = dataclasses.replace(good, metrics=good.metrics | {f"{base}/low": -0.1, f"{base}/high": 0.1})
    assert "good is not significantly different from the genre frequencies" in headline([level], Numbers())
    assert headline([good, poor], Numbers()).startswith("Only good beats")
    same = [dataclasses.replace(run, name=name) for run in (good, poor) for name in "abc"]
    for of, said in ((same[:2], "Both models beat"), (same[:3], "All models beat")):
        assert headline(of, Numbers()).startswith(f"{said} the genre frequencies")
    for of, said in ((same[3:5], "Neither model"), (same[3:], "None of the models")):
        assert headline(of, Numbers()).startswith(f"{said} beats the genre frequencies")
    first, second = (dataclasses.replace(r, metrics=r.metrics | {"test/map": v}) for r, v in ((good, 0.5), (poor, 0.7)))
    assert " poor ranks best (mAP 0.700; good: 0.500)." in headline([first, second], Numbers())
    assert "ranks best" not in headline([good], Numbers())
    few = dataclasses.replace(good, metrics=good.metrics | {"test/films": 3})
    said = [headline([run], Numbers()) for run in (good, few)]
    assert ["3 test films are too few to judge by" in text for text in said] == [False, True]
    steps = next_steps([good, poor])
    assert any("still falling" in step for step in steps)


def test_thresholds_that_change_nothing_and_find_everything(runs):
    run, _ = read_runs(runs)
    macro = {f"test/{prefix}f1_macro": 0.5 for prefix in ("", "per_genre_tuned_")}
    same = run.metrics | {"test/f1_micro": 0.70004, "test/tuned_f1_micro": 0.70001} | macro
    said = thresholds(dataclasses.replace(run, metrics=same), Numbers())
    assert said.startswith("good finds Comedy, Drama and War at the usual threshold of 0.5. ")
    assert "leaves micro-F1 at 0.700; one threshold per genre leaves macro-F1 at 0.500" in said
    assert "Micro-F1 is lower" not in said
    lower = same | {"test/tuned_f1_micro": 0.6, "test/genre/War/f1": 0.0}
    said = thresholds(dataclasses.replace(run, metrics=lower), Numbers())
    assert "finds only Comedy and Drama" in said
    assert "changes micro-F1 from 0.700 to 0.600" in said
    assert "Micro-F1 is lower with it" in said
    untuned = {name: value for name, value in run.metrics.items() if "tuned" not in name and name != "test/threshold"}
    never = dataclasses.replace(run, metrics=untuned)
    assert thresholds(never, Numbers()).endswith(
        ". It has no tuned thresholds: there were no validation films to tune them on."
    )
    assert set(run_differences(never, run, list(COMPARED))[0]) == {"loss", "map"}


def test_markup_in_names_is_shown_as_it_is(films, tmp_path, undrawn):
    names = ("a_b*", "<i>War</i>", "a\\*b", "&lt;", "~~Comedy~~", "[Drama](x)", "R&B", "`x`")
    (run,) = read_runs([make_run(tmp_path / "*r*<b>" / "version_0", films, 1.0, genres=names)])
    card, numbers = model_card(run, Numbers()), Numbers()
    pages = {"card": card, "report": to_markdown(report_blocks([run], numbers, 0, explain=False))[0]}
    for text in pages.values():
        shown = html.unescape(re.sub("<.*?>", "", MarkdownIt().enable("strikethrough").render(text)))
        assert all(name in shown for name in (*run.present_genres, "*r*<b>"))


@pytest.mark.parametrize("name", ["1. ", "2) run", "- run", "+ run", "1. run", "3."])
def test_names_of_runs_are_no_lists(films, tmp_path, undrawn, name):
    (run,) = read_runs([make_run(tmp_path / name / "version_0", films, 1.0)])
    assert run.name == name
    text = to_markdown([Paragraph(name), Bullets((f"{name} is a run",)), *report_blocks([run], Numbers(), 0, False)])[0]
    page = MarkdownIt().render(text)
    assert "<ol>" not in page
    assert "<li>\n<ul>" not in page
    assert page.startswith(f"<p>{name.strip()}</p>\n<ul>\n<li>{name.strip()}")


def test_a_test_without_any_genre_has_no_figure_of_genres(films, tmp_path):
    (run,) = read_runs([make_run(tmp_path / "none" / "version_0", films, 1.0, shares=[0.0])])
    assert run.present_genres == []
    text, pictures = to_markdown(report_blocks([run], Numbers(), 0, explain=False))
    assert set(pictures) == {"learning_curves.png"}
    assert "Example films" not in text
    assert "No test films, so not part of any average over genres: Comedy, Drama, N/A, War." in text


def test_dollar_signs_in_names_are_no_formulas_in_the_figures(films, tmp_path):
    (run,) = read_runs([make_run(tmp_path / "a_$x^$" / "version_0", films, 1.0, genres=["$_$", "Drama"])])
    assert genres_figure([run])
    assert curves_figure([run])


def test_pages_stay_legible_with_hundreds_of_tags(films, tmp_path):
    tags = [f"tag{i}" for i in range(300)]
    (run,) = read_runs([make_run(tmp_path / "tags" / "version_0", films, 1.0, genres=tags)])
    width, height = Image.open(io.BytesIO(genres_figure([run]))).size
    assert height < width, "beside its text on a page it is not made smaller"
    said = " ".join(per_genre([run], Numbers()))
    assert len(said) < 1000
    assert "77 genres, such as tag2, tag6, tag10" in said, "those without a film"
    assert len(model_card(run, Numbers())) < 4000
    pages = report_blocks([run], Numbers(), films=0, explain=False)
    assert any(
        "Only the 45 most frequent of 223 genres" in block.caption for block in pages if isinstance(block, Figure)
    )


def test_ranking_leaves_out_a_genre_that_every_film_has(films, tmp_path):
    (run,) = read_runs([make_run(tmp_path / "run" / "version_0", films, 0.1)])
    assert "Drama (" in " ".join(per_genre([run], Numbers()))
    run.metrics["test/genre/Drama/support"] = run.metrics["test/films"]
    assert "Drama (" not in " ".join(per_genre([run], Numbers()))


def test_fusing_is_suggested_until_it_is_done(runs):
    run, _ = read_runs(runs)
    text, poster, both = (
        dataclasses.replace(run, config={"model": {"init_args": {"network": network}}})
        for network in ("overview_words", "poster_resnet", "fused")
    )
    assert any("kgenre fuse" in step for step in next_steps([text, poster]))
    assert not any("kgenre fuse" in step for step in next_steps([text]) + next_steps([text, poster, both]))


def test_curve_ended_by_a_schedule_is_not_called_falling(runs):
    run, _ = read_runs(runs)
    ended = dataclasses.replace(run, config={"model": {"init_args": {"schedule": "cosine"}}})
    assert learning_curve(run).state == learning_curve(ended).state == "falling"
    assert "still falling" in training(run, Numbers()) + next_steps([run])[0]
    assert "rate had decayed to 0" in training(ended, Numbers())
    assert "over more epochs" in next_steps([ended])[0]
    for more, ran_out in (
        ({"trainer": {"max_epochs": 3, "max_steps": -1}}, True),
        ({"trainer": {"max_epochs": None, "max_steps": 30}}, True),
        ({"trainer": {"max_epochs": 26, "max_steps": -1}}, False),  # stopped early
        ({"optimizer": {"class_path": "SGD", "init_args": {}}}, False),  # has no schedule
    ):
        said = training(dataclasses.replace(ended, config=ended.config | more), Numbers())
        assert ("rate had decayed to 0" in said, "still falling" in said) == (ran_out, not ran_out)


def test_genre_differences_are_corrected_for_multiple_tests(runs):
    """Compared separately, one genre in twenty would differ by chance."""
    good, poor = read_runs(runs)
    alone, together = (genre_differences(good, poor, genres) for genres in (["Drama"], ["Drama", "Comedy", "War"]))
    one, of_three = alone["Drama"], together["Drama"]
    assert one.value == of_three.value == pytest.approx((one.low + one.high) / 2)
    column = [good.genre_names.index("Drama")]
    rounds = [
        bootstrap_metrics(r.predictions.true[:, column], r.predictions.prob[:, column])["map"] for r in (good, poor)
    ]
    error, positives = np.std(rounds[0] - rounds[1], ddof=1), good.support("Drama")
    assert one.high - one.low == pytest.approx(2 * student_t(positives - 1).isf(0.025) * error)
    assert one.high - one.low > 2 * 1.96 * error, "few films have the genre"
    assert of_three.high - of_three.low >= one.high - one.low
    for sizes, found in (
        ((2.2, 1.0, 0.5, 0.1), 0),
        ((3.5, 2.2, 2.1, 1.0), 3),
        ((3.5, 2.2, 1.9, 1.0), 1),
        ((3.5, 2.6, 2.4, 2.2), 4),
        ((2.0,), 1),
    ):
        p = [2 * NormalDist().cdf(-size) for size in sizes]
        assert sum(value < _discovery_level(p) for value in p) == found
    nobody = genre_differences(good, poor, ["N/A", "Drama"])
    assert nobody["N/A"].verdict == "level"
    assert nobody["Drama"] == one, "a genre that no common test film has is not a comparison"


def test_genres_that_one_of_two_runs_is_ahead_for(runs, monkeypatch):
    good, poor = read_runs(runs)
    ahead, behind, level = (Difference(value, value - 0.1, value + 0.1) for value in (0.2, -0.2, 0.0))

    def said(comedy, drama):
        found = {"Comedy": comedy, "Drama": drama}  # War has too few films
        monkeypatch.setattr("kgenre.reports.verdicts.genre_differences", lambda *_: found)
        return " ".join(per_genre([good, poor], Numbers()))

    ap = [f"{run.genre('Drama', 'ap'):.2f}" for run in (good, poor)]
    one = f"good is ahead for Drama ({ap[0]} against {ap[1]}); for the other 1 the difference is not significant."
    assert one in said(level, ahead)
    assert f"; poor is ahead for Drama ({ap[1]} against {ap[0]}). " in said(ahead, behind)
    assert "no genre's average precision differs significantly." in said(level, level)


def test_limited_epochs_are_mentioned(runs):
    run, _ = read_runs(runs)

    def told(**trainer):
        limited = dataclasses.replace(run, config={"trainer": trainer})
        return " ".join(str(block) for block in report_blocks([limited], Numbers(), 0, False))

    assert f"{run.name} trained with limit_train_batches=2: an epoch may not" in told(limit_train_batches=2)
    assert f"{run.name} trained with limit_train_batches=1: an epoch may not" in told(limit_train_batches=1)
    assert f"{run.name} trained with overfit_batches=0.5: an epoch may not" in told(overfit_batches=0.5)
    assert "an epoch may not" not in told(limit_train_batches=1.0, overfit_batches=0) + told()


def test_advice_to_train_longer_lifts_other_limits(runs):
    run, _ = read_runs(runs)
    ended = dataclasses.replace(run, config={"trainer": {"max_steps": 30, "max_time": "00:01:00:00"}})
    plain = next_steps([run])[0]
    assert "train longer: kgenre fit --config" in plain
    assert plain.endswith("--trainer.max_epochs 10")
    assert next_steps([ended])[0] == f"{plain} --trainer.max_steps -1 --trainer.max_time null"


def test_learning_curve_states(films, tmp_path):
    cases = {"overfitted": (0.5, 0.4, 0.45), "falling": (0.5, 0.45, 0.4), "level": (0.5, 0.4, 0.401, 0.402, 0.401)}
    for state, validation in (cases | {"flat": (0.5, 0.501, 0.499)}).items():
        (run,) = read_runs([make_run(tmp_path / state / "version_0", films, 0.5, validation)])
        assert learning_curve(run).state == state
    assert "it hardly changed" in training(run, Numbers())
    assert "learning rate" in next_steps([run])[0]
    never = dataclasses.replace(run, rows=[])
    assert "it has no learning curve" in training(never, Numbers())
    assert "learning rate" not in " ".join(next_steps([never]))
    jumps = (0.41, 0.37, 0.36, 0.35, 0.35, 0.35, 0.345, 0.34, 0.313, 0.317, 0.312, 0.328, 0.322)
    (run,) = read_runs([make_run(tmp_path / "jumps" / "version_0", films, 0.5, jumps, fit=lambda i: 0.3 - 0.002 * i)])
    assert learning_curve(run).state == "falling", "two epochs above the best are no overfitting here"
    assert "epoch 11 of 13: it was still falling when training stopped, although it fluctuates" in training(
        run, Numbers()
    )
    waited = (*jumps, 0.321, 0.32, 0.318, 0.317)
    (run,) = read_runs([make_run(tmp_path / "waited" / "version_0", films, 0.5, waited, fit=lambda i: 0.3 - 0.002 * i)])
    assert learning_curve(run).state != "falling", "six epochs without a new best"
    (run,) = read_runs([tmp_path / "overfitted" / "version_0"])
    assert "0.4000, was reached at epoch 2 of 3" in training(run, Numbers())
    assert "rose by 12.5 %" in training(run, Numbers())


def test_epochs_without_validation_count_too(runs):
    run, _ = read_runs(runs)
    losses = ((0.6,), (0.5, 0.45), (0.4,), (0.3, 0.5), (0.2,))  # check_val_every_n_epoch 2
    rows = [dict(zip(("train/loss", "val/loss"), of, strict=False)) | {"step": n + 1} for n, of in enumerate(losses)]
    rare = dataclasses.replace(run, rows=rows)
    assert "was reached at epoch 2 of 5; then the training loss kept falling" in training(rare, Numbers())
    assert training_table([rare], Numbers()).rows[0][5:7] == ("5", "2")
    assert curves_figure([rare]) is not None
    falling = [{"step": n + 1, "train/loss": loss} for n, loss in enumerate(np.linspace(0.6, 0.25, 8))]
    for row in falling[1::2]:
        row["val/loss"] = row["train/loss"]
    assert "--trainer.max_epochs 16" in next_steps([dataclasses.replace(run, rows=falling)])[0]
    never = dataclasses.replace(run, rows=rows[:1])
    assert "it has no learning curve" in training(never, Numbers())
    assert training_table([never], Numbers()).rows[0][5:7] == ("1", "–")


def test_legend_of_several_runs_is_black(runs, monkeypatch):
    monkeypatch.setattr("kgenre.reports.figures._png", lambda figure: figure)
    for given, colours in ((runs[:1], {"#0072B2"}), (runs[:2], {"black"})):
        [legend] = curves_figure(read_runs(given)).legends
        assert {mark.get_color() for mark in legend.legend_handles[:3]} == colours


def test_bars_stand_out_from_white_paper(runs, monkeypatch):
    monkeypatch.setattr("kgenre.reports.figures._png", lambda figure: figure)
    bars = [bar for panel in genres_figure(read_runs(runs)).axes for bar in panel.patches]
    assert len(bars) == 3 * 3, "of chance, F1 at 0.5 and F1 at tuned thresholds"
    outlines = [bar.get_edgecolor() if bar.get_edgecolor()[3] else bar.get_facecolor() for bar in bars]
    linear = np.array(outlines)[:, :3] ** 2.2
    assert max(linear @ (0.2126, 0.7152, 0.0722)) < 0.3, "a contrast of 3 to 1, as WCAG 2 asks"


def test_legend_has_runs_whose_name_begins_with_an_underscore(films, tmp_path, monkeypatch):
    monkeypatch.setattr("kgenre.reports.figures._png", lambda figure: figure)
    names = ["_mine", "_", "other"]
    [legend] = genres_figure(read_runs([make_run(tmp_path / name / "version_0", films, 1.0) for name in names])).legends
    assert {*names} < {text.get_text().strip() for text in legend.get_texts()}


def test_both_backends_of_a_resumed_run_are_named(films, tmp_path, undrawn):
    folder = make_run(tmp_path / "version_0", films, 1.0)
    versions = {"keras": "3", "jax": "0.9", "tensorflow": "2.21"}
    used = {"backend": "tensorflow", "backends": ["jax", "tensorflow"], "versions": versions}
    (folder / "environment.json").write_text(json.dumps(used))
    (run,) = read_runs([folder])
    assert "Keras 3 on jax 0.9, then tensorflow 2.21 (" in to_markdown(report_blocks([run], Numbers(), 0, False))[0]
    assert "Keras 3 on jax, then tensorflow." in model_card(run, Numbers())


@pytest.mark.parametrize(
    "edited",
    [
        {name: value}
        for name in ("backend", "backends", "devices", "git_commit", "time", "versions")
        for value in (True, [1], {})
    ],
    ids=str,
)
def test_an_edited_environment_does_not_end_the_report(films, tmp_path, undrawn, edited):
    folder = make_run(tmp_path / "version_0", films, 1.0)
    (folder / "environment.json").write_text(json.dumps({"backend": "jax", "devices": ["cpu:0"]} | edited))
    (run,) = read_runs([folder])
    assert "kgenre" in to_markdown(report_blocks([run], Numbers(), 0, False))[0]
    assert "Keras" in model_card(run, Numbers())


def test_names_fit_into_the_figures(films, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr("kgenre.reports.figures._png", lambda figure: figure)
    names = ("poster_cnn_2024", "poster_resnet_colours", "overview_lstm_pooled", "posters_and_overviews", "x" * 30, "y")
    genres = ("A whole sentence in the column of genres, as long as some overviews are, by mistake", "War", "Drama")
    runs = read_runs([make_run(tmp_path / n / "version_0", films, 1.0, (0.5,), genres) for n in names])
    curves, by_genre = curves_figure(runs), genres_figure(runs)
    for figure in (curves, by_genre):
        FigureCanvasAgg(figure).draw()
        drawn = [figure.legends[0], *(panel.title for panel in figure.axes)]
        drawn += [label for panel in figure.axes for label in (panel.xaxis.label, *panel.get_yticklabels())]
        outside = [one for one in drawn if not figure.bbox.padded(1).containsx(one.get_window_extent().x0)]
        outside += [one for one in drawn if not figure.bbox.padded(1).containsx(one.get_window_extent().x1)]
        assert not outside
    assert not [warning for warning in recwarn if "constrained_layout" in str(warning.message)]
    titles = [panel.title.get_window_extent() for panel in curves.axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(titles))
    longer = dataclasses.replace(runs[0], rows=[runs[0].rows[0] | {"step": 10 * n} for n in range(1, 5)])
    for drawn, least in ((curves, 1), (curves_figure([longer, *runs[1:]]), 2)):
        (before, after), ticks = drawn.axes[0].get_xlim(), drawn.axes[0].get_xticks()
        shown = [tick for tick in ticks if before <= tick <= after]
        assert len(shown) >= least
        assert all(tick == round(tick) for tick in shown), "whole epochs"


def test_validations_inside_an_epoch_are_in_the_curve(films, tmp_path):
    folder = make_run(tmp_path / "version_0", films, 0.5)
    rows = ["4,,0.6", "8,,0.55", "10,0.7,", "12,,0.5", "15,,0.3", "20,0.5,0.4", "25,,0.45"]  # two epochs and a half
    (folder / "metrics.csv").write_text("step,train/loss,val/loss\n" + "\n".join(rows) + "\n")
    (run,) = read_runs([folder])
    curve = learning_curve(run)
    assert curve.epochs == pytest.approx((0.4, 0.8, 1.2, 1.5, 2, 2.5))
    assert curve.validation == (0.6, 0.55, 0.5, 0.3, 0.4, 0.45)
    assert curve.train == (0.7, 0.5)
    assert "0.3000, was reached at epoch 1.5 of 2" in training(run, Numbers())
    assert training_table([run], Numbers()).rows[0][5:7] == ("2", "1.5")
    assert curves_figure([run]) is not None


def test_difference_of_nan_is_level():
    undefined = Difference(math.nan, math.nan, math.nan)
    assert undefined.verdict == "level"
    numbers = Numbers()
    table = differences([], {"a – b": {"loss": Difference(0.1, 0.05, 0.2, True), "map": undefined}}, numbers)
    assert table.rows == (("a – b", "+0.1000 (+0.0500 to +0.2000) ▼", "–", "–"),)
    assert not [number for number in numbers.recorded.values() if math.isnan(number["value"])], "JSON has no NaN"


def test_imbalance_of_many_genres_is_described(films, tmp_path):
    genres = ("Comedy", "Drama", "Film-Noir", "War", "Action", "Crime", "News", "Horror")
    (run,) = read_runs([make_run(tmp_path / "many" / "version_0", films, 3.0, genres=genres)])
    said = sentences.data([run], Numbers())
    assert re.search(r"are (Comedy|Action) \(\d+ %\) and .*; the rarer half, 3 of 6, makes up \d+ %", said)
    assert "finds 6 of 6 genres at the usual threshold" in sentences.thresholds(run, Numbers())


def test_a_genre_without_test_films_is_named_and_left_out(report):
    text = (report / "report.md").read_text()
    assert "not part of any average over genres: N/A" in text


def test_results_are_listed_with_baselines(runs, undrawn):
    blocks = report_blocks(read_runs(runs), Numbers(), 0, False)
    assert any("good has a significantly lower loss than poor" in str(b) for b in blocks if isinstance(b, Bullets))
    tables = [block for block in blocks if isinstance(block, Table)]
    assert all(len(row) == len(table.header) for table in tables for row in table.rows)
    names = [row[0].strip() for row in tables[1].rows]
    assert names == [
        "good",
        "95 % interval",
        "poor",
        "95 % interval",
        "genre frequencies",
        "TF-IDF (overviews)",
    ]
    assert tables[1].rows[0][1] == f"{read_runs(runs)[0].metrics['test/loss']:.4f}"
    pairs = {row[0]: row[1:] for row in tables[2].rows}
    assert list(pairs) == ["good – genre frequencies †", "poor – genre frequencies †", "good – poor"], "no TF-IDF"
    assert "▲" in pairs["good – genre frequencies †"][0]
    assert "▼" in pairs["poor – genre frequencies †"][0]
    assert re.search(r"† mAP is compared with 0\.\d{3}, .* instead of the 0\.\d{3}", tables[2].caption)
    at, metrics = {row[0]: row for row in tables[3].rows}, read_runs(runs)[0].metrics
    own, base = (
        [f"{metrics[f'{of}/{n}']:.3f}" for n in ("precision", "recall")] for of in ("test", "test/baseline_tfidf")
    )
    assert at["good"][3] == " / ".join(own)
    assert at["good"][4] == " / ".join(f"{metrics[f'test/tuned_{n}']:.3f}" for n in ("precision", "recall"))
    assert at["TF-IDF (overviews)"][3] == " / ".join(base)
    assert at["good"][-2:] == (f"{metrics['test/ece']:.3f}", f"{metrics['test/brier']:.4f}")
    assert tables[0].caption.endswith("on 2 CPU cores.")
    assert all("▲" in cell for cell in pairs["good – poor"][:2])


@pytest.mark.parametrize(
    ("arguments", "optimizer", "words"),
    [
        ({"network": "overview_words", "optimizer": "sgd"}, None, "Trained with SGD. Seconds"),
        ({"optimizer": "adam", "layer_optimizers": {"W": {"optimizer": "sgd"}}}, None, "Trained with Adam and SGD. "),
        ({"optimizer": "sgd"}, "keras.optimizers.Lion", "Trained with Lion. Seconds"),
    ],
)
def test_the_optimizer_is_the_one_that_trained(runs, arguments, optimizer, words):
    run, _ = read_runs(runs)
    model = {"class_path": "kgenre.models.GenreClassifier", "init_args": arguments}
    config = {"model": model, "optimizer": {"class_path": optimizer, "init_args": {}}}
    assert training_table([dataclasses.replace(run, config=config)], Numbers()).caption.startswith(words)
    config["model"]["class_path"] = "mine.Net"
    assert ("Trained with" in training_table([dataclasses.replace(run, config=config)], Numbers()).caption) == bool(
        optimizer
    )


@pytest.mark.parametrize(
    ("given", "shown", "option"),
    [
        ({"optimizer": {"class_path": None, "init_args": {}}}, "0.2", "--model.learning_rate 0.6"),
        ({"optimizer": {"class_path": "SGD", "init_args": {"learning_rate": 0.5}}}, "0.5", "--optimizer.learning_rate"),
        ({"optimizer": {"class_path": "SGD", "init_args": {"momentum": 0.9}}}, "–", "try a higher learning rate."),
        (
            {"lr_scheduler": {"class_path": "CosineDecay", "init_args": {"initial_learning_rate": 0.1}}},
            "0.1",
            "--lr_scheduler.initial_learning_rate 0.3",
        ),
    ],
)
def test_the_learning_rate_is_that_of_the_optimizer(films, tmp_path, given, shown, option):
    (run,) = read_runs(make_run(tmp_path / "run" / "version_0", films, 0.5, (0.5, 0.501, 0.499)))
    model = {"init_args": {"network": "poster_resnet", "learning_rate": 0.2, "schedule": "cosine"}}
    run = dataclasses.replace(run, config={"model": model} | given)
    assert training_table([run], Numbers()).rows[0][3] == shown
    assert option in next_steps([run])[0]


def test_above_chance_everywhere_else_only_if_there_are_others(runs):
    run, _ = read_runs(runs)
    for count, elsewhere in ((2, False), (4, True)):
        genres = [f"g{i}" for i in range(count)]
        predictions = dataclasses.replace(run.predictions, genre_names=tuple(genres))
        metrics = {f"test/genre/{g}/{name}": value for g in genres for name, value in (("support", 20), ("ap", 0.9))}
        metrics |= {"test/films": 40, "test/loss": 0.2}
        [said] = per_genre([dataclasses.replace(run, metrics=metrics, predictions=predictions)], Numbers())
        assert ("above it everywhere else" in said) == elsewhere


def test_one_film_is_no_plural(runs):
    run, _ = read_runs(runs)
    one = {"data/train_films": 1, "data/validation_films": 1, "data/test_films": 1, "test/films": 1}
    single = dataclasses.replace(run, metrics=run.metrics | one)
    card = model_card(single, Numbers())
    assert f"| loss (binary cross-entropy) | {run.metrics['test/loss']:.4f} | " in card
    assert f"; Brier score {run.metrics['test/brier']:.4f} (genre frequencies: " in card
    assert card.index("expected calibration error") < card.index("## Intended use"), "it is a result"
    text = to_markdown(report_blocks([single], Numbers(), 0, explain=False))[0] + card
    assert "1 training film, 1 validation film, on which" in text
    assert "; the epoch and the thresholds were chosen on 1 other." in text
    assert not re.search(r"\b1 (\w+ )?(films|others)\b", text)


def test_the_caption_of_the_curves_names_softened_targets(runs):
    run, _ = read_runs(runs)
    for given, named in (
        ({}, ""),
        ({"label_smoothing": 0.0, "mixup": 0.0}, ""),
        ({"label_smoothing": 0.05}, "(label_smoothing 0.05)"),
        ({"label_smoothing": 0.1, "mixup": 0.2, "cutmix": 1}, "(label_smoothing 0.1, mixup 0.2 and cutmix 1)"),
    ):
        soft = dataclasses.replace(run, config={"model": {"init_args": {"network": "poster_cnn_2024"} | given}})
        blocks = report_blocks([soft], Numbers(), 0, explain=False)
        (caption,) = (block.caption for block in blocks if isinstance(block, Figure) and "epoch" in block.caption)
        assert (f"The training loss of good is that of softened targets {named}" in caption) == bool(named)
        assert ("softened" in caption) == bool(named)


def test_films_that_limits_left_out_are_not_counted(runs, undrawn):
    run, _ = read_runs(runs)
    limited = dataclasses.replace(run, metrics=run.metrics | {"data/test_films": 90, "val/films": 7})
    said = [to_markdown(report_blocks([each], Numbers(), 0, explain=False))[0] for each in (run, limited)]
    assert "30 training films, 10 validation films, on which" in said[0]
    assert "30 training films, 7 validation films, on which" in said[1]
    for text in (
        "good was validated on only 7 of the 10 validation films of its split.",
        "good was tested on only 40 of the 90 test films of its split.",
    ):
        assert [text in page for page in said] == [False, True]
    assert all(" 40 test films, used for neither" in page for page in said)
    assert " on 7 others." in model_card(limited, Numbers())


def test_fused_run_has_no_training(runs):
    run, _ = read_runs(runs)
    arguments = {"network": "fused", "learning_rate": 1e-4, "optimizer": "adam"}
    config = {
        "model": {"class_path": "kgenre.models.GenreClassifier", "init_args": arguments},
        "data": {"init_args": {"batch_size": 64}},
    }
    fused = dataclasses.replace(run, name="fused", config=config, rows=[])
    table = training_table([fused], Numbers())
    assert table.rows[0][1] == "both"
    assert table.rows[0][3:5] == ("–", "–")
    assert table.caption == "Combined from trained runs, not trained: fused."
    assert training_table([run, fused], Numbers()).caption.endswith(table.caption)
    assert curves_figure([fused]) is None
    trained_again = "To train a model again, under the same KERAS_BACKEND: kgenre fit --config RUN/config.yaml."
    fused_again = "To combine fused again: kgenre fuse, with the runs that it was made from."
    for of, again in (([run], trained_again), ([fused], fused_again), ([run, fused], f"{trained_again} {fused_again}")):
        assert report_blocks(of, Numbers(), 0, explain=False)[-1].text.endswith(f". {again}")


def test_genres_hardly_above_chance_are_named(runs):
    run, _ = read_runs(runs)

    def said(**ap):
        metrics = {"test/films": 40, "test/loss": 0.2}
        for genre, value in ap.items():
            metrics |= {f"test/genre/{genre}/support": 20, f"test/genre/{genre}/ap": value}
        return per_genre([dataclasses.replace(run, metrics=metrics)], Numbers())[0]

    text = said(Comedy=0.6, Drama=0.9, War=0.52)
    assert "furthest above it for Drama (0.90 against 0.50); least above it for Comedy (0.60 against 0.50); " in text
    assert "hardly above it, or below, for War (0.52 against 0.50)." in text
    assert "hardly" not in said(Comedy=0.6, Drama=0.9)


def test_ranking_is_compared_with_random_order(runs):
    run, _ = read_runs(runs)
    rng = np.random.default_rng(0)
    true, scores = np.tile(np.arange(12) < 3, (4000, 1)).T, rng.random((12, 4000))
    one = dataclasses.replace(run, metrics={"test/films": 12, "test/genre/War/support": 3})
    assert random_order(one) == pytest.approx(multilabel_metrics(true, scores)["map"], abs=0.01)

    def with_map(low, high, loss):
        base = "test/difference/baseline_frequency"
        ends = {"map": (low, high), "loss": (loss, loss)}
        changed = {
            f"{base}/{m}/{end}": v for m, pair in ends.items() for end, v in zip(("low", "high"), pair, strict=True)
        }
        changed |= {f"{base}/{m}": sum(pair) / 2 for m, pair in ends.items()}
        return dataclasses.replace(run, metrics=run.metrics | changed)

    above = random_order(run) - run.metrics["test/baseline_frequency/map"]
    assert above > 0.01
    assert baseline_difference(with_map(above / 2, 3 * above, 0.1), "frequency", "map").verdict == "level"
    assert baseline_difference(with_map(0.0, 0.0, 0.1), "frequency", "map").verdict == "level", (
        "as constant as they are"
    )
    assert baseline_difference(with_map(-0.2, -0.1, 0.1), "frequency", "map").verdict == "worse"
    nothing = (
        "On the test films there is no sign yet that it has learned anything. "
        "Its loss was still falling when training ended: train longer."
    )
    level = with_map(above / 2, 3 * above, 0.1)
    assert learning_verdict(level, Numbers()) == nothing
    assert learning_verdict(dataclasses.replace(level, rows=[]), Numbers()) == nothing.partition(" Its")[0]
    better = with_map(above * 1.1, 3 * above, 0.1), with_map(above * 1.1, 3 * above, 0.0)
    said = [learning_verdict(each, Numbers()) for each in better]
    assert f"against {random_order(run):.3f} in random order)" in said[0]
    assert "something, but its probabilities are off; its loss was still falling" in said[0]
    assert "something, although its loss does not show it" in said[1]
    steps = [next_steps([each]) for each in better]
    assert ["calibrate" in " ".join(said) for said in steps] == [True, False]


def test_report_judges_a_ranking_as_the_test_did(runs):
    """Both use the same interval: the callback computes it, the report reads it from metrics.json."""
    for run in read_runs(runs):
        true, prob = run.predictions.true, run.predictions.prob
        guess = np.broadcast_to(true.mean(axis=0), true.shape)
        rounds = [bootstrap_metrics(true, each)["map"] for each in (prob, guess)]
        level = multilabel_metrics(true, guess)["map"]
        value = multilabel_metrics(true, prob)["map"] - level
        ends = intervals({"map": rounds[0] - rounds[1]}, {"map": value})["map"]
        base = "test/difference/baseline_frequency/map"
        known = {base: value, f"{base}/low": ends[0], f"{base}/high": ends[1], "test/baseline_frequency/map": level}
        at = dataclasses.replace(run, metrics=run.metrics | known)
        order, beaten = compare_with_random_order(Evaluation(true, prob, np.arange(len(true))))
        assert order == random_order(at)
        assert beaten == (baseline_difference(at, "frequency", "map").verdict == "better")


def test_config_with_empty_sections(films, tmp_path, undrawn):
    folder = make_run(tmp_path / "run" / "version_0", films, 1.0)
    (folder / "config.yaml").write_text("model:\ntrainer:\noptimizer:\ndata: {init_args: }\n")
    assert report_blocks(read_runs([folder]), Numbers(), 0, False)
    (moved,) = read_runs([folder], data_path="films")
    assert moved.config["data"]["init_args"] == {"path": "films"}


@pytest.mark.parametrize("loss", ["nan", "inf"])
def test_losses_that_overflowed_are_left_out_of_the_curve(films, tmp_path, loss):
    (run,) = read_runs([make_run(tmp_path / "run" / "version_0", films, 0.5, (0.5, 0.45, 0.4))])
    first, *others = run.rows
    for name in ("train/loss", "val/loss"):
        overflowed = dataclasses.replace(run, rows=[first | {name: float(loss)}, *others])
        assert learning_curve(overflowed).best_epoch == 3
        assert curves_figure([overflowed])
    never = dataclasses.replace(run, rows=[row | {"train/loss": float(loss)} for row in run.rows])
    assert curves_figure([never])
    assert learning_curve(dataclasses.replace(run, rows=[row | {"val/loss": float(loss)} for row in run.rows])) is None


def test_single_epoch_shows_no_trend(films, tmp_path, undrawn):
    (run,) = read_runs([make_run(tmp_path / "run" / "version_0", films, 0.1, validation=(0.6,))])
    text = to_markdown(report_blocks([run], Numbers(), 0, False))[0]
    assert "was reached at epoch 1 of 1; a single epoch shows no trend." in text
    assert "hardly changed" not in text
    assert "falling" not in text


def test_wording_of_miscalibrated_probabilities(runs):
    run, _ = read_runs(runs)
    true = run.predictions.true

    def said(prob):
        return thresholds(
            dataclasses.replace(run, predictions=dataclasses.replace(run.predictions, prob=prob)), Numbers()
        )

    rng = np.random.default_rng(0)
    wrong = rng.permutation(true.astype(float))
    assert "Its probabilities" not in said(wrong), "as many genres, of other films"
    assert "Its probabilities are a little too high" in said(np.clip(true * 1.0, 0.05, 1))
    assert "Its probabilities are far too high" in said(np.clip(true * 1.0, 0.5, 1))
    assert "on purpose" not in said(np.clip(true * 1.0, 0.5, 1))
    run = dataclasses.replace(run, config={"model": {"init_args": {"loss": "focal"}}})
    assert "Its training loss, focal, shifts them on purpose" in said(np.clip(true * 1.0, 0.5, 1))


def test_probabilities_of_exactly_0_add_up_to_too_few_genres(runs, recwarn):
    run, _ = read_runs(runs)
    saturated = dataclasses.replace(run.predictions, prob=np.zeros_like(run.predictions.prob))
    said = thresholds(dataclasses.replace(run, predictions=saturated), Numbers())
    assert "Its probabilities are far too low: they add up to 0.0 genres per film instead of" in said
    unlabelled = dataclasses.replace(run.predictions, true=np.zeros_like(run.predictions.true))
    said = thresholds(dataclasses.replace(run, predictions=unlabelled), Numbers())
    assert said.endswith("genres per film instead of 0.0.")
    assert not list(recwarn)


def test_same_top_genres_and_the_top3_baseline_are_named(films, tmp_path):
    genres = ("Action", "Comedy", "Drama", "Horror", "War", "Western")
    folder = make_run(tmp_path / "run" / "version_0", films, 1.0, genres=GENRES)
    (run,) = read_runs([folder])
    assert "hardly distinguishes between films" not in against_baselines(run, Numbers())
    prob = np.tile([0.2, 0.4, 0.5, 0.1, 0.1, 0.0], (40, 1))
    predictions = dataclasses.replace(run.predictions, prob=prob, genre_names=genres)
    numbers = Numbers()
    told = against_baselines(dataclasses.replace(run, predictions=predictions), numbers)
    assert told.endswith(
        "It ranks Drama, Comedy and Action first for 40 of 40 films: it hardly distinguishes between films."
    )
    assert numbers.recorded["run: films with the same three genres first"]["value"] == 40
    metrics = {"test/baseline_top3/top3_hit": 0.8} | {f"test/baseline_top3/genre/{g}": 1.0 for g in GENRES[:3]}
    table = results([dataclasses.replace(run, metrics=run.metrics | metrics)], Numbers())
    assert [row[0] for row in table.rows if "top" in row[0]] == ["always the top three: Comedy, Drama, N/A"]
    del metrics["test/baseline_top3/genre/N/A"]
    table = results([dataclasses.replace(run, metrics=run.metrics | metrics)], Numbers())
    assert [row[0] for row in table.rows if "always" in row[0]] == ["always Comedy, Drama"]


def test_differing_options_are_listed(runs, undrawn):
    run, _ = read_runs(runs)

    def configured(name, **options):
        model = {"class_path": "kgenre.models.GenreClassifier", "init_args": {"network": "poster_cnn"} | options}
        data = run.config["data"] | {"class_path": "kgenre.data.FilmData"}
        config = {"seed_everything": 3, "model": model, "data": data, "trainer": {"name": name}}
        return dataclasses.replace(run, name=name, config=config)

    plain = configured("a", loss="binary_crossentropy", network_args={"dropout": 0.3}, learning_rate=0.1)
    weighted = configured("b", loss="weighted_binary_crossentropy", network_args=None, learning_rate=0.2)
    assert differing_options({run.name: run.config for run in (plain, weighted)}) == {
        "a": "loss binary_crossentropy, network_args.dropout 0.3",
        "b": "loss weighted_binary_crossentropy",
    }
    assert differing_options({"a": plain.config, "c": plain.config}) == {}
    members = [{"network": "cnn", "network_args": {"filters": 8}}, {"network": "lstm"}]
    fused = configured("f", network="fused", network_args={"members": members}, loss="binary_crossentropy")
    listed = differing_options({"a": plain.config, "f": fused.config})
    assert listed["f"] == "network fused, network_args.members cnn + lstm"
    kept = fused.config | {"data": {"init_args": {"incomplete": "keep", "posters": True, "overviews": True}}}
    for overviews in (False, True):
        data = {"init_args": {"incomplete": "leave_out", "posters": True, "overviews": overviews}}
        listed = differing_options({"a": plain.config | {"data": data}, "f": kept})
        assert ("incomplete leave_out" in listed["a"]) is overviews, "without effect on one input"
        assert "incomplete" not in listed["f"], "kgenre fuse sets it"
    model = {"class_path": "kgenre.models.genre_classifier.GenreClassifier", "init_args": {"network": "poster_resnet"}}
    in_python = {"model": model, "data": run.config["data"]}
    unlike = {"a": "network poster_cnn, loss weighted_binary_crossentropy", "p": "network poster_resnet"}
    assert differing_options({"a": weighted.config, "p": in_python}) == unlike, "of the rest nothing is known"
    text = to_markdown(report_blocks([plain, weighted], Numbers(), 0, False))[0]
    assert "Options that differ. a: loss binary" in text
    assert "The training loss of b is weighted\\_binary\\_crossentropy, on another scale" in text
    assert "The training loss of a is" not in text
    worse = {f"test/difference/baseline_frequency/loss{end}": 0.1 for end in ("", "/low", "/high")}
    told = [
        learning_verdict(dataclasses.replace(each, metrics=run.metrics | worse), Numbers())
        for each in (plain, weighted)
    ]
    assert ["on purpose" in said for said in told] == [False, True]


def test_next_steps_are_commands(runs):
    good, poor = read_runs(runs)
    falling = next_steps([good])[0]
    at = good.trained_in
    assert falling.endswith(f": kgenre fit --config {at}/config.yaml --ckpt_path {at} --trainer.max_epochs 10")
    behind = {"test/baseline_colours/loss": 0.01}
    assert (
        "configs/poster_resnet_colours.yaml"
        in next_steps([dataclasses.replace(good, metrics=good.metrics | behind)])[1]
    )
    text = dataclasses.replace(poor, config={"model": {"init_args": {"network": "overview_lstm"}}})
    steps = " ".join(next_steps([good, text]))
    assert f"kgenre fuse {good.trained_in} {text.trained_in}" in steps
    text = dataclasses.replace(text, metrics=text.metrics | {"test/baseline_tfidf/loss": 0.01})
    assert "configs/overview_lstm_words.yaml" in next_steps([text])[-1]
    assert (Path(__file__).parents[2] / "configs" / "overview_lstm_words.yaml").exists()
    own = dataclasses.replace(text, config={"model": {"init_args": {"network": "overview_lstm_words"}}})
    assert "configs/" not in next_steps([own])[-1], "that is what it is"
    own = dataclasses.replace(good, config={"model": {"init_args": {"network": "poster_resnet_colours"}}})
    assert "configs/" not in " ".join(next_steps([dataclasses.replace(own, metrics=good.metrics | behind)])[1:])
    both = dataclasses.replace(good, config={"model": {"init_args": {"network": "fused"}}})
    assert not any("Colours" in step for step in next_steps([dataclasses.replace(both, metrics=good.metrics | behind)]))
    base = "test/difference/baseline_frequency"
    off = {f"{base}/{metric}{end}": 0.3 for metric in ("loss", "map") for end in ("", "/low", "/high")}
    for network, calibrated in (("poster_resnet", True), ("fused", False)):
        config = {"model": {"init_args": {"network": network}}}
        run = dataclasses.replace(good, config=config, metrics=good.metrics | off)
        assert ("calibrate them on the validation films: kgenre fuse" in " ".join(next_steps([run]))) == calibrated
    level = dataclasses.replace(good, rows=good.rows[:1])
    assert "one epoch shows little: train longer: kgenre fit" in next_steps([level])[0]


def test_surprising_numbers_are_explained(runs, report):
    run, _ = read_runs(runs)
    lower = run.metrics | {"test/tuned_f1_micro": run.metrics["test/f1_micro"] - 0.01}
    higher = run.metrics | {"test/tuned_f1_micro": run.metrics["test/f1_micro"] + 0.01}
    said = [thresholds(dataclasses.replace(run, metrics=metrics), Numbers()) for metrics in (lower, higher)]
    assert ["partly a matter of luck" in text for text in said] == [True, False]
    base = "test/difference/baseline_frequency/tuned_f1_micro"
    for value, low, high, how in (
        (0.1, -0.01, 0.2, "not significantly better than"),
        (0.0, -0.1, 0.1, "no better than"),
        (-0.1, -0.2, -0.01, "worse than"),
    ):
        compared = {base: value, f"{base}/low": low, f"{base}/high": high}
        text = thresholds(dataclasses.replace(run, metrics=run.metrics | compared), Numbers())
        assert f"That micro-F1 is {how} what the genre frequencies reach" in text
    for file in ("report.md", "report.html"):
        text = (report / file).read_text()
        assert all(word in text for word in ("Brier: ", "ROC AUC: ", "mAP: ", "Calibration error (ECE): "))
        assert "A gap between the two curves is therefore not overfitting by itself" in text


def test_films_per_second_match_the_seconds_per_epoch(runs):
    run, _ = read_runs(runs)
    rows = [
        epoch | {"throughput/seconds_per_epoch": seconds, "throughput/samples_per_second": 32 / seconds}
        for epoch, seconds in zip(run.epochs, (9.0, 2.0, 1.0), strict=True)
    ]
    row = training_table([dataclasses.replace(run, rows=rows)], Numbers()).rows[0]
    assert row[-2:] == ("2.0", "15"), "30 films, two rows only fill the last batch"


def test_one_model_does_not_disagree_with_itself(runs, undrawn):
    def said(of):
        return " ".join(str(block) for block in report_blocks(read_runs(of), Numbers(), 3, False))

    assert "they disagree on most" in said(runs)
    assert "they disagree on most" not in said(runs[:1])
    assert "the model is least sure of" in said(runs[:1])
    assert ["One run per model" in said(of) for of in (runs, runs[:1])] == [True, False]


def test_curves_show_the_baselines_with_the_runs_input(runs):
    run, _ = read_runs(runs)
    run = dataclasses.replace(run, metrics=run.metrics | {"test/baseline_colours/loss": 0.5})

    def drawn(**values):
        last = run.rows[-1] | {f"val/baseline_{key}/loss": value for key, value in values.items()}
        return curves_figure([dataclasses.replace(run, rows=[*run.rows[:-1], last])])

    assert run.reads == "poster"
    assert drawn(tfidf=0.45) == drawn() != drawn(colours=0.5)


def test_explained_film_in_every_format(films):
    poster = next((films / "posters").glob("*.jpg")).read_bytes()
    guess = Guess("lstm", (("War", 0.9, True),), poster, (("A", 0.0), ("<tank>", 1.0), ("kiss", -0.8)))
    block = Films((Film("a", "Tanks", "worst", ("War", "Pre*Code"), "A <tank> kiss", poster, (guess,)),))
    page = to_html([block])
    assert page.count("<img") == 2
    assert '<span style="background: rgba(255, 130, 0, 0.70)">&lt;tank&gt;</span>' in page
    assert '<span style="background: rgba(60, 120, 255, 0.40)">kiss</span>' in page
    text, pictures = to_markdown([block])
    assert set(pictures) == set(re.findall(r"!\[.+?\]\((.+?)\)", text)) == {"film_1.jpg", "film_1_1.jpg"}
    assert "War 0.90 ✓ (words for War: tank)" in text
    assert "Truth: War, Pre\\*Code\n" in text
    assert to_pdf([block]).count(b"/Subtype /Image") == 1, "the same picture twice is kept once"


def test_a_title_as_long_as_a_book_fits_on_a_page(films, tmp_path):
    (run,) = read_runs([make_run(tmp_path / "run" / "version_0", films, 1.0)])
    titles = ("word " * 5000, *run.predictions.titles[1:])
    long = dataclasses.replace(run, predictions=dataclasses.replace(run.predictions, titles=titles))
    [film] = example_films([long], [(run.predictions.ids[0], "")], explain=False)
    assert film.title.endswith("word …")
    assert to_pdf([Films((film,))])


def test_words_of_an_example_have_no_punctuation():
    words = (("His", 0.1), ("father.", 0.9), ("“high,", 0.8), ("—", 0.7), ("sci-fi", 0.6), ("Father", 0.5))
    guess = Guess("text", (("Drama", 0.8, True),), None, words)
    film = Film("1", "A title", "a film", ("Drama",), None, "His father.", (guess,))
    assert "Drama 0.80 ✓ (words for Drama: father, high, sci-fi, Father)" in to_markdown([Films((film,))])[0]


def test_importance_of_the_words_of_an_example():
    words = TextWords("unicode", "character")
    shown = _words("«L’été» — 飞船", np.array([0.1, -0.5, 0.4, 0.2, 0]), words)
    assert shown == (("«L’été»", -1.0), ("—", 0.0), ("飞", 0.8), ("船", 0.4))


def test_characters_come_from_another_font_or_are_named(films, tmp_path, caplog, monkeypatch, recwarn):
    other = Path(mpl.get_data_path()) / "fonts" / "ttf" / "STIXGeneral.ttf"
    monkeypatch.setattr(fonts, "_installed", lambda: (other,))
    fonts._fonts_for.cache_clear()
    letter = min(fonts.characters_of(other) - fonts.characters_of(other.with_name("DejaVuSans.ttf")))
    assert b"STIXGeneral" in to_pdf([Paragraph(f"The genre {letter}")])
    assert b"STIXGeneral" not in to_pdf([Paragraph("The genre Драма")])
    run = make_run(tmp_path / "战争" / "version_0", films, 1.0)
    write_report([run], tmp_path / "out", films=0)
    assert caplog.text.count("no installed font has the characters 争 战") == 1
    assert not [warning for warning in recwarn if "missing from font" in str(warning.message)]
    fonts._fonts_for.cache_clear()


def test_runs_of_the_same_name_are_told_apart_by_folder(films, tmp_path):
    places = (
        "alice/lstm/version_0",
        "bob/lstm/version_0",
        "bob/cnn/version_0",
        "bob/fused/version_0",
        "bob/fused/version_1",
        "bob/renamed",
    )
    folders = [make_run(tmp_path / place, films, 1.0) for place in places]
    names = [run.name for run in read_runs(folders)]
    assert names == ["alice/lstm", "bob/lstm", "cnn", "fused/version_0", "fused/version_1", "renamed"]


def test_text_names_the_best_of_many_runs_and_tables_list_all(films, tmp_path, undrawn):
    runs = [make_run(tmp_path / f"student{i}" / "version_0", films, 0.2 + i / 10) for i in range(8)]
    text = to_markdown(report_blocks(read_runs(runs), Numbers(), 0, False))[0]
    rows = re.findall(r"^\| (student\d) \|", text, re.MULTILINE)
    assert rows[:8] == [f"student{i}" for i in range(7, -1, -1)]
    assert "- student2: the lowest validation loss" in text
    assert "- student1: " not in text
    assert "The tables list all 8" in text
    assert "student7 is the best of several on these test films: some of its lead is luck" in text


def test_run_last_tested_on_other_films_is_refused(films, tmp_path):
    folder = make_run(tmp_path / "run" / "version_0", films, 1.0)
    (folder / "split.json").write_text(json.dumps({"train": [], "test": ["other"]}))
    with pytest.raises(ReportError, match="was last tested on different films than those of its split"):
        read_runs([folder])


def test_test_on_other_films_is_reported_with_its_runs_data(films, tmp_path, undrawn):
    run = make_run(tmp_path / "run" / "version_0", films, 1.0)
    (run / "checkpoints").mkdir()
    folder = make_run(run / "test_other", films, 0.5, tested=30)
    metrics = json.loads((folder / "metrics.json").read_text())
    kept = {name: v for name, v in metrics.items() if "baseline" not in name and not name.startswith("data/")}
    (folder / "metrics.json").write_text(json.dumps(kept | {"data/test_films": 30}))
    for name in ("split.json", "environment.json", "metrics.csv"):
        (folder / name).unlink()
    (folder / "config.yaml").write_text("data: {init_args: {path: other}}")
    (read,) = read_runs([folder])
    assert (read.name, read.network, read.config["data"]["init_args"]["path"]) == ("run", "poster_cnn_2024", "other")
    text = to_markdown(report_blocks([read], Numbers(), 0, False))[0]
    assert "30 training films, 10 validation films" in text
    assert "were chosen, and 30 test films of other data. " in text
    own = to_markdown(report_blocks(read_runs(run), Numbers(), 0, False))[0]
    assert re.search(r"were chosen, and \d+ test films, used for neither\. ", own)
    assert "frequencies" not in text.split("## ")[1], "there are none to compare with"
    with pytest.raises(ReportError, match="trained and tested on different films"):
        read_runs([run, folder])


def test_moved_films_are_found_at_data_path(films, tmp_path):
    run = make_run(tmp_path / "run" / "version_0", tmp_path / "gone", 1.0)
    assert examples(run)[0].poster is None
    assert examples(run, data_path=str(films))[0].poster is not None
    some = shutil.copytree(films, tmp_path / "some")
    write_films(some, films_of(films)[:20])
    known, gone = examples(run, ids=["sample00019", "sample00020"], data_path=str(some))
    assert (known.poster is None, gone.poster is None) == (False, True)


def test_choice_of_films(runs):
    good, poor = read_runs(runs)
    assert choose_films([good], 2, "random", 0) == choose_films([good], 2, "random", 0)
    assert choose_films([good], 5, "random", 0) != choose_films([good], 5, "random", 1)
    assert not set(choose_films([good], 3, "best")) & set(choose_films([good], 3, "worst"))
    assert len(choose_films([good, poor], 4, "disagreed")) == 4
    assert choose_films([good], 1, ids=["sample00007"]) == ["sample00007"]
    with pytest.raises(
        ReportError, match=r"nobody is not a test film of these runs\. They have 40, such as --ids sample00000,"
    ):
        choose_films([good], 1, ids=["nobody"])
    with pytest.raises(
        ReportError, match="sample00040 is not a test film of these runs: it was used for training or validation"
    ):
        choose_films([good], 1, ids=["sample00040"])
    with pytest.raises(ReportError, match="Received: 'longest'"):
        choose_films([good], 1, "longest")


def test_a_film_that_has_another_ones_id_now_is_not_shown_in_its_place(runs, films, tmp_path, caplog):
    (run,) = read_runs(runs[:1], data_path=str(shutil.copytree(films, tmp_path / "films")))
    chosen = [(film_id, "") for film_id in run.predictions.ids[3:6]]
    for title, shown in ((TITLE, True), (f" {TITLE} ", True), ("", True), ("Another film", False)):
        rows = films_of(films)
        rows[4]["title"] = title
        write_films(tmp_path / "films", rows)
        caplog.clear()
        found = example_films([run], chosen, explain=False)
        assert [film.title for film in found] == [TITLE] * 3, "those of the predictions"
        assert [bool(film.overview) and film.poster is not None for film in found] == [True, shown, True]
        message = "films.csv has other films under their ids: sample00004 is Another film, and was A <b>title</b>"
        assert (message in caplog.text) == (not shown)


def test_baselines_that_were_fitted_on_fewer_films_are_named(runs, undrawn):
    run, _ = read_runs(runs)
    assert run.metrics["data/train_films"] == 30
    for fitted, named in ((30, False), (12, True)):
        tested = dataclasses.replace(run, metrics=run.metrics | {"test/baseline_films": fitted})
        text = to_markdown(report_blocks([tested], Numbers(), 0, explain=False))[0]
        assert ("The baselines of good were fitted on only 12 of its 30 training films" in text) == named


def test_example_films_of_each_kind_from_the_best_on(runs):
    kinds = ["predicted well", "predicted badly", "unsure"]
    for count, of_each in (
        (0, (0, 0, 0)),
        (1, (1, 0, 0)),
        (2, (1, 1, 0)),
        (3, (1, 1, 1)),
        (5, (2, 2, 1)),
        (6, (2, 2, 2)),
    ):
        shown = [kind for _, kind in _chosen(read_runs(runs[:1]), count)]
        assert tuple(map(shown.count, kinds)) == of_each


def test_report_without_its_films_has_no_posters(films, tmp_path, caplog):
    run = make_run(tmp_path / "run" / "version_0", tmp_path / "gone", 1.0)
    out = write_report([run], tmp_path / "out")
    assert "are shown without poster and overview" in caplog.text
    assert 'alt="poster' not in (out / "report.html").read_text()


def test_film_without_a_poster_or_words_is_explained_by_what_it_has(films, runs, monkeypatch, caplog):
    data = FilmData(films, image_size=(8, 8), vocabulary_size=50, incomplete="keep")
    data.setup("predict")
    gone = data.table.poster_paths[0].with_name("gone.jpg")
    paths, overviews = (None, gone, *data.table.poster_paths[2:]), (*data.table.overviews[:2], "...")
    table = dataclasses.replace(data.table, poster_paths=paths, overviews=(*overviews, *data.table.overviews[3:]))
    state = {"data": {"hyperparameters": vars(data.hparams), "state": data.state_dict()}}
    monkeypatch.setattr(checkpoints, "find_checkpoint", lambda folder: folder)
    monkeypatch.setattr(checkpoints, "read_state", lambda checkpoint: state)
    reads_both = SimpleNamespace(inputs=["poster", "overview"])
    monkeypatch.setattr(trained_classifier, "load_classifier", lambda checkpoint: reads_both)
    monkeypatch.setattr(explanations, "grad_cam", lambda module, batch, genres: batch["poster"][..., 0] / 255)
    monkeypatch.setattr(explanations, "word_importance", lambda module, batch, genres: batch["overview"] > 0)
    monkeypatch.setattr("kgenre.reports.example_films._film_table", lambda run, ids: table.subset(range(4)))
    films = example_films(read_runs(runs[:1]), [(film_id, "") for film_id in table.ids[:4]])
    assert [film.guesses[0].heat is not None for film in films] == [False, False, True, True]
    assert [film.guesses[0].words is not None for film in films] == [True, True, False, True]

    def unable(module, batch, genres):
        raise ValueError("no convolutional layer")

    monkeypatch.setattr(explanations, "grad_cam", unable)
    films = example_films(read_runs(runs[:1]), [(film_id, "") for film_id in table.ids[:4]])
    assert all(film.guesses[0].heat is None for film in films)
    assert [film.guesses[0].words is not None for film in films] == [True, True, False, True], "are still explained"
    assert "good is shown without explanations of posters: no convolutional layer" in caplog.text


def test_examples_on_a_terminal_and_in_a_log(runs, tmp_path, capsys, monkeypatch):
    assert main(["examples", *map(str, runs), "--n", "2", "--by", "best"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("truth") == 2
    assert "✓" in printed
    assert printed.count("poster: ") == 2
    assert len(printed.split("\n\n")) == 5, "an empty line in and after each of the two films"
    page = tmp_path / "new" / "films.html"
    assert main(["examples", str(runs[0]), "--n", "2", "--out", str(page)]) == 0
    assert f"Written to {page}" in capsys.readouterr().out
    assert page.read_text().count('alt="poster of A &lt;b') == 2
    assert main(["examples", str(runs[0]), "--out", str(tmp_path)]) == 1
    assert f"--out takes a file, such as {tmp_path / 'films.html'}." in capsys.readouterr().err
    assert "▀" not in printed
    for ids in ("sample00007,sample00003", "[sample00007, sample00003]"):
        assert main(["examples", str(runs[0]), "--ids", ids]) == 0
        assert capsys.readouterr().out.count("truth") == 2
    assert main(["examples", str(runs[0]), "--ids", "sample00007"]) == 0
    assert capsys.readouterr().out.count("truth") == 1
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    assert main(["examples", str(runs[0]), "--n", "1"]) == 0
    *picture, empty = capsys.readouterr().out.splitlines()
    assert all("▀" in line for line in picture)
    assert empty == ""


def test_brackets_in_the_name_of_a_run_are_not_markup(runs, tmp_path, capsys):
    run = shutil.copytree(runs[0], tmp_path / "[red]x[" / "]" / "version_0")
    (twin := tmp_path / "y" / "]").mkdir(parents=True)
    other = shutil.copytree(runs[0], twin / "version_0")
    assert main(["examples", str(run), str(other), "--n", "1"]) == 0
    assert "[red]x[/]" in capsys.readouterr().out


def test_examples_in_a_notebook(runs):
    shown = examples(runs[0], ids=["sample00007", "sample00003"])
    assert [film.id for film in shown] == ["sample00007", "sample00003"]
    page = shown._repr_html_()
    assert page.count("data:image/jpeg;base64") == 2
    assert "A &lt;b&gt;title&lt;/b&gt;" in page
    name, value, right = shown[0].guesses[0].genres[0]
    first, said, *_ = repr(shown).splitlines()
    assert first == f"A <b>title</b> (sample00007): {', '.join(shown[0].truth) or 'no genre'}"
    assert said.strip().startswith(f"good: {name} {value:.2f}{' ✓' if right else ''}, ")
    assert len(examples(runs, n=4, by="disagreed")[0].guesses) == 2
    with pytest.raises(ReportError, match=r"^Received None for a run's folder: trainer\.run_dir"):
        examples(quiet_trainer().run_dir)


def test_unknown_backend_error_of_an_explanation_is_one_line(runs, tmp_path, run_python):
    """Keras is prepared before its first import, which a notebook guards."""
    run = shutil.copytree(runs[0], tmp_path / "run")
    state = {"model": {"class_path": "kgenre.models.GenreClassifier", "hyperparameters": {}}}
    write_pointer(run / "checkpoints", "best", write_checkpoint(Checkpoint({}, {}, state), run / "checkpoints" / "one"))
    script = f"""
from kgenre.reports import examples
try:
    examples({str(run)!r}, n=1, explain=True)
except Exception as error:
    print(type(error).__name__, error)
"""
    assert run_python(script, backend="theano").startswith("BackendError KERAS_BACKEND=theano: kgenre runs on ")


def test_runs_may_be_found_by_a_pattern(runs, tmp_path):
    root = runs[0].parents[1]
    assert [run.folder for run in read_runs(sorted(root.glob("*/version_*")))] == sorted(runs)
    assert [run.folder for run in read_runs(root.glob("good/*"))] == runs[:1]
    with pytest.raises(ReportError, match=r"^Received no folders: give at least one run's"):
        write_report(root.glob("nothing/*"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_run_without_config_finds_its_data_in_its_checkpoint(runs, films, tmp_path, undrawn):
    run = shutil.copytree(runs[0], tmp_path / "run")
    (run / "config.yaml").unlink()
    (run / "metrics.csv").unlink()  # it has another logger
    assert examples(run, n=1)[0].poster is None  # no data are known, and none are guessed
    state = {"model": {"class_path": "kgenre.models.GenreClassifier", "hyperparameters": {"learning_rate": 0.5}}}
    state |= {"data": {"hyperparameters": {"path": str(films), "batch_size": 7}}}
    write_pointer(run / "checkpoints", "best", write_checkpoint(Checkpoint({}, {}, state), run / "checkpoints" / "one"))
    assert examples(run, n=1)[0].poster is not None
    (read,) = read_runs([run])
    assert training_table([read], Numbers()).rows[0][3:5] == ("0.5", "7")
    blocks = report_blocks([read], Numbers(), 2, False)
    assert "config.yaml" not in blocks[-1].text


def test_the_tested_epoch_is_named_if_the_best_checkpoint_was_chosen_by_another_metric_than_the_loss(runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "run")
    path = write_checkpoint(Checkpoint({}, state={"global_step": 20}), run / "checkpoints" / "step=000020")
    write_pointer(path.parent, "best", path)
    metrics = json.loads((run / "metrics.json").read_text())
    for step, epoch in ((20, "3 (tested: 2)"), (30, "3")):
        (run / "metrics.json").write_text(json.dumps(metrics | {"test/step": step}))
        assert training_table(read_runs([run]), Numbers()).rows[0][6] == epoch


@pytest.mark.parametrize("inputs", [["poster"], ["overview"], ["overview", "poster"]])
def test_what_a_network_reads_is_known_from_its_checkpoint(runs, tmp_path, inputs):
    """Its name may be the user's, and its data may have more."""
    run = shutil.copytree(runs[0], tmp_path / "run")
    content = Checkpoint({}, {}, {"classifier": {"inputs": inputs}})
    write_pointer(run / "checkpoints", "best", write_checkpoint(content, run / "checkpoints" / "one"))
    (read,) = read_runs([run])
    assert read.reads == (inputs[0] if len(inputs) == 1 else "")
    assert training_table([read], Numbers()).rows[0][1] == (f"{inputs[0]}s" if len(inputs) == 1 else "both")


def test_predictions_of_other_films_than_the_metrics_are_refused(runs, tmp_path):
    """As after rows were deleted in a spreadsheet: the report would mix numbers of different films."""
    run = shutil.copytree(runs[0], tmp_path / "run")
    header, *rows = (run / "predictions_test.csv").read_text().splitlines(keepends=True)
    (run / "predictions_test.csv").write_text(header + "".join(rows[::-1]))
    assert len(read_runs([run])[0].predictions.ids) == 40, "their order does not matter"
    (run / "predictions_test.csv").write_text(header + "".join(rows[:-3]))
    with pytest.raises(
        ReportError,
        match=r"predictions_test\.csv has 37 films, but metrics\.json is about 40\. .*kgenre test",
    ):
        read_runs([run])


def test_predictions_of_another_test_than_the_metrics_are_refused(runs, tmp_path):
    """As after a kill at the end of a test, when only the predictions had been written."""
    run = shutil.copytree(runs[0], tmp_path / "run")
    shutil.copy(runs[1] / "predictions_test.csv", run)
    with pytest.raises(ReportError, match=r"predictions_test\.csv and metrics\.json are of different .*kgenre test"):
        read_runs([run])


def test_films_whose_genres_changed_are_refused(runs, films, tmp_path, capsys):
    other = shutil.copytree(runs[1], tmp_path / "other" / "version_0")
    path = other / "predictions_test.csv"
    header, first, *rest = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    first[header.index("genres")] = "Comedy|War" if first[header.index("genres")] == "War" else "War"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([header, first, *rest])
    metrics = json.loads((other / "metrics.json").read_text()) | {"test/brier": None}  # as if tested on these genres
    (other / "metrics.json").write_text(json.dumps(metrics))
    assert main(["report", str(runs[0]), str(other), "--out", str(tmp_path / "o")]) == 1
    assert f"such as those of {first[0]}: they cannot be compared" in capsys.readouterr().err


def test_every_two_runs_need_a_film_in_common(runs, tmp_path):
    halves = [shutil.copytree(runs[0], tmp_path / name / "version_0") for name in ("first", "last")]
    for folder, keep in zip(halves, (slice(0, 20), slice(20, None)), strict=True):
        path = folder / "predictions_test.csv"
        header, *rows = path.read_text(encoding="utf-8-sig").splitlines()
        path.write_text("\n".join([header, *rows[keep]]) + "\n", encoding="utf-8")
        metrics = json.loads((folder / "metrics.json").read_text()) | {"test/films": 20, "test/brier": None}
        (folder / "metrics.json").write_text(json.dumps(metrics))
    assert read_runs([runs[0], halves[0]])
    with pytest.raises(ReportError, match=r"first/version_0 and .*last/version_0 have no test film in common"):
        read_runs([runs[0], *halves])


def test_different_numbers_of_test_films_are_mentioned(runs, films, tmp_path, undrawn):
    fewer = make_run(tmp_path / "fewer" / "version_0", films, 0.5, tested=30)
    numbers = Numbers()
    title, _, told, *rest = report_blocks(read_runs([runs[0], fewer]), numbers, 0, explain=False)
    assert title == Heading("Film genres: 2 models", 1)
    assert "Not all models were tested on the same films: good on 40 and fewer on 30." in told.text
    assert results_caption(rest).startswith("40 test films of good; 95 % intervals")
    title, _, heading, *rest = report_blocks(read_runs(runs), numbers, 0, explain=False)
    assert title.text.endswith("on the same test films")
    assert "Not all" not in heading.text
    assert results_caption(rest).startswith("40 test films; 95 % intervals")


def test_large_numbers_of_films_have_separators():
    run = SimpleNamespace(name="good", metrics={"test/films": 5211, "data/train_films": 18206, "test/step": 1425})
    said = [Numbers().of(run, name) for name in run.metrics]
    assert said == ["5,211", "18,206", "1425"]


def results_caption(blocks):
    (caption,) = [block.caption for block in blocks if isinstance(block, Table) and "bootstrap" in block.caption]
    return caption


def test_best_run_may_be_worse_on_the_films_that_both_were_tested_on(runs):
    best, _ = read_runs(runs)

    def said(loss, ranking, others=("other",)):
        found = {"loss": Difference(loss, loss - 0.01, loss + 0.01, lower_is_better=True)}
        found["map"] = Difference(ranking, ranking - 0.01, ranking + 0.01)
        return better_run(best, dict.fromkeys(others, found))

    higher = "On the test films that both have, good has a significantly higher loss than other"
    assert said(0.1, -0.1) == [f"{higher}, and ranks worse (mAP)."]
    assert said(0.1, 0.0) == [f"{higher}, but its mAP does not differ significantly."]
    assert said(0.1, 0.1) == [f"{higher}, but ranks better (mAP) than it: which is better depends on the purpose."]
    assert said(-0.1, 0.1) == ["good has a significantly lower loss than other, and ranks better (mAP)."]
    lower = "good has a significantly lower loss than other, but ranks worse (mAP) than it"
    assert said(-0.1, -0.1) == [f"{lower}: which is better depends on the purpose."]
    level = "The loss of good does not differ significantly from that of other, but good ranks"
    assert said(0.0, -0.1) == [f"{level} worse (mAP) than it: which is better depends on the purpose."]
    assert said(0.0, 0.1) == [f"{level} better (mAP) than it."]
    assert said(0.0, 0.1, ("a", "b")) == [f"{level} better (mAP) than them.".replace("of other", "of a and b")]


def test_unusable_folders_are_refused(runs, films, tmp_path, capsys):
    def said(*arguments):
        assert main(["report", *map(str, arguments), "--explain", "false", "--out", str(tmp_path / "o")]) == 1
        return capsys.readouterr().err

    assert "does not exist. Give a run's folder" in said(tmp_path / "nowhere")
    assert "is not a run's folder: it has no metrics.json" in said(films)
    (tmp_path / "running").mkdir()
    (tmp_path / "running" / "environment.json").write_text("{}")
    assert "running has no results yet: its training has not ended." in said(tmp_path / "running")
    assert f"Did you mean {runs[0]}?" in said(runs[0].parent)
    assert "The same run is given twice" in said(runs[0], runs[0].parent / ".." / "good" / runs[0].name)
    untested = shutil.copytree(runs[0], tmp_path / "untested")
    (untested / "predictions_test.csv").unlink()
    assert f"has no test results. First: kgenre test --ckpt_path {untested}" in said(untested)
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "metrics.json").write_text('{"test/loss": 0.1}')  # tested, but on another task
    assert "digits is not a run on films, and a report needs one." in said(tmp_path / "digits")
    (untested / "metrics.json").write_text("{broken")
    assert "metrics.json cannot be read" in said(untested)
    other = make_run(tmp_path / "other" / "version_0", films, 1.0, genres=("Comedy", "Drama", "N/A"))
    assert "have different genres (such as War)" in said(runs[0], other)
    moved = shutil.copytree(runs[0], tmp_path / "moved")
    split = json.loads((moved / "split.json").read_text())
    (moved / "split.json").write_text(json.dumps(split | {"train": split["train"][1:]}))
    assert "trained and tested on different films: they cannot be compared" in said(runs[0], moved)
    damaged = shutil.copytree(runs[0], tmp_path / "damaged")
    for name, content, words in (
        ("predictions_test.csv", "id,title\n1,2\n", "cannot be read (not a table of predictions): kgenre test"),
        ("metrics.csv", "step,train/loss\n1,many\n", "metrics.csv cannot be read: could not convert"),
        ("config.yaml", "- a list\n", "config.yaml cannot be read: it is not a mapping of names to values"),
        ("config.yaml", "model: [\n", "config.yaml cannot be read: while parsing"),
        ("split.json", "{", "split.json cannot be read"),
    ):
        (damaged / name).write_text(content)
        assert words in said(damaged), name
        shutil.copy(runs[0] / name, damaged / name)
    assert not (tmp_path / "o").exists()
    (tmp_path / "o").write_text("a file")
    assert "cannot be written to" in said(runs[0])


def test_output_in_the_home_folder(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    assert main(["report", str(runs[0]), "--out=~/report", "--explain", "false", "--films", "0"]) == 0
    assert main(["examples", str(runs[0]), "--out=~/page.html"]) == 0
    assert _table_path(runs[0] / "checkpoints" / "step=000001", "~/films.csv") == tmp_path / "home" / "films.csv"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["page.html", "report"]


def test_report_command(runs, tmp_path, capsys):
    run = shutil.copytree(runs[0], tmp_path / "good" / "version_0")
    out = run / "report"
    assert main(["report", str(run), "--films", "2"]) == 0
    printed = capsys.readouterr()
    assert f"Written to {out}" in printed.out
    assert "good is shown without explanations: " in printed.err, "its checkpoints have been deleted"
    assert io.BytesIO((out / "report.pdf").read_bytes()).read(5) == b"%PDF-"


def test_tested_checkpoint_is_found(runs, tmp_path, caplog):
    run = shutil.copytree(runs[0], tmp_path / "model" / "version_0")
    metrics = json.loads((run / "metrics.json").read_text())
    last, best = (
        write_checkpoint(Checkpoint({}, state={"global_step": n}), run / "checkpoints" / f"step={n:06}") for n in (9, 3)
    )
    write_pointer(best.parent, "best", best)
    for step, tested in ((3, best), (9, last), (5, best), (None, best)):  # None: by an older version
        (run / "metrics.json").write_text(json.dumps(metrics | {"test/step": step}))
        caplog.clear()
        assert checkpoint_of_test(read_runs([run])[0]) == tested
        assert ("the checkpoint of the tested step, 5, no longer exists" in caplog.text) == (step == 5)


def test_run_tested_with_another_checkpoint_than_its_best_is_named(runs, tmp_path, caplog, monkeypatch):
    run = shutil.copytree(runs[0], tmp_path / "model" / "version_0")
    metrics = json.loads((run / "metrics.json").read_text())
    path = write_checkpoint(Checkpoint({}, state={"global_step": 20}), run / "checkpoints" / "step=000020")
    write_pointer(path.parent, "best", path)
    rows = (run / "metrics.csv").read_text().replace(",0.5,", ",0.3,")  # the best of the three epochs
    (run / "metrics.csv").write_text(rows)
    best = f"but its best checkpoint is step 20 (epoch 2): kgenre test --ckpt_path {run}"
    for step, epoch, line in (
        (20, "2", ""),
        (10, "2 (tested: 1)", f"model was tested at step 10 (epoch 1), {best}"),
        (30, "2 (tested: 3)", f"model was tested at step 30 (epoch 3), {best}"),
    ):
        (run / "metrics.json").write_text(json.dumps(metrics | {"test/step": step, "test/checkpoint": "step"}))
        for show in (write_report, examples):
            caplog.clear()
            show([run], **({"out": tmp_path / "out", "explain": False, "films": 0} if show is write_report else {}))
            assert caplog.messages == [line] * bool(line)
        page, card = ((tmp_path / "out" / name).read_text() for name in ("report.md", "model_card.md"))
        assert ("its best checkpoint is step 20 (epoch 2): kgenre test" in page) == bool(line)
        chosen = "the thresholds were chosen" if line else "the epoch and the thresholds were chosen"
        assert f"10 validation films, on which {chosen}, and 40 test films" in page
        assert f"; {chosen} on 10 others." in card
        assert training_table(read_runs([run]), Numbers()).rows[0][6] == epoch
        with monkeypatch.context() as patch:
            patch.setattr("kgenre.reports.figures._png", lambda figure: figure)
            (panel,) = curves_figure(read_runs([run])).axes
        lines = [drawn.get_xdata()[0] for drawn in panel.lines if drawn.get_label() == "tested"]
        assert lines == ([step / 10] if line else [])
        assert ("A vertical line marks the epoch of the tested checkpoint" in page) == bool(line)
    (other,) = read_runs(shutil.copytree(runs[0], run / "test_other", ignore=lambda *_: ["split.json"]))
    other.metrics["test/step"] = 10
    assert untested_bests([other], Numbers())[0].endswith(f"kgenre test --ckpt_path {run} --data.path FOLDER")
    shutil.rmtree(path)
    assert not untested_bests([other], Numbers()), "there is nothing left to test"
