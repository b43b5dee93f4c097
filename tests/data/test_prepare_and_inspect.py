import csv
import dataclasses
import json
import logging
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from kgenre.cli.main import main
from kgenre.data import FilmData, FilmDataError, inspection, make_sample_films, prepare, read_films, read_poster
from kgenre.data.formats import prepared
from kgenre.data.inspection import inspect_films
from kgenre.data.poster_examination import examine_posters
from kgenre.data.prepare import prepare_films

pytestmark = pytest.mark.one_backend("tensorflow")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_sample_films(tmp_path_factory.mktemp("made") / "films", n=30)


@pytest.fixture
def films(made, tmp_path):
    """30 films. Poster 3 is truncated, 4 missing, 6 equals 5, 9 nearly equals 10; overview 4 is missing, 8 equals 7."""
    folder = tmp_path / "films"
    shutil.copytree(made, folder)
    poster = [folder / "posters" / f"sample{i:05}.jpg" for i in range(30)]
    poster[3].write_bytes(poster[3].read_bytes()[:1500])
    poster[4].unlink()
    shutil.copy(poster[5], poster[6])
    Image.open(poster[10]).save(poster[9], quality=60)
    with (folder / "films.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    rows[5][3] = ""
    rows[9][3] = rows[8][3].upper() + "!"
    with (folder / "films.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder


# --- inspect --------------------------------------------------------------------------------------------------------


def ids(*numbers):
    return [f"sample{i:05}" for i in numbers]


def test_inspect_finds_all_faults(films):
    split = {"train": ids(5, 7, 9, 1), "test": ids(6, 8, 10, 2), "other": ids(1)}
    report = json.loads(json.dumps(inspect_films(read_films(films), split)))
    assert report["films"] == 30
    assert report["without"] == {"poster": 1, "overview": 1, "genre": 0}
    assert [entry["id"] for entry in report["bad_posters"]] == ids(3)
    assert report["bad_posters"][0]["reason"].startswith("the picture is damaged")
    assert report["duplicates"]["identical_posters"] == [ids(5, 6)]
    assert ids(9, 10) in report["duplicates"]["near_identical_posters"]
    assert ids(5, 6) not in report["duplicates"]["near_identical_posters"]
    assert report["duplicates"]["identical_overviews"] == [ids(7, 8)]
    leaks = {(tuple(leak["ids"]), leak["why"]) for leak in report["leaks"]}
    assert {
        (tuple(ids(1)), "the same film"),
        (tuple(ids(5, 6)), "identical posters"),
        (tuple(ids(7, 8)), "identical overviews"),
        (tuple(ids(9, 10)), "near identical posters"),
    } <= leaks
    counts = {genre["name"]: genre["films"] for genre in report["genres"]}
    table = read_films(films)
    assert counts == {n: c for n, c in zip(table.genre_names, table.genres.sum(axis=0).tolist(), strict=True) if c}
    assert [genre["films"] for genre in report["genres"]] == sorted(counts.values(), reverse=True)
    few = inspect_films(table.with_genres([*table.genre_names, "News"]), min_films=5)
    assert (few["min_films"], few["never_occurring"]) == (5, ["News"])
    assert sorted(few["rare"]) == sorted(name for name, count in counts.items() if count < 5) != []


def test_near_hashes_are_found_whichever_of_their_bits_differ():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 50, np.uint64)
    four_bits = [sum(1 << int(bit) for bit in rng.choice(64, inspection.NEAR, replace=False)) for _ in hashes]
    hashes = np.append(hashes, hashes ^ np.array(four_bits, np.uint64))
    alike = np.zeros((100, 8, 9, 3), np.uint8)
    assert inspection._near(hashes, alike, range(100), []) == [[i, i + 50] for i in range(50)]


def test_near_identical_posters_form_groups():
    alone, same, first, other = np.random.default_rng(0).integers(0, 2**64, 4, np.uint64).tolist()
    chain = [first, first ^ 0b1111, first ^ 0b1111_1111]  # the first and the last differ in eight bits
    hashes = np.array([alone, same, same, *chain, *[other ^ i for i in range(4)], same, same], np.uint64)
    alike = np.zeros((len(hashes), 8, 9, 3), np.uint8)
    identical = [[1, 2, 10, 11]]
    assert inspection._near(hashes, alike, range(len(hashes)), []) == [*identical, [3, 4, 5], [6, 7, 8, 9]]
    assert inspection._near(hashes, alike, range(len(hashes)), identical) == [[3, 4, 5], [6, 7, 8, 9]]
    assert inspection._near(hashes, alike, range(len(hashes)), [[6, 7], [8, 9]])[-1] == [6, 7, 8, 9]


def test_the_largest_group_of_duplicates_comes_first(films):
    for number, like in ((21, 20), (23, 22), (24, 22)):
        shutil.copy(films / "posters" / f"sample{like:05}.jpg", films / "posters" / f"sample{number:05}.jpg")
    duplicates = inspect_films(read_films(films))["duplicates"]
    assert duplicates["identical_posters"] == [ids(22, 23, 24), ids(5, 6), ids(20, 21)]


def test_posters_with_equal_hashes_are_not_always_near_identical(films):
    bright_to_the_right = np.tile(np.linspace(0, 100, 90, dtype=np.uint8)[None, :, None], (120, 1, 3))
    Image.fromarray(bright_to_the_right).save(films / "posters" / "sample00020.jpg")
    bright_to_the_right[60:] += 150
    Image.fromarray(bright_to_the_right).save(films / "posters" / "sample00021.jpg")
    near = inspect_films(read_films(films))["duplicates"]["near_identical_posters"]
    assert ids(20, 21) not in near
    assert ids(9, 10) in near


def test_inspect_and_training_give_the_same_reason_for_no_posters(films):
    for file in (films / "posters").iterdir():
        file.rename(file.with_name(f"film-{file.name}"))
    (films / "posters.zip").touch()
    why = (
        f"{films / 'posters'} has film-sample00000.jpg, film-sample00001.jpg, film-sample00002.jpg, ..., "
        "but no sample00000.jpg, for example; posters.zip is next to the table: unpack it"
    )
    assert f"Posters: none; {why}" in inspect_films(read_films(films))["notes"]
    with pytest.raises(FilmDataError) as error:
        FilmData(str(films)).setup("fit")
    assert why in str(error.value)


def test_inspect_and_training_report_a_placeholder(films, caplog):
    for i in range(13, 25):
        shutil.copy(films / "posters" / "sample00012.jpg", films / "posters" / f"sample{i:05}.jpg")
    report = inspect_films(read_films(films), {"train": ids(*range(12, 18)), "test": ids(*range(18, 25))})
    assert report["placeholder_posters"] == [ids(*range(12, 25))]
    assert report["duplicates"]["identical_posters"] == [ids(5, 6)]
    assert {*ids(*range(12, 25))}.isdisjoint(i for pair in report["duplicates"]["near_identical_posters"] for i in pair)
    assert not [leak for leak in report["leaks"] if "poster" in leak["why"]]
    [note] = [note for note in report["notes"] if "placeholder" in note]
    assert note.startswith("13 films share one picture (sample00012, sample00013, ...: ")
    assert "--data.max_bad_fraction to at least 0.44" in note
    for option, count in (("overviews", 1), ("posters", 0)):
        caplog.clear()
        FilmData(str(films), max_bad_fraction=1.0, **{option: False}).setup("fit")
        assert [record.message for record in caplog.records].count(note) == count


def test_a_web_page_saved_as_many_posters_is_not_called_a_picture(films, caplog):
    for i in range(12, 25):
        (films / "posters" / f"sample{i:05}.jpg").write_text("<html>404 Not Found</html>")
    report = inspect_films(read_films(films))
    assert {*ids(*range(12, 25))} < {bad["id"] for bad in report["bad_posters"]}
    FilmData(str(films), max_bad_fraction=0.5, overviews=False).setup("fit")
    assert "one picture" not in "".join([*report["notes"], *caplog.messages])


@pytest.mark.parametrize(
    ("text", "says"),
    [("宇宙船", "word_split character"), ("Дом", "Set it to unicode"), ("رعب", "Set it to unicode"), ("é a b c d", "")],
)
def test_inspect_advises_how_to_split_overviews(tmp_path, text, says):
    (tmp_path / "films.csv").write_text(f"id,genres,overview\n1,Drama,{text}\n2,War,{text}\n", encoding="utf-8")
    notes = inspect_films(read_films(tmp_path))["notes"]
    assert says in "".join(notes)
    assert sum("--data." in note for note in notes) == bool(says)


def test_inspect_on_the_command_line(films, capsys, tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"train": ids(5), "test": ids(6)}))
    assert main(["data", "inspect", str(films), "--split", str(tmp_path / "split.json")]) == 0
    text = capsys.readouterr().out
    for part in (
        "30 films",
        "Drama",
        "bad posters: 1",
        "identical overviews: 1",
        "leaks between parts of the split: 1",
    ):
        assert part in text
    assert main(["data", "inspect", str(films), "--json", "--min_films", "31"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["films"] == 30
    assert len(report["rare"]) == len(report["genres"])


def test_long_lists_are_cut(write_csv, capsys):
    """A set with free tags for genres, in which hundreds of films have the same title and year."""
    rows = [[f"f{i}", "Alien", 1979, f"film {i}", f"Tag {i % 80:02}"] for i in range(1600)]
    path = write_csv("films.csv", [["id", "title", "year", "overview", "genres"], *rows])
    assert main(["data", "inspect", str(path), "--min_films", "100"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(" Tag") for line in lines) == 60
    assert lines.count("  and 20 more (--json has all)") == 2, "genres, and rare ones"
    assert f"  {', '.join(f'f{i}' for i in range(10))}, ... (1,600 films)" in lines


def test_ids_in_a_split_may_be_numbers(tmp_path, capsys):
    (tmp_path / "films.csv").write_text("id,genres,overview\n11,Drama,A ship is lost\n12,War,A ship is lost\n")
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"seed": 0, "train": [11], "test": [12]}))
    assert main(["data", "inspect", str(tmp_path), "--split", str(split), "--json"]) == 0
    [leak] = json.loads(capsys.readouterr().out)["leaks"]
    assert (leak["ids"], leak["why"]) == (["11", "12"], "identical overviews")


# --- prepare --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("posters", ["jpeg", "raw"])
def test_prepared_films_equal_the_originals(films, tmp_path, posters, monkeypatch):
    before = read_films(films)
    manifest = prepare_films(before, tmp_path / "out", (48, 32), posters=posters, films_per_shard=8)
    assert (manifest["films"], len(manifest["shards"]), manifest["quarantined"]) == (29, 4, 2)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [*(f"films-0000{n}-of-00004.tfrecord" for n in range(4)), "manifest.json", "quarantine.csv"]
    with (tmp_path / "out" / "quarantine.csv").open() as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["id", *ids(3, 4)]
    after = read_films(tmp_path / "out")
    kept = [i for i in range(30) if i != 4]  # neither poster nor overview
    expected = before.subset(kept)
    for column in ("ids", "titles", "years", "overviews", "genre_names"):
        assert getattr(after, column) == getattr(expected, column), column
    np.testing.assert_array_equal(after.genres, expected.genres)
    assert after.poster_paths[3] is None
    most = 0 if posters == "raw" else 12
    for old, new in zip(expected.poster_paths, after.poster_paths, strict=True):
        if new is not None:
            difference = np.abs(read_poster(old, (48, 32)).astype(int) - read_poster(new, (48, 32)))
            assert difference.mean() <= most
    data = FilmData(str(tmp_path / "out"), image_size=(24, 16), max_bad_fraction=0.1, batch_size=8)
    data.setup("fit")
    assert next(iter(data.train_dataloader()))["poster"].shape == (8, 24, 16, 3)

    monkeypatch.setattr(prepared, "_picture", lambda *_: pytest.fail("unpacked twice"))
    assert read_films(tmp_path / "out").poster_paths == after.poster_paths


def test_films_are_made_and_prepared_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_sample_films("~/films", n=3) == tmp_path / "films"
    prepare_films(read_films("~/films"), "~/out", (12, 8))
    assert len(read_films(tmp_path / "out")) == 3


def test_a_given_split_is_prepared_too(made, tmp_path):
    split = {"train": ids(*range(20)), "validation": ids(20, 21), "test": ids(*range(22, 30))}
    assert "split" not in prepare_films(read_films(made), tmp_path / "drawn", (12, 8))
    prepare_films(dataclasses.replace(read_films(made), split=split), tmp_path / "given", (12, 8))
    assert read_films(tmp_path / "drawn").split is None
    films = FilmData(str(tmp_path / "given"), image_size=(12, 8))
    films.setup("fit")
    assert films.split.sizes == (20, 2, 8)


def test_an_interrupted_preparation_resumes(films, tmp_path, monkeypatch):
    table, out = read_films(films), tmp_path / "out"
    whole = prepare_films(table, tmp_path / "whole", (24, 16), films_per_shard=8)
    written = []
    real = prepare._encoded

    def count(*arguments):
        written.append(arguments[2].start)
        if len(written) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(prepare, "_encoded", count)
    with pytest.raises(KeyboardInterrupt):
        prepare_films(table, out, (24, 16), films_per_shard=8)
    assert not (out / "manifest.json").exists()
    again = prepare_films(table, out, (24, 16), films_per_shard=8)
    assert written == [0, 8, 16, 16, 24]
    assert again == whole
    (out / ".DS_Store").touch()  # macOS writes it when the folder is viewed
    prepare_films(table, out, (24, 16), films_per_shard=8)  # preparing the same films again starts over
    assert len(written) == 9


def test_an_interrupted_shard_of_other_films_is_written_again(films, tmp_path):
    table = read_films(films)
    changed = dataclasses.replace(table, titles=["New", *table.titles[1:]])
    files = examine_posters(table.poster_paths, table.root)
    settings = {"image_size": [24, 16], "resize": "squash", "posters": "jpeg"}
    first, second = (
        prepare._shard(tmp_path / "a.tfrecord", some, files, range(4), settings) for some in (table, changed)
    )
    assert first["sha256"] != second["sha256"]


@pytest.mark.parametrize("left", [b"", b'{"key": "', b"\xff"])
def test_a_shard_whose_record_is_damaged_is_written_again(films, tmp_path, left):
    table, out = read_films(films), tmp_path / "out"
    whole = prepare_films(table, out, (24, 16), films_per_shard=16)
    (out / "manifest.json").unlink()
    (out / ".films-00000-of-00002.tfrecord.json").write_bytes(left)
    assert prepare_films(table, out, (24, 16), films_per_shard=16) == whole


@pytest.mark.skipif(sys.platform != "linux", reason="names must be Unicode on this system")
def test_films_in_a_folder_whose_name_is_not_utf8_are_prepared(films, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL, "kgenre")  # pytest-xdist cannot report such names
    poster = films / "posters" / "sample00002.jpg"
    poster.rename(tmp_path / "elsewhere.jpg")
    poster.symlink_to(tmp_path / "elsewhere.jpg")  # refused, with the folder's name in the reason
    table = read_films(films.rename(tmp_path / os.fsdecode(b"caf\xe9")))
    for _ in range(2):  # the second time, the source is compared with the manifest's
        prepare_films(table, tmp_path / "out", (24, 16))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["source"] == table.source
    assert "outside" in (tmp_path / "out" / "quarantine.csv").read_text(encoding="utf-8")
    films = FilmData(str(table.root), image_size=(12, 8), max_bad_fraction=1)
    films.setup("fit")
    films.save_artifacts(tmp_path / "run")
    assert "outside" in (tmp_path / "run" / "left_out.csv").read_text(encoding="utf-8")


def test_records_list_their_features_in_a_fixed_order():
    from kgenre.data.tensorflow import tf

    record = prepare._example(tf, ("tt1", "A", 1999, "B", ("Drama",)), b"p")
    places = [record.index(name) for name in (b"genres", b"id", b"overview", b"poster", b"title", b"year")]
    assert places == sorted(places), "in an order of the process's own"


def test_error_a_full_disk(films, tmp_path, monkeypatch):
    from kgenre.data.tensorflow import tf

    class Full(tf.io.TFRecordWriter):
        def write(self, record):
            raise tf.errors.ResourceExhaustedError(None, None, "x.tfrecord.writing; No space left on device")

    monkeypatch.setattr(tf.io, "TFRecordWriter", Full)
    with pytest.raises(
        FilmDataError, match=r"out cannot be written: No space left on device\. Finished shards are kept"
    ):
        prepare_films(read_films(films), tmp_path / "out", (24, 16))
    assert not list((tmp_path / "out").glob("*.writing"))


def test_error_shards_or_manifest_changed_or_missing(films, tmp_path):
    prepare_films(read_films(films), tmp_path / "out", (24, 16), films_per_shard=16)
    shard = tmp_path / "out" / "films-00000-of-00002.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(FilmDataError, match=r"sha256.*repeat kgenre data prepare"):
        read_films(tmp_path / "out")
    shard.unlink()
    with pytest.raises(FilmDataError, match="is missing"):
        read_films(tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    whole = manifest.read_text()
    for key in ("posters", "image_size"):
        manifest.write_text(whole.replace(f'"{key}"', '"other"'))
        with pytest.raises(FilmDataError, match="not a manifest"):
            read_films(tmp_path / "out")
    manifest.write_text(whole)
    for changed, says in (('"version": 2', "has version 2; this kgenre reads 1"), ('"versions": 1', "not a manifest")):
        manifest.write_text(manifest.read_text().replace('"version": 1', changed).replace('"version": 2', changed))
        with pytest.raises(FilmDataError, match=says):
            read_films(tmp_path / "out")


def test_error_the_cache_cannot_be_entered(made, tmp_path, monkeypatch):
    prepare_films(read_films(made), tmp_path / "out", (24, 16))
    monkeypatch.setenv("KGENRE_CACHE", str(tmp_path / ("long" * 100)))  # fails for every user, even for root
    with pytest.raises(FilmDataError, match="Set KGENRE_CACHE"):
        read_films(tmp_path / "out")


def test_error_a_folder_with_other_files(films, tmp_path):
    with pytest.raises(FilmDataError, match=r"other files in it, such as films\.csv"):
        prepare_films(read_films(films), films)
    with pytest.raises(FilmDataError, match="is a file"):
        prepare_films(read_films(films), films / "films.csv")
    (tmp_path / "app").mkdir()
    for other in ('{"name": "an app"}', "[1]"):
        (tmp_path / "app" / "manifest.json").write_text(other)
        with pytest.raises(FilmDataError, match=r"manifest\.json of something else\. Give a new folder\."):
            prepare_films(read_films(films), tmp_path / "app")
        assert (tmp_path / "app" / "manifest.json").read_text() == other


def test_films_without_any_input_are_left_out(tmp_path):
    (tmp_path / "films.csv").write_text("id,genres,overview\na,Drama,\nb,War,A man goes home.\nc,War, ...!\nd\n")
    table = read_films(tmp_path)
    assert prepare_films(table, tmp_path / "out")["films"] == 1
    prepare_films(table, tmp_path / "out")
    with pytest.raises(FilmDataError, match=r"already has prepared films, with resize squash instead of crop\."):
        prepare_films(table, tmp_path / "out", resize="crop")
    with pytest.raises(FilmDataError, match=r"already has prepared films, with source .*/films\.csv instead of others"):
        prepare_films(dataclasses.replace(table, source="others"), tmp_path / "out")
    quarantine = (tmp_path / "out" / "quarantine.csv").read_text()
    assert "a,no poster and no overview\n" in quarantine
    assert "c,no poster and no overview\n" in quarantine
    assert "line 5,the row has too few or too many fields\n" in quarantine
    assert quarantine.count("\n") == 4, "the header and these"
    with pytest.raises(FilmDataError, match=r"No film of .* can be used: no poster and no overview"):
        prepare_films(table.subset([0]), tmp_path / "none")
    with pytest.raises(FilmDataError, match=r"films\.csv has no films"):
        prepare_films(table.subset([]), tmp_path / "none")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"posters": "png"}, "must be one of"),
        ({"resize": "stretch"}, "must be one of"),
        ({"films_per_shard": 0}, "must be 1 or more"),
        ({"image_size": (10**20, 9)}, r"must be height and width in whole pixels, .* such as \(192, 128\)"),
    ],
    ids=str,
)
def test_error_argument(films, tmp_path, wrong, said):
    with pytest.raises(FilmDataError, match=said):
        prepare_films(read_films(films), tmp_path / "out", **wrong)


def test_inspect_films_without_genres(films, capsys):
    (films / "films.csv").unlink()
    assert main(["data", "inspect", str(films)]) == 0
    printed = capsys.readouterr().out
    assert "29 films, from posters without a table" in printed
    assert "share" not in printed, "no table of genres without genres"


def test_prepare_and_sample_on_the_command_line(tmp_path, capsys):
    assert main(["data", "sample", str(tmp_path / "sample"), "--films", "12"]) == 0
    arguments = ["data", "prepare", str(tmp_path / "sample"), str(tmp_path / "out"), "--image_size", "[24, 16]"]
    assert main(arguments) == 0
    assert "12 films in 1 shard (" in capsys.readouterr().out
    assert len(read_films(tmp_path / "out")) == 12


def test_error_command_line(tmp_path, capsys):
    assert main(["data", "look"]) == 1
    assert "inspect, prepare, sample" in capsys.readouterr().err
    assert main(["data"]) == 2
    assert main(["data", "inspect", str(tmp_path / "none")]) == 1
    assert main(["data", "inspect"]) == 2
