"""``kgenre fit --config RUN/config.yaml`` repeats the run bit for bit."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from kgenre.cli.main import main

pytestmark = pytest.mark.one_backend("tensorflow")
EXAMPLES = Path(__file__).parents[2] / "configs" / "examples"


def logged(run):
    """Return the rows of ``metrics.csv`` without the measured times."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{n: v for n, v in row.items() if not n.startswith("throughput/")} for row in csv.DictReader(file)]


def weights(run):
    (last,) = {path.resolve() for path in run.glob("checkpoints/step=*") if path.name in last_of(run)}
    return load_file(last / "weights.safetensors")


def last_of(run):
    return (run / "checkpoints" / "last").read_text()


def assert_equal(first, second):
    assert logged(first) == logged(second)
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.fixture
def digits(allow_import, monkeypatch):
    allow_import("digits")
    monkeypatch.syspath_prepend(EXAMPLES)


def test_a_run_with_all_sources_of_options_is_repeated(digits, in_tmp_path, monkeypatch):
    """Several configs, classes by path, an optimizer, a schedule, the environment and the command line."""
    (in_tmp_path / "a.yaml").write_text(
        "model: {class_path: digits.DigitNet, init_args: {filters: 4}}\n"
        "data: {class_path: digits.Digits}\n"
        "optimizer: {class_path: keras.optimizers.SGD, init_args: {momentum: 0.9}}\n"
        "trainer:\n  name: first\n  log_every_n_steps: 3\n  limit_train_batches: 10\n"
        "  callbacks: [{class_path: kgenre.callbacks.LearningRateMonitor, init_args: {logging_interval: step}}]\n"
    )
    (in_tmp_path / "b.yaml").write_text("seed_everything: 7\ntrainer: {max_epochs: 5}\n")
    monkeypatch.setenv("KGENRE_DATA__BATCH_SIZE", "32")
    schedule = ["--lr_scheduler", "CosineDecay", "--lr_scheduler.decay_steps=20"]
    more = ["--lr_scheduler.initial_learning_rate=0.1", "--trainer.max_epochs", "2"]
    assert main(["fit", *more, "--config", "a.yaml", "--config", "b.yaml", *schedule]) == 0
    monkeypatch.delenv("KGENRE_DATA__BATCH_SIZE")
    first = in_tmp_path / "runs" / "first" / "version_0"
    assert logged(first)[0]["lr-SGD"] != logged(first)[-1]["lr-SGD"], "the schedule runs"
    assert main(["fit", "--config", str(first / "config.yaml")]) == 0
    second = first.with_name("version_1")
    assert_equal(first, second)
    assert (first / "config.yaml").read_text() == (second / "config.yaml").read_text()
    other = ["--seed_everything", "8"]
    assert main(["fit", "--config", str(first / "config.yaml"), *other]) == 0
    assert logged(first) != logged(first.with_name("version_2"))


def test_a_resumed_run_is_repeated_from_the_start(digits, in_tmp_path):
    words = ["--model=digits.DigitNet", "--data=digits.Digits", "--trainer.name=a", "--trainer.limit_train_batches=4"]
    assert main(["fit", *words, "--trainer.max_epochs=1"]) == 0
    assert main(["fit", *words, "--trainer.max_epochs=2", "--ckpt_path=last"]) == 0
    first = in_tmp_path / "runs" / "a" / "version_0"
    assert yaml.safe_load((first / "config.yaml").read_text())["ckpt_path"] is None
    assert main(["fit", "--config", str(first / "config.yaml")]) == 0
    second = first.with_name("version_1")
    assert [row["val/loss"] for row in logged(first)] == [row["val/loss"] for row in logged(second)]
    assert_equal(first, second)
