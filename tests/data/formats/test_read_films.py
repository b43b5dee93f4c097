import csv
import errno
import os
import shutil
from pathlib import Path

import pytest

from kgenre.data import FilmDataError, read_films
from kgenre.data.posters import why_missing

pytestmark = pytest.mark.backend_free

COURSE = [["Id", "Genre", "Action", "Drama", "N/A", "News", "Overview"]]
FILMS = [["id", "title", "year", "overview", "genres", "poster"]]


def course_row(film_id="tt1", genre="['Drama']", columns=(0, 1, 0, 0), overview="A man goes home."):
    return [film_id, genre, *columns, overview]


def film_row(film_id="a", title="Alien", year="1979", overview="A ship.", genres="Horror|Sci-Fi", poster=""):
    return [film_id, title, year, overview, genres, poster]


def test_course_layout_keeps_all_genre_columns_in_order(write_csv, tmp_path):
    write_csv("IMDB_overview_genres.csv", [*COURSE, course_row(), course_row("tt2", "['N/A']", (0, 0, 1, 0))])
    table = read_films(tmp_path)
    assert "coursework" in table.source
    assert table.genre_names == ("Action", "Drama", "N/A", "News")
    assert table.genres.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    assert table.overviews == ("A man goes home.",) * 2
    assert table.poster_paths == (None, None)


def test_course_layout_prefers_the_columns_to_a_different_list(write_csv):
    path = write_csv("any name.csv", [*COURSE, course_row(columns=(1, 0, 0, 0))])
    table = read_films(path)
    assert table.genres_of(0) == ("Action",)
    assert "Genre list and genre columns disagree in 1 film:" in table.notes[0]


def test_course_layout_without_genre_columns_reads_the_lists(write_csv):
    rows = [["Id", "Genre", "Overview"], ["1", "['War', 'Drama']", "x"], ["2", "__import__('os')", "y"]]
    table = read_films(write_csv("a.csv", rows))
    assert table.genre_names == ("Drama", "War")
    assert table.ids == ("1",)
    assert "not a list of names" in table.left_out[0].reason
    check_error(write_csv("b.csv", [rows[0], rows[2]]), "has no films (all 1 rows were left out: Genre is not a list")


def test_course_layout_reads_columns_saved_by_a_spreadsheet(write_csv):
    rows = [("FALSE", "TRUE", "FALSE", "FALSE"), ("True", "True", "False", "False")]
    rows = [course_row(f"tt{i}", columns=columns) for i, columns in enumerate(rows)]
    table = read_films(write_csv("a.csv", [*COURSE, *rows]))
    assert table.genre_names == ("Action", "Drama", "N/A", "News")
    assert table.genres.tolist() == [[0, 1, 0, 0], [1, 1, 0, 0]]


def test_course_layout_ignores_the_index_column_of_pandas(write_csv):
    rows = [["", *COURSE[0]], ["0", *course_row()], ["1", *course_row("tt2")]]
    assert read_films(write_csv("a.csv", rows)).genre_names == ("Action", "Drama", "N/A", "News")


def test_course_layout_with_a_row_in_another_encoding_than_the_header(tmp_path):
    header, row = "Id,Genre,Comédie,Drame,Overview\n", "tt1,['Drame'],0,1,Un café\n"
    (tmp_path / "a.csv").write_bytes(header.encode("utf-8") + row.encode("cp1252"))
    table = read_films(tmp_path)
    assert table.genre_names == ("ComÃ©die", "Drame")
    assert table.overviews == ("Un café",)
    assert "is not UTF-8 (3 bytes are not ASCII): read as Windows-1252" in table.notes[0]


@pytest.mark.parametrize("folder", ["Images", "posters", "images"])
@pytest.mark.parametrize("name", ["tt1.jpg", "tt1.JPG", "tt1.png"])
def test_course_layout_finds_posters(write_csv, tmp_path, folder, name):
    write_csv("IMDB_overview_genres.csv", [*COURSE, course_row(), course_row("tt2")])
    (tmp_path / folder).mkdir()
    (tmp_path / folder / name).touch()
    (tmp_path / folder / f"._{name}").touch()  # what macOS leaves on other disks
    expected = (tmp_path / folder / name, tmp_path / folder / "tt2.jpg")
    assert read_films(tmp_path).poster_paths == expected


def test_films_layout(write_csv, tmp_path):
    rows = [film_row(), film_row("b", "", "1983.0", "", "", "p/b.jpg"), film_row("c", year="1979-05-25", genres="N/A")]
    rows.append(film_row("d", year="soon", genres=""))
    write_csv("films.csv", FILMS + rows, encoding="utf-8-sig")
    table = read_films(tmp_path)
    assert "films.csv" in table.source
    assert table.genre_names == ("Horror", "Sci-Fi")
    assert table.genres.tolist() == [[1, 1], [0, 0], [0, 0], [0, 0]]
    assert table.years == (1979, 1983, 1979, None)
    assert table.poster_paths == (None, tmp_path / "p/b.jpg", None, None)


def test_films_layout_needs_only_ids_and_genres(write_csv):
    table = read_films(write_csv("a.csv", [["id", "genres"], ["1", ""]]))
    assert table.genres.shape == (1, 0)
    assert table.titles == table.overviews == ("",)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("lineterminator", ["\n", "\r\n"])
def test_other_delimiters_and_line_ends(write_csv, delimiter, lineterminator):
    path = write_csv("a.csv", [*FILMS, film_row()], delimiter=delimiter, lineterminator=lineterminator)
    assert read_films(path).titles == ("Alien",)


def test_quotes_may_follow_the_blank_after_a_comma(tmp_path):
    rows = ["id, genres, title, overview", '1, "Drama|War", "Heat, again", "A ""ship""."', "2, War, B, C"]
    (tmp_path / "films.csv").write_text("\n".join(rows))
    table = read_films(tmp_path)
    assert (table.titles, table.overviews) == (("Heat, again", "B"), ('A "ship".', "C"))
    assert table.genre_names == ("Drama", "War")


def test_films_csv_is_preferred_and_course_can_be_forced(write_csv, tmp_path):
    write_csv("films.csv", [*FILMS, film_row()])
    write_csv("IMDB_overview_genres.csv", [*COURSE, course_row()])
    assert read_films(tmp_path).ids == ("a",)
    assert read_films(tmp_path, format="course").ids == ("tt1",)


def test_a_table_in_a_subfolder_is_found(write_csv, tmp_path):
    write_csv("data/films.csv", [*FILMS, film_row()])
    (tmp_path / "__MACOSX").mkdir()
    assert read_films(tmp_path).ids == ("a",)


def test_invalid_rows_are_left_out_with_a_reason(write_csv):
    rows = [film_row(), ["short", "row"], film_row(""), [], film_row("a", "Twin"), film_row(), film_row("b")]
    rows.append(["a row", *film_row("c")])
    table = read_films(write_csv("films.csv", FILMS + rows))
    assert table.ids == ("a", "b")
    assert [(i, r.split(":")[-1].strip()) for i, r in table.left_out] == [
        ("line 3", "the row has too few or too many fields"),
        ("line 4", "the row has no id"),
        ("a", "an earlier row has the same id"),
        ("a", "an earlier row is the same"),
        ("line 9", "the row has too few or too many fields"),
    ]


def test_error_unquoted_separators_in_texts(write_csv):
    films = [course_row(f"tt{i}") for i in range(3)]
    divided = [[*course_row(f"tt{i}"), "and back again."] for i in range(3, 6)]
    assert len(read_films(write_csv("films.csv", [*COURSE, *films, *divided]))) == 3
    with pytest.raises(
        FilmDataError, match=r"4 of 7 rows have too few or too many fields, such as line 5\.\nTexts that contain"
    ):
        read_films(write_csv("films.csv", [*COURSE, *films, *divided, divided[0]]))


def test_rows_that_contradict_an_earlier_one_are_noted(write_csv):
    rows = [["a", "Drama", "A ship."], ["a", "War", "A ship."], ["b", "War", "A car."], ["b", "War", "A car."]]
    table = read_films(write_csv("films.csv", [["id", "genres", "overview"], *rows]))
    assert table.genres_of(0) == ("Drama",)
    [note] = table.notes
    assert note.startswith("1 row has the id of an earlier row but different cells: only a film's first row is used.")
    same = read_films(write_csv("films.csv", [["id", "genres", "overview"], *rows[2:]]))
    assert not same.notes


@pytest.mark.parametrize(
    ("header", "film"),
    [
        (["id", "genres", "overview"], ["{}", "Drama", "Genres"]),
        (["_id", "genres", "overview"], ["{}", "Drama", "Genres"]),
        (["Id", "Genre", "Drama", "Overview"], ["{}", "['Drama']", "1", "Overview"]),
        (["", "Wiki Page", "Title", "Genre", "Plot"], ["", "x.org/{}", "Title", "drama", "Plot"]),
        (["imdbId", "Title", "Genre", "Poster"], ["{}", "Title", "Drama", "Poster"]),
    ],
)
def test_repeated_column_names_are_no_film(write_csv, header, film):
    rows = [header, [cell.format(1) for cell in film], header, [cell.format(2) for cell in film]]
    table = read_films(write_csv("a.csv", rows))
    assert (table.ids, len(table.genre_names)) == (("1", "2"), 1)
    assert table.left_out == (("line 3", "the row repeats the column names"),)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_with_byte_order_marks_may_be_joined(write_csv, tmp_path, encoding):
    tables = [write_csv(f"{n}.txt", [*FILMS, film_row(f"{n}", genres="War")], encoding=encoding) for n in range(2)]
    (tmp_path / "films.csv").write_bytes(b"".join(table.read_bytes() for table in tables))
    table = read_films(tmp_path)
    assert (table.ids, table.genre_names) == (("0", "1"), ("War",))
    assert table.left_out == (("line 3", "the row repeats the column names"),)


def test_line_ends_inside_a_field_are_kept(write_csv):
    path = write_csv("films.csv", [*FILMS, film_row(overview="One.\r\nTwo."), film_row("b")])
    assert read_films(path).overviews == ("One.\r\nTwo.", "A ship.")


@pytest.mark.parametrize("rows", [[*FILMS, film_row(), film_row("b")], [*COURSE, course_row(), course_row("tt2")]])
def test_error_a_truncated_table(write_csv, rows):
    path = write_csv("a.csv", rows, quoting=csv.QUOTE_ALL)
    path.write_bytes(path.read_bytes()[:-8])
    check_error(path, "is truncated: it ends inside a quoted field of the row that begins on line 3")


@pytest.mark.parametrize(
    ("text", "line"),
    [('id,"genres', 1), ('id,genres\na,"War', 2), ('id,genres\na,War\n"', 3), ('id,genres\n\na,"War ""\n', 3)],
)
def test_error_a_quote_is_open_at_the_end_of_a_table(tmp_path, text, line):
    (tmp_path / "films.csv").write_text(text)
    check_error(tmp_path, f"is truncated: it ends inside a quoted field of the row that begins on line {line}.")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_error_a_table_truncated_inside_a_letter(tmp_path, encoding):
    text = "id,genres,title\na,War,Amélie\nb,War,Café"
    path = tmp_path / "films.csv"
    path.write_bytes(text.encode(encoding)[:-1])
    check_error(path, "is truncated: it ends inside a letter")


def test_a_single_letter_in_windows_1252_at_the_end_of_a_table(tmp_path):
    (tmp_path / "films.csv").write_bytes("id,genres,title\na,War,Café".encode("cp1252"))
    assert read_films(tmp_path).titles == ("Café",)


def check_error(path, *parts, format="auto"):
    with pytest.raises(FilmDataError) as error:
        read_films(path, format)
    message = str(error.value)
    assert len(message.splitlines()) <= 2
    for part in parts:
        assert part in message


def test_error_no_such_path(tmp_path):
    check_error(tmp_path / "no" / "where", "No such file or folder", f"{tmp_path} exists")
    check_error("~nobody of this name/films", "No such file or folder: ~nobody of this name/films")
    check_error(tmp_path / ("long" * 100), "long cannot be read: File name too long.")


def test_error_a_disk_that_fails_while_a_table_is_read(write_csv, tmp_path, monkeypatch):
    def fail(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    path = write_csv("films.csv", [*FILMS, film_row()])
    monkeypatch.setattr("kgenre.data.formats.text_encoding.is_utf16", fail)  # after the header was read
    check_error(tmp_path, f"{path} cannot be read: Input/output error.")


def test_error_unknown_format(tmp_path):
    check_error(tmp_path, "format='imdb'", "'auto', 'films', 'course'", format="imdb")


def test_error_folder_without_a_table(tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "pictures").mkdir()
    check_error(tmp_path, "notes.txt, pictures/", "films.csv", "IMDB_overview_genres.csv")


@pytest.mark.parametrize(("format", "id_column"), [("auto", "Nr"), ("course", "Id")])
def test_error_missing_columns_are_named(write_csv, tmp_path, format, id_column):
    path = write_csv("IMDB_overview_genres.csv", [[id_column, "Title", "Overview"], ["1", "x", "y"]])
    for given in (path, tmp_path):
        check_error(given, "lacks the columns", "Genre", f"Its columns: {id_column}, Title, Overview", format=format)


@pytest.mark.parametrize("content", ["", "id,genres\n", "id,genres\n,\n\n"])
def test_error_empty_table(tmp_path, content):
    (tmp_path / "films.csv").write_text(content)
    check_error(tmp_path / "films.csv", "lacks the columns" if not content else "has no films")


def test_error_all_rows_left_out_says_why(write_csv):
    check_error(write_csv("films.csv", [*FILMS, ["a"], ["b"]]), "all 2 rows were left out", "too few")


@pytest.mark.parametrize("layout", ["films", "course"])
@pytest.mark.parametrize(
    ("encoding", "name", "apostrophe"), [("cp1252", "Windows-1252", "’"), ("latin-1", "Latin-1", "\x81")]
)
def test_a_table_in_windows_1252_is_read_with_a_note(write_csv, layout, encoding, name, apostrophe):
    overview = f"It{apostrophe}s Amélie"
    rows = [[*FILMS[0], "Länge"], [*film_row(overview=overview), ""]]
    if layout == "course":
        rows = [[*COURSE[0], "Länge"], [*course_row(overview=overview), ""]]
    table = read_films(write_csv("a.csv", rows, encoding=encoding), layout)
    assert table.overviews == (overview,)
    assert f"a.csv is not UTF-8 (3 bytes are not ASCII): read as {name}" in table.notes[0]


@pytest.mark.parametrize(
    ("encoding", "title", "column"),
    [("cp1251", "Фильм о войне", "title"), ("gb18030", "战争与和平", "title"), ("shift_jis", "Heat", "シリーズ")],
)
def test_error_neither_utf8_nor_windows_1252(write_csv, encoding, title, column):
    path = write_csv("films.csv", [["id", "genres", column], ["1", "a", title]], encoding=encoding)
    check_error(path, "is not UTF-8 text", "iconv -f GB18030 -t UTF-8")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
def test_error_unicode_text_without_its_mark(write_csv, encoding):
    path = write_csv("films.csv", [*FILMS, film_row()], encoding=encoding)
    check_error(path, "is not UTF-8 text (byte 0x00)")


def test_error_a_pointer_of_git_lfs(tmp_path):
    (tmp_path / "films.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n")
    check_error(tmp_path, "git lfs pull")


def test_unicode_text_from_a_spreadsheet_is_read(write_csv, tmp_path):
    rows = [["", " ID", "Title ", "Overview", "Genres"], ["0", "1", "Фильм", "О войне", "Драма; Военный"]]
    rows += [["1", "2", "战争", "", "Военный"], ["2", "3", "", "", "Драма"]]
    path = write_csv("Filme Kopie.csv", rows, encoding="utf-16", delimiter="\t", lineterminator="\r\n")
    for given in (path, tmp_path):
        table = read_films(given)
        assert table.titles == ("Фильм", "战争", "")
        assert table.genres_of(0) == ("Военный", "Драма")


def test_the_exact_column_name_wins_over_other_capitals(write_csv):
    table = read_films(write_csv("a.csv", [["id", "ID", "genres", "Genres"], ["a", "b", "War", "Drama"]]))
    assert (table.ids, table.genre_names) == (("a",), ("War",))


def test_error_a_column_that_appears_twice(write_csv):
    check_error(write_csv("films.csv", [["id", "genres", "genres"], ["1", "a", ""]]), "the column genres appears twice")


def test_error_columns_that_differ_only_in_capitals(write_csv):
    path = write_csv("films.csv", [["id", "Genres", "GENRES"], ["1", "War", "Drama"]])
    check_error(path, "the columns Genres and GENRES have the same name, apart from capitals")


def test_error_unclosed_quote(tmp_path):
    rows = ['1,Drama,"it begins here'] + [f"{i},Drama,fine" for i in range(2, 300)]
    (tmp_path / "films.csv").write_text("\n".join(["id,genres,overview", *rows]) + "\n")
    check_error(tmp_path, "opened near line 2")


@pytest.mark.parametrize(
    "genres",
    [
        "{'id': 18, 'name': 'Drama'}",
        "[18]",
        "[Drama]",
        "('Drama')",
        "{'name': 'Drama'}",
        "18",
        "18.0",
        "Drama, War",
        "Drama;War",
    ],
)
def test_error_genres_of_another_layout(write_csv, genres):
    path = write_csv("films.csv", [["id", "genres"], ["1", "Drama"], ["2", genres]])
    check_error(path, "film 2", genres, "Drama|Romance")


def test_genres_joined_by_bars_may_contain_commas(write_csv):
    table = read_films(write_csv("films.csv", [["id", "genres"], ["1", "Drama|War"], ["2", "News, Talk"]]))
    assert table.genre_names == ("Drama", "News, Talk", "War")


def films_with_genres(write_csv, cells):
    return read_films(write_csv("films.csv", [["id", "genres"], *([str(i), cell] for i, cell in enumerate(cells))]))


@pytest.mark.parametrize("join", ["; ", ";", ", ", " / ", "/", "、", "，", "；", "، "])
def test_genres_without_bars_are_split_if_parts_occur_elsewhere(write_csv, join):
    genres = [("Drama", "War"), ("War",), ("Crime", "Drama"), ("Crime", "War"), ("War", "Drama"), ()]
    table = films_with_genres(write_csv, [join.join(names) for names in genres])
    assert table.genre_names == ("Crime", "Drama", "War")
    assert [table.genres_of(i) for i in range(len(table))] == [tuple(sorted(names)) for names in genres]
    assert table.notes == (f"The genres of films.csv are split at {join.strip()!r}: no cell contains a |.",)


def test_a_genre_with_a_part_found_nowhere_else_is_not_split(write_csv):
    table = films_with_genres(write_csv, ["Drama", "War", "Kids / Animation", "War", "Animation", "Kids / Animation"])
    assert table.genre_names == ("Animation", "Drama", "Kids / Animation", "War")
    assert table.notes == ()


@pytest.mark.parametrize(
    "cell",
    [
        "['Drama', 'War']",
        "('Drama', 'War')",
        '["Drama", "War"]',
        "['Drama' 'War']",
        "['Drama|War']",
        "[{'id': 18, 'name': 'Drama'}, {'name': 'War'}]",
    ],
)
def test_a_list_of_genres_is_read_in_films_csv(write_csv, cell):
    table = films_with_genres(write_csv, [cell, "[]", "News", "nan", "None"])
    assert [table.genres_of(i) for i in range(5)] == [("Drama", "War"), (), ("News",), (), ()]


def test_course_layout_reads_a_list_written_by_numpy(write_csv):
    rows = [["Id", "Genre", "Overview"], ["1", "['War' 'Drama']", "x"]]
    assert read_films(write_csv("a.csv", rows)).genre_names == ("Drama", "War")


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["Drama", "Fan/Far", "News/Sci", "War/Zen"], "3 of 4 genre names look like several genres, such as 'Fan/Far'"),
        (["War|Drama", "Drama, War"], "1 of 3 genre names looks like several genres, such as 'Drama, War'"),
        (["War", "Drama", "War Drama", "Drama War", "News", "News War"], "3 of 6 genre names look like several genres"),
        (
            ["War Drama", "Crime Drama", "War Crime"],
            "3 of 3 genre names look like several genres, such as 'Crime Drama'",
        ),
        (["War", "Drama", "News", "War Drama"], ""),
        (["Spaghetti Western", "Dark Comedy", "Road Movie"], ""),
        ([f"g{i // 2}" for i in range(100)], "50 genres for 100 films, such as 'g0'"),
        ([f"g{i // 4}" for i in range(100)], ""),
    ],
)
def test_suspicious_genres_are_noted(write_csv, cells, says):
    assert says in "".join(notes := films_with_genres(write_csv, cells).notes)
    assert len(notes) == bool(says)


@pytest.mark.parametrize("column", ["overview", "poster", "title"])
def test_a_table_without_genres_is_read_if_it_is_the_only_one(write_csv, tmp_path, column):
    write_csv("new.csv", [["id", column], ["a", "x"]])
    assert (read_films(tmp_path).ids, read_films(tmp_path).genre_names) == (("a",), ())
    write_csv("b.csv", [["id", "title", "genre", "overview"], ["b", "x", "Drama", "y"]])
    assert read_films(tmp_path).ids == ("b",)


def test_error_empty_path():
    check_error("", "''", "Give a folder or table of films")


def test_unreadable_files_next_to_the_table_are_ignored(write_csv, tmp_path, monkeypatch):
    write_csv("films.csv", [*FILMS, film_row()])
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "a.json").write_text("{cut of")
    (tmp_path / "secret.tsv").touch()
    opened = Path.open

    def refuse(path, *args, **options):  # simulated: root may read every file
        if path.name == "secret.tsv":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert read_films(tmp_path).ids == ("a",)
    check_error(tmp_path / "secret.tsv", "secret.tsv cannot be read: Permission denied.")


@pytest.fixture
def unlisted(monkeypatch):
    """Call with a folder that then may be entered but not listed; simulated, since root may list everything."""

    def unlist(folder):
        for name in ("scandir", "listdir"):
            listed = getattr(os, name)

            def refuse(path=".", listed=listed):
                if os.fspath(path) == str(folder):
                    raise PermissionError(13, "Permission denied", str(path))
                return listed(path)

            monkeypatch.setattr(os, name, refuse)

    return unlist


def test_error_a_folder_that_may_not_be_listed(write_csv, tmp_path, unlisted):
    write_csv("films.csv", [*FILMS, film_row()])
    unlisted(tmp_path)
    check_error(tmp_path, f"{tmp_path} cannot be read: Permission denied.")


def test_a_subfolder_that_may_not_be_entered_is_passed_over(write_csv, tmp_path, monkeypatch, unlisted):
    write_csv("downloads/course/films.csv", [*FILMS, film_row()])
    (tmp_path / "lost+found").mkdir()
    unlisted(tmp_path / "lost+found")
    stat = os.stat

    def refuse(path, **options):  # simulated: root may enter every folder
        if os.path.basename(os.path.dirname(path)) == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    check_error(tmp_path, f"A subfolder has films.csv: give {tmp_path / 'downloads' / 'course'}.")


def test_error_posters_in_a_folder_that_cannot_be_looked_at(write_csv, tmp_path):
    write_csv("films.csv", [*FILMS, film_row(poster=f"{'long' * 100}/a.jpg")])
    assert f"{'long' * 100} does not exist" in why_missing(read_films(tmp_path))


@pytest.mark.parametrize("suffix", [".tiff", ".HEIC"])
def test_error_posters_in_a_format_that_is_not_read(write_csv, tmp_path, suffix):
    (tmp_path / "posters").mkdir()
    for name in ("a.json", f"a{suffix}", "b.jpg"):
        (tmp_path / "posters" / name).write_bytes(b"x")
    table = read_films(write_csv("films.csv", [["id", "genres"], ["a", "War"], ["b", "War"]]))
    assert f"has a{suffix}, for example, whose format is not read: save it as JPEG or PNG" in why_missing(table)


def test_error_two_tables_of_which_one_is_named_like_films(write_csv, tmp_path):
    write_csv("movies.csv", [["movieId", "title", "overview"], ["1", "x", "y"]])
    write_csv("genres.csv", [["movieId", "genre"], ["1", "War"]])
    check_error(tmp_path, "movies.csv lacks the columns", "Its columns: movieId, title", "genres (joined by |)")


def test_a_table_separated_by_tabs_is_found_in_its_folder(write_csv, tmp_path):
    write_csv("data.tsv", [["id\tgenres\toverview"], ["a\tDrama|War\tA plot"]])
    (tmp_path / "a.jpg").touch()
    table = read_films(tmp_path)
    assert (table.ids, table.genre_names, table.overviews) == (("a",), ("Drama", "War"), ("A plot",))
    write_csv("data.tsv", [["file\tDrama\tWar"], ["a.jpg\t1\t0"]])
    check_error(tmp_path, "data.tsv lacks the columns", "Its columns: file, Drama, War")


def test_error_posters_that_are_listed_but_do_not_exist(write_csv, tmp_path, monkeypatch):
    table = read_films(write_csv("films.csv", [*FILMS, film_row(poster="posters/a.jpg")]))
    poster = tmp_path / "posters" / "a.jpg"
    poster.parent.mkdir()
    poster.symlink_to("/mnt/gone/a.jpg")
    assert why_missing(table) == f"{poster} is a link to /mnt/gone/a.jpg, which does not exist"
    monkeypatch.setattr(os.path, "islink", lambda _: False)  # as in a folder that may not be entered; root may
    assert "the folder's permissions lack x" in why_missing(table)


def test_a_table_in_a_folder_that_may_not_be_listed(write_csv, tmp_path, unlisted):
    (tmp_path / "posters").mkdir()
    (tmp_path / "posters" / "b.jpg").write_bytes(b"x")
    path = write_csv("films.csv", [*FILMS, film_row(), film_row("b", poster="posters/b.jpg")])
    unlisted(tmp_path)
    table = read_films(path)
    assert table.poster_paths == (None, tmp_path / "posters" / "b.jpg")
    assert why_missing(table.subset([0])) == f"the folder {tmp_path} cannot be listed"
    unlisted(tmp_path / "posters")
    (tmp_path / "posters" / "b.jpg").unlink()
    assert why_missing(table) == f"the folder {tmp_path / 'posters'} cannot be listed"


def test_error_archive(tmp_path):
    (tmp_path / "films.zip").write_bytes(b"PK\x03\x04")
    check_error(tmp_path / "films.zip", "Unpack it")


def test_error_a_poster_or_the_folder_of_posters(write_csv, tmp_path):
    write_csv("films.csv", [*FILMS, film_row()])
    (tmp_path / "posters").mkdir()
    (tmp_path / "posters" / "a.jpg").write_bytes(b"\xff\xd8")
    check_error(tmp_path / "posters" / "a.jpg", "is not a CSV file")
    check_error(tmp_path / "posters", f"Give {tmp_path}.")


def test_error_a_folder_above_names_the_subfolder(write_csv, tmp_path):
    write_csv("course/films/films.csv", [*FILMS, film_row()])
    (tmp_path / "notes").mkdir()
    check_error(tmp_path, f"A subfolder has films.csv: give {tmp_path / 'course' / 'films'}.")
    write_csv("other/films.csv", [*FILMS, film_row()])
    check_error(tmp_path, f"Subfolders have tables of films: give one of them, such as {tmp_path / 'other'}.")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("films.zip", "Unpack films.zip and give the folder"),
        ("films.csv.gz", "Unpack films.csv.gz"),
        ("films.xlsx", "Save films.xlsx as 'CSV UTF-8'"),
        ("films.txt", "give the file itself: "),
        ("films.csv.txt", "give the file itself: "),
    ],
)
def test_error_a_folder_with_other_files(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"PK")
    check_error(tmp_path, f"It has: {name}", advice)


def test_error_unknown_columns(write_csv):
    rows = [["imdb", "plot", "tags"], ["tt1", "A ship.", "Horror"]]
    check_error(write_csv("a.csv", rows), "Its columns: imdb, plot, tags", "name the columns id, genres (joined by |)")


def test_file_names_may_be_in_upper_case(write_csv, tmp_path):
    write_csv("FILMS.CSV", [*FILMS, film_row()])
    write_csv("posters/a.JFIF", [])
    assert read_films(tmp_path).poster_paths == (tmp_path / "posters" / "a.JFIF",)


def test_error_two_tables_that_fit(write_csv, tmp_path):
    for name in ("mine.csv", "test.csv"):
        write_csv(name, [*FILMS, film_row()])
    check_error(tmp_path, "2 files that fit: mine.csv, test.csv")
    for name in ("mine.csv", "train.csv", "val.csv"):
        write_csv(name, [*FILMS, film_row()])
    (tmp_path / "mine.csv").rename(tmp_path / "valid.csv")
    check_error(tmp_path, "4 files that fit: test.csv, train.csv, val.csv, valid.csv")


@pytest.mark.parametrize("validation", ["val", "Valid", "validation"])
def test_a_file_for_each_part_becomes_one_table_with_a_split(write_csv, tmp_path, validation):
    write_csv("posters/b.jpg", [])
    write_csv("train.csv", [*FILMS, film_row("a"), film_row("b", genres="Drama")])
    write_csv(f"{validation}.csv", [*FILMS, film_row("c", genres="War"), film_row("")])
    write_csv("test.csv", [*FILMS, film_row("b"), film_row("d", "Heat", "1995", "A heist.", "Drama|Action")])
    table = read_films(tmp_path)
    assert table.ids == ("a", "b", "c", "d")
    assert table.split == {"train": ("a", "b"), "validation": ("c",), "test": ("d",)}
    assert table.genre_names == ("Action", "Drama", "Horror", "Sci-Fi", "War")
    assert [table.genres_of(i) for i in (1, 2, 3)] == [("Drama",), ("War",), ("Action", "Drama")]
    assert (table.titles[3], table.years[3], table.overviews[3]) == ("Heat", 1995, "A heist.")
    assert table.poster_paths[1] == tmp_path / "posters" / "b.jpg"
    assert table.posters_found == "1 of 4 in posters/"
    assert table.left_out == (
        ("line 3", f"{validation}.csv: the row has no id"),
        ("b", "test.csv: it is in another part too"),
    )
    assert f"train.csv with {validation}.csv and test.csv" in table.source


@pytest.mark.parametrize("separator", [", ", " / ", ";"])
def test_the_genres_of_small_parts_are_split_as_those_of_training(write_csv, tmp_path, separator):
    genres = {"train": ["Drama|War", "War|Crime", "Crime|Drama", "Drama"], "val": ["War|Drama"], "test": ["Crime"]}
    for part, cells in genres.items():
        films = [film_row(f"{part}{i}", genres=cell.replace("|", separator)) for i, cell in enumerate(cells)]
        write_csv(f"{part}.csv", [*FILMS, *films])
    table = read_films(tmp_path)
    assert table.genre_names == ("Crime", "Drama", "War")
    assert [table.genres_of(i) for i in (0, 4, 5)] == [("Drama", "War"), ("Drama", "War"), ("Crime",)]


def test_parts_of_the_course_layout_may_have_different_genre_columns(write_csv, tmp_path):
    write_csv("train.csv", [["Id", "Genre", "Drama", "Score", "Overview"], ["a", "['Drama']", 1, 7, "x"]])
    write_csv("val.csv", [["Id", "Genre", "War", "Drama", "Overview"], ["b", "['War']", 1, 0, "y"]])
    write_csv("test.csv", [["Id", "Genre", "Overview"], ["c", "['War']", "z"]])
    table = read_films(tmp_path)
    assert table.genre_names == ("Drama", "War")
    assert table.genres.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert table.split == {"train": ("a",), "validation": ("b",), "test": ("c",)}
    assert table.notes == ()


def test_error_a_part_without_films(write_csv, tmp_path):
    write_csv("train.csv", [*FILMS, film_row("a")])
    write_csv("test.csv", FILMS)
    check_error(tmp_path, f"{tmp_path / 'test.csv'} has no films (only a header).")


def test_real_films_are_equal_in_both_layouts(real_data):
    films = read_films(real_data / "films")
    course = read_films(real_data / "films", "course")
    assert len(films) == len(course) == 2500
    assert len(films.genre_names) == 20
    assert len(course.genre_names) == 25
    assert films.ids == course.ids
    assert films.overviews == course.overviews
    assert films.poster_paths == course.poster_paths
    assert all(path.is_file() for path in films.poster_paths)
    for i in range(len(films)):
        assert films.genres_of(i) == tuple(g for g in course.genres_of(i) if g != "N/A")
    assert not course.notes + course.left_out + films.left_out


def test_a_table_copied_without_its_posters_has_no_paths(real_data, tmp_path):
    shutil.copy(real_data / "films" / "IMDB_overview_genres.csv", tmp_path)
    assert set(read_films(tmp_path).poster_paths) == {None}
