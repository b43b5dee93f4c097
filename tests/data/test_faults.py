"""Faulty files: each is read correctly or reported with a reason; nothing crashes, nothing is lost silently."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from kgenre.data import FilmDataError, FilmTable, examine_posters, read_films, read_posters
from kgenre.data.poster_decoding import decode_posters

pytestmark = pytest.mark.backend_free


def table_of(paths):
    n = len(paths)
    return FilmTable(
        ids=tuple(str(i) for i in range(n)), titles=("",) * n, years=(None,) * n, overviews=("",) * n,
        genres=np.zeros((n, 1), np.uint8), genre_names=("Drama",), poster_paths=tuple(paths),
    )  # fmt: skip


def picture(seed=0, size=(60, 90)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def encoded(format, **options):
    buffer = io.BytesIO()
    picture().save(buffer, format, **options)
    return buffer.getvalue()


# --- posters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_error_a_picture_that_grew_after_its_examination(tmp_path, format):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(format))
    files = examine_posters([path])
    Image.new("L", (7800, 7800)).save(path, format)
    [found] = decode_posters([path], files, (8, 8))
    assert "7800 x 7800 pixels, at most 50 million" in found.reasons[0]
    assert not found.pixels.any()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_pictures_truncated_at_50_positions(tmp_path, format):
    data = encoded(format)
    ends = np.linspace(0, len(data) - 3, 50).astype(int)
    paths = [tmp_path / f"{i:02}.jpg" for i in range(51)]
    for path, end in zip(paths, [*ends, len(data)], strict=True):
        path.write_bytes(data[:end])
    pixels, left_out = read_posters(table_of(paths), (32, 32), max_bad_fraction=1)
    named = {entry.id for entry in left_out}
    assert "50" not in named
    for i in range(50):  # reported, or so nearly complete that it looks like the whole picture
        assert str(i) in named or np.abs(pixels[i].astype(int) - pixels[50]).mean() < 8
    assert len(named) >= 45


def mutated_jpegs(seeds):
    data = [encoded("JPEG"), encoded("JPEG", progressive=True), encoded("PNG")]
    for seed in seeds:
        rng = np.random.default_rng(seed)
        mutant = bytearray(data[seed % 3])
        for _ in range(int(rng.integers(1, 8))):
            mutant[int(rng.integers(len(mutant)))] = int(rng.integers(256))
        yield bytes(mutant)


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.exhaustive)], ids=["a sample", "all"])
def test_mutated_pictures(tmp_path, count):
    paths = []
    for i, data in enumerate(mutated_jpegs(range(count))):
        paths.append(tmp_path / f"{i}.jpg")
        paths[-1].write_bytes(data)
    pixels, left_out = read_posters(table_of(paths), (16, 16), max_bad_fraction=1)
    assert pixels.shape == (count, 16, 16, 3)
    assert all(entry.reason for entry in left_out)
    bad = {int(entry.id) for entry in left_out}
    assert not pixels[sorted(bad)].any()
    assert 0 < len(bad) < count


# --- tables ---------------------------------------------------------------------------------------------------------

FILMS = [
    {"id": f"tt{i}", "title": f'Film "{i}", the', "year": str(1950 + i), "overview": f"A ship,\nand a man {i}.",
     "genres": ("Drama|War", "Comedy", "")[i % 3]}
    for i in range(12)
]  # fmt: skip


def as_csv():
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(FILMS[0]))
    writer.writeheader()
    writer.writerows(FILMS)
    return buffer.getvalue().encode()


def as_json():
    return json.dumps([{**film, "genres": film["genres"].split("|")} for film in FILMS], indent=1).encode()


def check_table(path):
    """Read a table: it must be consistent, with reasons for rows left out; an error must be a short `FilmDataError`."""
    try:
        table = read_films(path)
    except FilmDataError as error:
        said = str(error)
        table = None
    if table is None:
        assert said.strip()
        assert len(said.splitlines()) <= 3
        return None
    assert len(table) == len(set(table.ids)) > 0
    assert all(film_id.strip() for film_id in table.ids)
    assert all(entry.reason for entry in table.left_out)
    assert set(np.unique(table.genres)) <= {0, 1}
    return table


SPECIAL = [
    b'"',
    b",",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\\",
    b"|",
    b";",
    b"\xef\xbb\xbf",
    b"9" * 40,
]
edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "insert", "delete", "cut", "double"]),
        st.floats(0, 1),
        st.one_of(st.sampled_from(SPECIAL), st.binary(min_size=1, max_size=4)),
    ),
    min_size=1,
    max_size=6,
)


def mutate(data, changes):
    for kind, where, what in changes:
        at = int(where * max(0, len(data) - 1))
        if kind == "flip":
            data = data[:at] + what[:1] + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + what + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + 7 :]
        elif kind == "cut":
            data = data[:at]
        else:
            data = data[:at] + data[at : at + 50] + data[at:]
    return data


def try_mutants(path, original, examples):
    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(edits)
    def one(changes):
        path.write_bytes(mutate(original, changes))
        check_table(path)

    path.write_bytes(original)
    assert check_table(path).ids == tuple(film["id"] for film in FILMS)
    one()


@pytest.mark.parametrize("examples", [60, pytest.param(1000, marks=pytest.mark.exhaustive)], ids=["a sample", "all"])
@pytest.mark.parametrize(("name", "original"), [("films.csv", as_csv()), ("films.json", as_json())])
def test_mutated_tables(tmp_path, name, original, examples):
    try_mutants(tmp_path / name, original, examples)
