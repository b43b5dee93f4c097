"""CSVLogger and its file, metrics.csv."""

import csv

import pytest

from kgenre.loggers import CSVLogger, LoggerError

pytestmark = pytest.mark.backend_free


@pytest.fixture
def logger(tmp_path):
    logger = CSVLogger()
    logger.open(tmp_path)
    return logger


def test_logging_without_a_run_fails():
    with pytest.raises(RuntimeError, match=r"CSVLogger writes into a run's folder, and none is open.* ckpt_path"):
        CSVLogger().log_metrics({"a": 1.0}, 1)


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_per_step(logger, tmp_path):
    logger.log_metrics({"a": 1.0, "b": 0.1}, 10)
    logger.log_metrics({"a": 2.0, "b": 1 / 3}, 20)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,a,b", "10,1,0.1", "20,2,0.333333333"]


def test_values_of_one_step_share_a_row(logger, tmp_path):
    logger.log_metrics({"a": 1.0}, 10)
    logger.log_metrics({"a": 2.0}, 20)
    logger.log_metrics({"b": 3.0}, 20)
    logger.log_metrics({"b": 4.0}, 10)
    assert rows(tmp_path) == [{"step": "10", "a": "1", "b": "4"}, {"step": "20", "a": "2", "b": "3"}]


def test_new_values_of_the_last_row_do_not_rewrite_the_file(logger, tmp_path):
    file = tmp_path / "metrics.csv"
    logger.log_metrics({"a": 1.0, "b": 2.0}, 1)
    (tmp_path / "same.csv").hardlink_to(file)
    for step in range(2, 5):
        logger.log_metrics({"a": 10.0 * step}, step)
        logger.log_metrics({"b": 123.5}, step)
        logger.log_metrics({"b": 7.0}, step)  # shorter
    assert file.samefile(tmp_path / "same.csv")
    assert file.read_text().splitlines() == ["step,a,b", "1,1,2", "2,20,7", "3,30,7", "4,40,7"]


@pytest.mark.parametrize("change", [lambda file: file.unlink(), lambda file: file.write_text("step;a\n1;1,00\n")])
def test_externally_changed_file_is_rewritten(logger, tmp_path, change):
    logger.log_metrics({"a": 1.0}, 1)
    change(tmp_path / "metrics.csv")
    logger.log_metrics({"a": 2.0}, 2)
    logger.log_metrics({"a": 3.0}, 3)
    assert [row["a"] for row in rows(tmp_path)] == ["1", "2", "3"]


def test_metric_named_step_is_left_out(logger, tmp_path):
    logger.log_metrics({"a": 1.0, "step": 0.5}, 10)
    again = CSVLogger()
    again.open(tmp_path)
    again.log_metrics({"a": 2.0}, 20)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,a", "10,1", "20,2"]


def test_columns_that_appear_later(logger, tmp_path):
    logger.log_metrics({"a": 1.0}, 1)
    logger.log_metrics({"a": 2.0, "late, with a comma": 5.0}, 2)
    logger.log_metrics({"a": 3.0}, 3)
    late = [row["late, with a comma"] for row in rows(tmp_path)]
    assert late == ["", "5", ""]
    assert [row["a"] for row in rows(tmp_path)] == ["1", "2", "3"]


@pytest.mark.parametrize(("resume_step", "steps"), [(3, ["1", "2", "3"]), (0, ["3"]), (None, ["1", "2", "3", "4"])])
def test_resuming_drops_later_rows(logger, tmp_path, resume_step, steps):
    for step in (1, 2, 3, 4):
        logger.log_metrics({"a": float(step), "b": 1.0}, step)
    again = CSVLogger()
    again.open(tmp_path, resume_step)
    again.log_metrics({"a": 30.0}, 3)
    found = rows(tmp_path)
    assert [row["step"] for row in found] == steps
    third = next(row for row in found if row["step"] == "3")
    assert (third["a"], third["b"]) == ("30", "1" if resume_step is None else ""), "that step's values are dropped, too"


def test_resuming_keeps_a_test_of_the_same_weights(logger, tmp_path):
    for step in (2, 3):
        logger.log_metrics({"a": 1.0, "test/loss": float(step)}, step)
    again = CSVLogger()
    again.open(tmp_path, resume_step=2)
    again.log_metrics({"a": 9.0}, 3)
    assert rows(tmp_path) == [{"step": "2", "a": "", "test/loss": "2"}, {"step": "3", "a": "9", "test/loss": ""}]


def test_rows_wait_while_a_spreadsheet_has_the_file_open(logger, tmp_path, monkeypatch, caplog):
    logger.log_metrics({"a": 1.0}, 1)
    with monkeypatch.context() as excel:

        def refuse(*arguments, **options):
            raise PermissionError(13, "Permission denied")

        excel.setattr("pathlib.Path.open", refuse)
        logger.log_metrics({"a": 2.0}, 2)
        logger.log_metrics({"a": 2.5}, 3)
        logger.log_metrics({"a": 3.0}, 3)
        logger.finalize("success")
    assert ["close it there" in line for line in caplog.messages] == [True, False]
    assert caplog.messages[1].endswith("metrics.csv lacks rows, as it cannot be written (Permission denied).")
    logger.finalize("success")
    assert [row["a"] for row in rows(tmp_path)] == ["1", "2", "3"]


def test_rows_that_a_spreadsheet_keeps_out_are_beside_the_file(logger, tmp_path, monkeypatch, caplog):
    logger.log_metrics({"a": 1.0}, 1)

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as windows:
        windows.setattr("pathlib.Path.replace", refuse)
        logger.log_metrics({"b": 2.0}, 2)
        logger.finalize("success")
    assert caplog.messages[1].endswith("(Permission denied); metrics.csv.partial has them.")
    assert (tmp_path / "metrics.csv.partial").read_text() == "step,a,b\n1,1,\n2,,2\n"


@pytest.mark.parametrize("ends", [False, True])
def test_rows_wait_while_the_disk_is_full(logger, tmp_path, caplog, file_size_limit, ends):
    for step in range(20):
        logger.log_metrics({"a": float(step)}, step)
    size = (tmp_path / "metrics.csv").stat().st_size
    with file_size_limit(size + 3):  # less than a row
        for step in range(20, 23):
            logger.log_metrics({"a": float(step)}, step)
        if ends:
            logger.finalize("success")
    said = ["metrics.csv cannot be written (File too large). Training continues; rows wait."]
    said += ["metrics.csv lacks rows, as it cannot be written (File too large)."] * ends
    assert [line.removeprefix(f"{tmp_path}/") for line in caplog.messages] == said
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.csv"}
    last = CSVLogger()
    last.open(tmp_path)  # reads what is complete
    assert [*last._rows] == [*range(20)]
    logger.log_metrics({"a": 23.0}, 23)
    assert [row["a"] for row in rows(tmp_path)] == [str(step) for step in range(24)]


@pytest.mark.parametrize("name", ["val/Sci\x85Fi", "a\u2028b", "a\x0bb", "a\rb", "a\nb", 'a "b", c'])
def test_resuming_with_unusual_names(logger, tmp_path, name):
    logger.log_metrics({name: 1.0}, 1)
    logger.open(tmp_path, 2)
    logger.log_metrics({name: 2.0}, 2)
    assert rows(tmp_path) == [{"step": "1", name: "1"}, {"step": "2", name: "2"}]


def test_non_latin_names(logger, tmp_path):
    logger.log_metrics({"Комедия": 1.0}, 1)
    assert "Комедия" in (tmp_path / "metrics.csv").read_bytes().decode("utf-8")


def test_nan_and_infinity(logger, tmp_path):
    logger.log_metrics({"a": float("nan"), "b": float("inf")}, 1)
    assert rows(tmp_path) == [{"step": "1", "a": "nan", "b": "inf"}]


def test_file_saved_by_a_spreadsheet(logger, tmp_path):
    logger.log_metrics({"a": 1.5, "b": 2.0}, 10)
    text = (tmp_path / "metrics.csv").read_text()
    (tmp_path / "metrics.csv").write_text(text.replace("\n", "\r\n"), encoding="utf-8-sig", newline="")
    again = CSVLogger()
    again.open(tmp_path)
    again.log_metrics({"a": 3.0}, 20)
    assert rows(tmp_path) == [{"step": "10", "a": "1.5", "b": "2"}, {"step": "20", "a": "3", "b": ""}]


@pytest.mark.parametrize("saved", ["step;a\n10;1,5\n", "step,a\nten,1\n", "step,a\n,1\n", "step,a\n10,1,2\n", "Ü\n"])
def test_file_in_another_format_is_rejected_and_kept(tmp_path, saved):
    file = tmp_path / "metrics.csv"
    file.write_text(saved, encoding="latin-1")
    logger = CSVLogger()
    with pytest.raises(LoggerError, match="is no longer a table of steps"):
        logger.open(tmp_path)
    logger.finalize("failed")  # as the trainer does if a fit cannot start
    assert file.read_text(encoding="latin-1") == saved
