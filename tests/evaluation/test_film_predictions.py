"""The table of predictions: written and read back; other files are refused."""

import codecs
import csv
import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kgenre.data import FilmTable
from kgenre.evaluation import Thresholds
from kgenre.evaluation.film_predictions import PredictionsError, read_predictions, write_predictions

pytestmark = pytest.mark.backend_free

FILMS = FilmTable(
    ids=("a", "b"),
    titles=('The "Ship", Part 2', "Été"),
    years=(None, 1999),
    overviews=("", ""),
    genres=np.array([[1, 0, 1], [0, 0, 0]], "uint8"),
    genre_names=("Drama", "N/A", "War"),
    poster_paths=(None, None),
)
PROB = np.array([[0.6, 0.1, 0.3], [0.2, 0.2, 0.1]])


def test_written_and_read_back(tmp_path):
    write_predictions(tmp_path / "p.csv", FILMS, PROB, Thresholds(0.5, (0.5, 0.15, 0.2)))
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == "id,title,genres,predicted,top3,Drama,N/A,War"
    assert '"The ""Ship"", Part 2",Drama|War,Drama|War,Drama|War|N/A,0.6' in (tmp_path / "p.csv").read_text()
    read = read_predictions(tmp_path / "p.csv")
    assert (read.ids, read.titles, read.genre_names) == (FILMS.ids, FILMS.titles, FILMS.genre_names)
    np.testing.assert_array_equal(read.true, FILMS.genres > 0)
    assert _predicted(tmp_path / "p.csv") == ["Drama|War", "N/A"]
    np.testing.assert_allclose(read.prob, PROB)


def test_values_just_above_a_threshold_stay_above_it(tmp_path):
    half = np.float32(0.5)
    prob = np.array([[np.nextafter(half, np.float32(1)), half, 1e-7], [np.nextafter(half, np.float32(0)), 1, 0]], "f")
    write_predictions(tmp_path / "p.csv", FILMS, prob, None)
    np.testing.assert_array_equal(read_predictions(tmp_path / "p.csv").prob.astype("f"), prob)


def test_non_ascii_genres_start_with_a_byte_order_mark(tmp_path):
    films = replace(FILMS, genre_names=("Драма", "N/A", "War"))
    write_predictions(tmp_path / "p.csv", films, PROB, None)
    assert (tmp_path / "p.csv").read_bytes().startswith(codecs.BOM_UTF8)
    assert read_predictions(tmp_path / "p.csv").genre_names == films.genre_names


def test_default_threshold_is_one_half(tmp_path):
    write_predictions(tmp_path / "p.csv", FILMS, PROB, None, top=1)
    assert _predicted(tmp_path / "p.csv") == ["Drama", ""]


def _predicted(path):
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [row["predicted"] for row in csv.DictReader(file)]


def test_full_disk_keeps_the_previous_file(tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.writerow = self.fail

        def fail(self, row):
            raise OSError(errno.ENOSPC, "No space left on device")

    write_predictions(tmp_path / "p.csv", FILMS, PROB, None)
    before = (tmp_path / "p.csv").read_text()
    monkeypatch.setattr("csv.writer", Full)
    with pytest.raises(OSError, match="No space left on device"):
        write_predictions(tmp_path / "p.csv", FILMS, PROB, None)
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
    assert (tmp_path / "p.csv").read_text() == before


def test_a_scanner_that_has_the_file_open_for_a_moment_is_waited_for(tmp_path, monkeypatch):
    rename, refused = Path.replace, []

    def replace_at_the_second_try(self, target):
        if not refused:
            refused.append(self)
            raise PermissionError
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace_at_the_second_try)
    write_predictions(tmp_path / "p.csv", FILMS, PROB, None)
    assert read_predictions(tmp_path / "p.csv").ids == FILMS.ids
    assert refused


HEADER = b"id,title,genres,predicted,top3,Drama\n"


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", HEADER, b"\xff\xfe\x00", HEADER + b'"' + 40_000 * b"1,2\n"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(PredictionsError, match=r"cannot be read.*kgenre test --ckpt_path"):
        read_predictions(tmp_path / "p.csv")


def test_missing_file_names_the_command_that_writes_it(tmp_path):
    with pytest.raises(PredictionsError, match=r"does not exist: kgenre test --ckpt_path"):
        read_predictions(tmp_path / "p.csv")
