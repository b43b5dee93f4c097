"""Event files, read back with TensorBoard's own reader."""

import io
import json

import keras
import ml_dtypes
import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from kgenre.loggers import TensorBoardLogger
from kgenre.loggers.hparams import HPARAMS_FILE


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def scalars(folder, name):
    """The (step, value) pairs of a name; a stage's values are in a folder of its own."""
    stage, _, tag = name.rpartition("/")
    return [(event.step, event.tensor_proto.float_val[0]) for event in read(folder / stage).Tensors(tag)]


@pytest.fixture
def logger(tmp_path):
    logger = TensorBoardLogger()
    logger.open(tmp_path)
    return logger


def test_logging_without_a_run_fails():
    class Draws(BoringModule):
        def on_test_epoch_end(self):
            self.logger.log_image("noise", np.zeros((2, 2)), 0)

    trainer = quiet_trainer(logger=TensorBoardLogger())
    with pytest.raises(
        RuntimeError, match=r"TensorBoardLogger writes into a run's folder, and none is open.* ckpt_path"
    ):
        trainer.test(Draws(), boring_batches(1), verbose=False)


def test_scalars(logger, tmp_path):
    logger.log_metrics({"train/loss": 0.5, "train/count": 3}, 10)
    logger.log_metrics({"train/loss": 0.25}, 20)
    assert scalars(tmp_path, "train/loss") == [(10, 0.5), (20, 0.25)]
    assert scalars(tmp_path, "train/count") == [(10, 3.0)]
    metadata = read(tmp_path / "train").SummaryMetadata("loss")
    assert metadata.plugin_data.plugin_name == "scalars"


def test_text_and_hyperparameters(logger, tmp_path):
    logger.log_text("note", "**bold** ü", 3)
    logger.log_hyperparams({"rate": 0.1, "path": tmp_path})
    events = read(tmp_path)
    assert events.SummaryMetadata("note").plugin_data.plugin_name == "text"
    (note,) = events.Tensors("note")
    assert (note.step, note.tensor_proto.string_val[0].decode()) == (3, "**bold** ü")
    (hyperparameters,) = events.Tensors("hyperparameters")
    assert '"rate": 0.1' in hyperparameters.tensor_proto.string_val[0].decode()


def test_values_can_be_read_during_the_run(logger, tmp_path):
    logger.log_metrics({"a": 1.0}, 1)
    assert scalars(tmp_path, "a") == [(1, 1.0)]


def test_resuming_drops_later_points(logger, tmp_path):
    for step in (1, 2, 3, 4):
        logger.log_metrics({"a": float(step), "old": 1.0}, step)
    again = TensorBoardLogger()
    again.open(tmp_path, resume_step=3)
    again.log_metrics({"a": 30.0}, 3)
    assert scalars(tmp_path, "a") == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert scalars(tmp_path, "old") == [(1, 1.0), (2, 1.0)]


def test_resuming_after_the_clock_was_set_back(logger, tmp_path, monkeypatch):
    for step in (1, 2, 3):
        logger.log_metrics({"a": float(step), "val/b": 1.0}, step)
    monkeypatch.setattr("time.time", lambda: 1e9)
    for step in (2, 3):
        again = TensorBoardLogger()
        again.open(tmp_path, resume_step=step)
        again.log_metrics({"a": 10.0 * step, "val/b": 2.0}, step)
    assert scalars(tmp_path, "a") == [(1, 1.0), (2, 20.0), (3, 30.0)]
    assert scalars(tmp_path, "val/b") == [(1, 1.0), (2, 2.0), (3, 2.0)]


def test_resuming_keeps_what_the_checkpoint_knows_of(logger, tmp_path):
    """Scalars of the checkpoint's step are logged again by the run; texts and pictures are copied."""
    logger.log_text("early", "before the checkpoint's step", 2)
    for step in (2, 3):
        logger.log_text("note", f"before {step}", step)
        logger.log_metrics({"a": 1.0}, step)
        logger.log_histograms({"b": np.arange(5.0)}, step)
    logger.log_text("config", "old", 3)
    state = json.loads(json.dumps(logger.state_dict(3)))
    assert logger.state_dict(4) == {}
    logger.log_text("late", "after the checkpoint", 3)
    logger.log_text("note", "after the checkpoint", 4)
    for _ in range(2):  # stopped again, at the same step
        again = TensorBoardLogger()
        again.open(tmp_path, resume_step=3)
        again.log_text("config", "new", 3)  # by `kgenre fit`, when the run is opened
        again.load_state_dict(state, 3)
    again.log_histograms({"b": np.arange(5.0)}, 4)
    events = read(tmp_path)
    notes = [(e.step, e.tensor_proto.string_val[0].decode()) for e in events.Tensors("note")]
    assert notes == [(2, "before 2"), (3, "before 3")]
    assert [event.step for event in events.Tensors("b")] == [2, 3, 4]
    assert [event.step for event in events.Tensors("a")] == [2]
    assert events.Tensors("late") == []
    assert len(events.Tensors("early")) == 1
    assert [event.tensor_proto.string_val[0] for event in events.Tensors("config")] == [b"new"]


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"file": "../x", "places": {"a": [0, 99]}},
        {"file": None, "places": {"a": [0, 10**12]}},
        {"file": None, "places": {"a": [3, 40]}},
        {"file": None, "places": {"a": [40, 3]}},
    ],
    ids=str,
)
def test_invalid_state_copies_nothing(logger, tmp_path, state):
    logger.log_text("note", "text", 3)
    (tmp_path.parent / "x").write_bytes(bytes(200))
    again = TensorBoardLogger()
    again.open(tmp_path, resume_step=3)
    if "file" in state and state["file"] is None:
        state = state | {"file": logger.state_dict(3)["file"]}
    again.load_state_dict(state, 3)
    again.finalize("success")
    assert read(tmp_path).Tensors("note") == []


def test_later_test_keeps_the_points(logger, tmp_path):
    logger.log_metrics({"a": 1.0, "val/loss": 1.0}, 5)
    again = TensorBoardLogger()  # another process opens the run's folder
    again.open(tmp_path)
    again.log_metrics({"test/loss": 2.0}, 5)
    assert len(list(tmp_path.glob("val/events*"))) == 1, "it has nothing to write there"
    assert scalars(tmp_path, "a") == [(5, 1.0)]
    assert scalars(tmp_path, "test/loss") == [(5, 2.0)]


def test_one_file_per_stage(tmp_path):
    trainer = quiet_trainer(logger=TensorBoardLogger(str(tmp_path), name="run"), log_every_n_steps=1)
    trainer.fit(BoringModule(), boring_batches(2), boring_batches(1))
    trainer.test(dataloaders=boring_batches(1), verbose=False)
    files = [path.relative_to(trainer.log_dir) for path in trainer.log_dir.rglob("events.out.tfevents.*")]
    assert sorted(str(path.parent) for path in files if path.name != HPARAMS_FILE) == [".", "test", "train", "val"]
    assert trainer.log_dir == tmp_path / "run" / "version_0"
    assert [step for step, _ in scalars(trainer.log_dir, "train/loss")] == [1, 2]
    assert [step for step, _ in scalars(trainer.log_dir, "val/loss")] == [2]
    assert [step for step, _ in scalars(trainer.log_dir, "test/loss")] == [2]


def test_stages_and_baselines_share_a_chart(logger, tmp_path):
    logger.log_metrics({"train/loss": 0.5, "val/loss": 0.6, "val/baseline_tfidf/loss": 0.4, "lr-Adam": 0.1}, 7)
    assert {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("events*")} == {
        ".", "train", "val", "val/baseline_tfidf",
    }  # fmt: skip
    for folder in ("train", "val", "val/baseline_tfidf"):
        assert read(tmp_path / folder).Tensors("loss")[0].step == 7
    assert scalars(tmp_path, "lr-Adam") == [(7, pytest.approx(0.1))]


def test_names_cannot_leave_the_run_folder(tmp_path):
    logger = TensorBoardLogger()
    logger.open(tmp_path / "run")
    logger.log_metrics({"train/../../x": 1.0}, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert scalars(tmp_path / "run", "train/_/_/x") == [(1, 1.0)]


def test_resuming_drops_later_points_of_every_curve(logger, tmp_path):
    for step in (1, 2, 3):
        logger.log_metrics({"train/loss": float(step), "val/loss": float(step)}, step)
    again = TensorBoardLogger()
    again.open(tmp_path, resume_step=2)
    again.log_metrics({"train/loss": 20.0, "val/loss": 20.0}, 2)
    assert scalars(tmp_path, "train/loss") == scalars(tmp_path, "val/loss") == [(1, 1.0), (2, 20.0)]


def test_resuming_drops_a_later_test_that_is_not_repeated(logger, tmp_path):
    for step in (1, 2, 3):
        logger.log_metrics({"val/loss": float(step)}, step)
    for step in (2, 3):
        logger.log_metrics({"test/loss": float(step), "test/baseline_tfidf/loss": float(step)}, step)
    again = TensorBoardLogger()
    again.open(tmp_path, resume_step=2)
    again.log_metrics({"val/loss": 2.0}, 2)
    assert scalars(tmp_path, "val/loss") == [(1, 1.0), (2, 2.0)]
    for name in ("test/loss", "test/baseline_tfidf/loss"):
        assert scalars(tmp_path, name) == [(2, 2.0)], "of the weights that the run is resumed with"


@pytest.mark.parametrize("other", ["val//x", "val/./x", "val/../x"])
def test_curves_of_similar_names_are_kept_apart(logger, tmp_path, other):
    logger.log_metrics({"val/x": 1.0}, 1)
    again = TensorBoardLogger()
    again.open(tmp_path, resume_step=2)
    again.log_metrics({"val/x": 2.0, other: 3.0}, 2)
    assert scalars(tmp_path, "val/x") == [(1, 1.0), (2, 2.0)]
    assert scalars(tmp_path, "val/_/x") == [(2, 3.0)]


def test_hparams_tab(logger, tmp_path):
    from tensorboard.plugins.hparams import metadata

    logger.log_hyperparams({"model": {"rate": 0.1, "network": "cnn", "args": {}, "size": [64, 64]}, "seed": None})
    logger.finalize("failed")
    events = read(tmp_path)
    start, end = (events.SummaryMetadata(f"_hparams_/session_{x}_info").plugin_data.content for x in ("start", "end"))
    values = metadata.parse_session_start_info_plugin_data(start).hparams
    assert (values["model.rate"].number_value, values["model.network"].string_value) == (0.1, "cnn")
    assert (values["model.size"].string_value, values["seed"].string_value) == ("[64, 64]", "null")
    ended = metadata.parse_session_end_info_plugin_data(end)
    assert ended.status == 2  # STATUS_FAILURE
    assert ended.end_time_secs > 0


def test_pr_curve_counts(logger, tmp_path):
    true, prob = np.array([True, True, False, False]), np.array([1.0, 0.4, 0.6, 0.1])
    logger.log_pr_curves({"a": (true, prob)}, 3, thresholds=11)
    (event,) = read(tmp_path).Tensors("a")
    tensor = np.frombuffer(event.tensor_proto.tensor_content, np.float32).reshape(6, 11)
    for place, threshold in enumerate(np.linspace(0, 1, 11)):
        above = prob >= threshold - 1e-9
        expected = [(above & true).sum(), (above & ~true).sum(), (~above & ~true).sum(), (~above & true).sum()]
        assert tensor[:4, place].tolist() == expected
        assert tensor[4:, place] == pytest.approx([expected[0] / above.sum(), expected[0] / true.sum()])
    assert read(tmp_path).SummaryMetadata("a").plugin_data.plugin_name == "pr_curves"


def test_histograms_leave_out_nan(logger, tmp_path):
    logger.log_histograms({"w": np.array([0.0, 1.0, 1.0, np.nan])}, 1, bins=2)
    logger.log_histograms({"nothing": np.array([np.nan])}, 1)
    (event,) = read(tmp_path).Tensors("w")
    buckets = np.frombuffer(event.tensor_proto.tensor_content, np.float32).reshape(2, 3)
    assert buckets.tolist() == [[0, 0.5, 1], [0.5, 1, 2]]
    assert "nothing" not in read(tmp_path).Tags()["tensors"]


@pytest.mark.parametrize(
    "values",
    [
        np.float32([1 - 1e-7, 1 - 6e-8, 1]),  # a few ulps wide: no room for 30 different edges in float32
        np.float64([0.3, np.nextafter(0.3, 1)]),
        np.float32([3e38, -3e38, 2e38]),
        np.array([1e308, -1e308]),
        np.zeros(3, np.float32),
        np.full(3, -7.0),
        np.array([5e-324, 0.0]),
        np.array([1, 1, 2]),
    ],
)
def test_histogram_of_any_finite_values(logger, tmp_path, values):
    logger.log_histograms({"w": values}, 1)
    (event,) = read(tmp_path).Tensors("w")
    buckets = np.frombuffer(event.tensor_proto.tensor_content, np.float32).reshape(30, 3)
    assert buckets[:, 2].sum() == values.size
    assert (buckets[:, 0] < buckets[:, 1]).all()
    assert np.isfinite(buckets).all()


def png():
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(buffer, format="PNG")
    return buffer.getvalue()


def test_image_and_graph(logger, tmp_path):
    logger.log_image("films", png(), 2)
    logger.log_graph([("Input", "InputLayer", []), ("Dense", "Dense", ["Input"])])
    events = read(tmp_path)
    assert events.Tensors("films")[0].tensor_proto.string_val[:2] == [b"30", b"20"]
    assert [(node.name, node.op) for node in events.Graph().node] == [("Input", "InputLayer"), ("Dense", "Dense")]


def test_graph_of_a_keras_model(logger, tmp_path):
    x = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(3, name="hidden")(x)
    logger.log_graph(keras.Model(x, keras.layers.Add(name="sum")([hidden, hidden])))
    nodes = [(node.name, node.op, list(node.input)) for node in read(tmp_path).Graph().node]
    assert nodes == [("x", "InputLayer", []), ("hidden", "Dense", ["x"]), ("sum", "Add", ["hidden"])]
    with pytest.raises(TypeError, match=r"^log_graph takes a Keras model, such as self.model. Received: BoringModule$"):
        logger.log_graph(BoringModule())


@pytest.mark.parametrize("form", ["uint8", "float", "bfloat16", "grey", "one channel"])
def test_image_from_an_array(logger, tmp_path, form):
    from PIL import Image

    pixels = np.arange(24, dtype="uint8").reshape(2, 4, 3) * 10
    if form in ("grey", "one channel"):
        pixels = pixels[..., :1]
    if form == "bfloat16":
        pixels = pixels // 120 * 255  # 0 and 1 are exact in every float
    floats = {"float": pixels / 255.0, "bfloat16": (pixels / 255.0).astype(ml_dtypes.bfloat16)}
    given = (floats | {"grey": pixels[..., 0]}).get(form, pixels)
    logger.log_image("x", given, 1)
    written = read(tmp_path).Tensors("x")[0].tensor_proto.string_val
    assert written[:2] == [b"4", b"2"]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(written[2]))), pixels.squeeze())


def test_invalid_image_is_rejected(logger):
    with pytest.raises(
        ValueError, match=r"log_image\('x'\) takes .*one picture.*Received: float64 of shape \(5, 8, 8, 3\)"
    ):
        logger.log_image("x", np.zeros((5, 8, 8, 3)), 1)


def test_missing_summary_writer_error(logger):
    with pytest.raises(AttributeError, match=r"no SummaryWriter.*log_image, log_text, log_metrics or log_histograms"):
        logger.experiment.add_image("x", np.zeros((8, 8)), 1)


def test_server_shows_everything_without_tensorflow(tmp_path, run_python):
    logger = TensorBoardLogger()
    logger.open(tmp_path / "one")
    logger.log_hyperparams({"model": {"rate": 0.1}})
    logger.log_metrics({"train/loss": 0.5, "val/loss": 0.6}, 1)
    logger.log_image("films", png(), 1)
    logger.log_pr_curves({"all genres": (np.array([True, False]), np.array([0.9, 0.2]))}, 1)
    logger.log_histograms({"probabilities": np.array([0.1, 0.9])}, 1)
    logger.log_layout({"Does it learn?": {"loss": ["^loss$"]}})
    logger.finalize("success")
    script = (
        "import json, sys, time, urllib.request\n"
        "from kgenre.cli.tensorboard import start\n"
        f"url = start([{str(tmp_path)!r}], port=0)\n"
        "def get(path):\n"
        "    return json.loads(urllib.request.urlopen(url + path, timeout=30).read())\n"
        "for _ in range(100):\n"
        "    if len(get('data/runs')) == 3: break\n"
        "    time.sleep(0.2)\n"
        "print(json.dumps({path: get(path) for path in sys.argv[1:] or ["
        "'data/runs', 'data/plugin/scalars/tags', 'data/plugin/images/tags', 'data/plugin/pr_curves/tags',"
        "'data/plugin/histograms/tags', 'data/plugin/custom_scalars/layout']}))\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    got = json.loads(run_python(script).splitlines()[-1])
    assert sorted(got["data/runs"]) == ["one", "one/train", "one/val"]
    tags = got["data/plugin/scalars/tags"]
    assert list(tags["one/train"]) == list(tags["one/val"]) == ["loss"]
    assert list(got["data/plugin/images/tags"]["one"]) == ["films"]
    assert list(got["data/plugin/pr_curves/tags"]["one"]) == ["all genres"]
    assert list(got["data/plugin/histograms/tags"]["one"]) == ["probabilities"]
    assert got["data/plugin/custom_scalars/layout"]["category"][0]["title"] == "Does it learn?"


def test_full_disk_costs_only_what_is_logged_meanwhile(logger, tmp_path, caplog, file_size_limit):
    """Half a record would hide all later ones."""
    logger.log_metrics({"a": 1.0}, 1)
    (path,) = tmp_path.glob("events*")
    size = path.stat().st_size
    with file_size_limit(size + 20):  # less than a record
        for step in (2, 3):
            logger.log_metrics({"a": float(step)}, step)
            logger.log_text("note", "lost", step)
    assert path.stat().st_size == size
    assert logger.state_dict(3) == {}
    with file_size_limit(30):  # a new file begins with two records
        logger.log_metrics({"val/loss": 3.0}, 3)
    assert list((tmp_path / "val").iterdir()) == []
    logger.log_metrics({"a": 4.0, "val/loss": 4.0}, 4)
    logger.log_text("note", "kept", 4)
    assert scalars(tmp_path, "a") == [(1, 1.0), (4, 4.0)]
    assert scalars(tmp_path, "val/loss") == [(4, 4.0)]
    assert [event.step for event in read(tmp_path).Tensors("note")] == [4]
    said = f"{path} cannot be written (File too large). Training continues; the curves lack these values."
    assert caplog.messages == [said]
    again = TensorBoardLogger()
    again.open(tmp_path, resume_step=4)
    again.load_state_dict(logger.state_dict(4), 4)
    assert [event.tensor_proto.string_val for event in read(tmp_path).Tensors("note")] == [[b"kept"]]


def test_torn_file_still_shows_earlier_values(logger, tmp_path):
    logger.log_metrics({"a": 1.0}, 1)
    logger.log_metrics({"a": 2.0}, 2)
    (path,) = tmp_path.glob("events*")
    path.write_bytes(path.read_bytes()[:-7])
    assert scalars(tmp_path, "a") == [(1, 1.0)]
