"""Layouts with a column for each attribute of a film: invented files in these layouts, and real ones."""

import json
import math
import random

import pytest

from kgenre.data import FilmDataError, read_films

pytestmark = pytest.mark.backend_free

MOVIE_GENRE = ["imdbId", "Imdb Link", "Title", "IMDB Score", "Genre", "Poster"]
METADATA = ["genres", "id", "imdb_id", "original_title", "overview", "poster_path", "release_date", "title"]
TMDB_5000 = ["genres", "id", "keywords", "original_title", "overview", "release_date", "title"]
TOP_10K = ["id", "title", "genre", "overview", "release_date"]
PLOTS = ["Release Year", "Title", "Genre", "Wiki Page", "Plot"]
OMDB = {
    "Title": "Alien",
    "Year": "1979–1980",
    "Genre": "Horror, Sci-Fi",
    "Plot": "N/A",
    "imdbID": "tt1",
    "Poster": "N/A",
}


def movie_genre_row(film_id="78", title="Alien (1979)", genre="Horror|Sci-Fi", poster="http://x.org/a@.jpg"):
    return [film_id, f"http://x.org/tt{film_id}", title, "8.4", genre, poster]


def metadata_row(
    genres="[{'id': 27, 'name': 'Horror'}, {'id': 53, 'name': \"It's \"}]", film_id="7", overview="A ship."
):
    return [genres, film_id, "tt78", "Alien", overview, "/p0.jpg", "1979-05-25", "Alien"]


def write_json(path, data):
    path.write_text(json.dumps(data))
    return path


def check(table, source, title="Alien", year=1979, genres=("Horror", "Sci-Fi"), overview="A ship."):
    assert source in table.source
    found = (table.titles[0], table.years[0], table.genres_of(0), table.overviews[0])
    assert found == (title, year, genres, overview)


def check_error(path, *parts):
    with pytest.raises(FilmDataError) as error:
        read_films(path)
    assert len(str(error.value).splitlines()) <= 2
    for part in parts:
        assert part in str(error.value)


def test_movie_genre(write_csv, tmp_path):
    rows = [
        movie_genre_row(),
        movie_genre_row("79", "2001: A Film (1968)", "Drama"),
        movie_genre_row("80", "No Year", ""),
    ]
    write_csv("MovieGenre.csv", [MOVIE_GENRE, *rows], lineterminator="\r\n")
    table = read_films(tmp_path)
    check(table, "MovieGenre", overview="")
    assert table.titles[1:] == ("2001: A Film", "No Year")
    assert table.years[1:] == (1968, None)
    assert table.genre_names == ("Drama", "Horror", "Sci-Fi")
    assert table.genres.sum(1).tolist() == [2, 1, 0]
    assert table.poster_paths == (None,) * 3
    assert not table.notes


def test_movie_genre_with_a_column_of_overviews(write_csv):
    path = write_csv("MovieGenre.csv", [[*MOVIE_GENRE, "Overview"], [*movie_genre_row(), "A ship."]])
    check(read_films(path), "MovieGenre")


def test_a_byte_order_mark_before_another_encoding(write_csv):
    path = write_csv("m.csv", [MOVIE_GENRE, movie_genre_row(title="Amélie (2001)")], encoding="cp1252")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    table = read_films(path)
    assert table.titles == ("Amélie",)
    assert "read as Windows-1252" in table.notes[0]


@pytest.mark.parametrize("name", ["78.jpg", "tt0000078.jpg", "a@.jpg"])
@pytest.mark.parametrize("folder", ["SampleMoviePosters", "Images"])
def test_movie_genre_finds_posters_by_id_or_link(write_csv, tmp_path, folder, name):
    path = write_csv("m.csv", [MOVIE_GENRE, movie_genre_row(), movie_genre_row("79", poster="http://x.org/b.jpg")])
    (tmp_path / folder).mkdir()
    (tmp_path / folder / name).touch()
    assert read_films(path).poster_paths == (tmp_path / folder / name, tmp_path / folder / "79.jpg")


def test_movie_genre_with_a_column_for_each_genre(write_csv):
    rows = [["imdbId", "Genre", "Poster", "War", "Drama"], ["1", "War|Drama", "image0.jpg", "1", "1"]]
    assert read_films(write_csv("m.csv", rows)).genre_names == ("Drama", "War")


def test_movies_metadata(write_csv, tmp_path):
    rows = [
        metadata_row(),
        metadata_row("[]", "8", "One.\nTwo."),
        metadata_row("Some Productions", "1997-08-20"),  # the published file has three such rows
        metadata_row("__import__('os')", "9"),
        metadata_row(film_id="10", overview="No overview found."),
    ]
    path = write_csv("movies_metadata.csv", [METADATA, *rows])
    path.write_bytes(path.read_bytes().replace(b"A ship.", b'"A\nship."').replace(b'""A', b'"A'))
    (tmp_path / "posters").mkdir()
    (tmp_path / "posters" / "p0.jpg").touch()
    table = read_films(tmp_path)
    check(table, "movies_metadata", genres=("Horror", "It's"), overview="A\nship.")
    assert table.ids == ("7", "8", "10")
    assert table.overviews[1:] == ("One.\nTwo.", "")
    assert table.genres.sum(1).tolist() == [2, 0, 2]
    assert [film for film, reason in table.left_out if "not a list of genres" in reason] == ["1997-08-20", "9"]
    assert table.poster_paths[0] == tmp_path / "posters" / "p0.jpg"


def test_a_films_csv_made_from_movies_metadata_is_read_as_films(write_csv):
    table = read_films(write_csv("films.csv", [METADATA, metadata_row("Horror|War")]))
    assert table.genre_names == ("Horror", "War")


def test_tmdb_5000(write_csv):
    genres = '[{"id": 27, "name": "Horror"}, {"id": 878, "name": "Sci-Fi"}]'
    rows = [TMDB_5000, [genres, "7", "[]", "Alien", "A ship.", "5/25/1979", "Alien"]]
    check(read_films(write_csv("a.csv", rows)), "TMDB 5000")


def test_tmdb_5000_without_overviews_and_with_stray_dollars(write_csv):
    rows = [["genres", "id", "keywords", "original_title$", "release_date", "title$"]]
    rows += [['[{"id": 27, "name": "Horror"}]', "7", "[]", "Alien$", "5/25/79", "Alien$"], ["too few"]]
    rows += [["", "8", "[]", "Heat", "", "Heat"]]
    table = read_films(write_csv("a.csv", rows))
    check(table, "TMDB 5000", year=None, genres=("Horror",), overview="")
    assert table.ids == ("7", "8"), "the second has no genre"


def test_tmdb_genre_ids_as_csv(write_csv):
    rows = [["id", "title", "genre_ids", "27", "878", "release_date", "overview"]]
    rows += [["7", "Alien", "[27, 878, 999]", "1", "1", "1979", "A ship."], ["8", "B", "[]", "0", "0", "", ""]]
    table = read_films(write_csv("a.csv", rows))
    check(table, "genre_ids", genres=("999", "Horror", "Sci-Fi"))
    assert table.genres.sum(1).tolist() == [3, 0]


def test_tmdb_genre_ids_as_json_by_columns_with_posters(tmp_path):
    columns = {"id": [7, 8], "title": ["Alien", None], "genre_ids": [[27], []], "overview": ["A ship.", None]}
    columns |= {"release_date": ["1979-05-25", ""]}
    write_json(tmp_path / "m.json", {name: {str(i): v for i, v in enumerate(c)} for name, c in columns.items()})
    (tmp_path / "posters").mkdir()
    (tmp_path / "posters" / "7_poster.jpg").touch()
    table = read_films(tmp_path)
    check(table, "genre_ids", genres=("Horror",))
    assert (table.ids, table.titles, table.overviews) == (("7", "8"), ("Alien", ""), ("A ship.", ""))
    assert table.poster_paths == (tmp_path / "posters" / "7_poster.jpg", tmp_path / "posters" / "8.jpg")


def test_tmdb_top10k_leaves_out_its_prompt(write_csv):
    rows = [TOP_10K, ["000", "Choose A Movie", "", "", ""], ["7", "Alien", "Sci-Fi, Horror", "A ship.", "1979-05-25"]]
    table = read_films(write_csv("a.csv", rows))
    check(table, "top 10k")
    assert table.left_out == (("000", "'Choose A Movie' has nothing but a title"),)


@pytest.mark.parametrize("genres", ["Sci-Fi|Horror", "['Horror', 'Sci-Fi']", '["Horror", "Science Fiction"]'])
def test_tmdb_top10k_columns_with_genres_in_another_form(write_csv, genres):
    table = read_films(write_csv("a.csv", [TOP_10K, ["7", "Alien", genres, "A ship.", "1979-05-25"]]))
    check(table, "TMDB's top 10k")


def test_a_course_table_with_titles_is_not_tmdb_top10k(write_csv):
    rows = [["Id", "Title", "Genre", "Overview"], ["tt1", "Alien", "['Horror', 'Drama']", "A ship."]]
    assert read_films(write_csv("a.csv", rows)).genre_names == ("Drama", "Horror")


def test_wiki_movie_plots(write_csv):
    wiki = "https://en.wikipedia.org/wiki/"
    rows = [
        ["1979", "Alien", "Sci-Fi/Horror", f"{wiki}Alien", "A ship."],
        ["1979", "Alien", "Sci-Fi/Horror", f"{wiki}Alien", "A ship."],
        ["1980", "Alien 2", "unknown", f"{wiki}Alien", "Ships."],
        *[[""] * 5] * 3,
    ]
    table = read_films(write_csv("a.csv", [PLOTS, *rows], encoding="utf-8-sig"))
    check(table, "wiki_movie_plots")
    assert table.ids == ("Alien", "Alien (Alien 2)")
    assert table.genres.sum(1).tolist() == [2, 0]
    assert [film for film, _ in table.left_out] == ["Alien"]


@pytest.mark.parametrize("data", [[OMDB], {"date": "today", "movies": [OMDB]}])
def test_omdb_as_json(tmp_path, data):
    table = read_films(write_json(tmp_path / "a.json", data))
    check(table, "OMDb", overview="")
    assert table.ids == ("tt1",)


def test_omdb_as_csv(write_csv):
    rows = [["imdb_id", "title", "year", "genre", "plot", "poster"]]
    rows += [["tt1", "Alien", "1979", "Horror, Sci-Fi", "A ship.", "N/A"]]
    check(read_films(write_csv("a.csv", rows)), "OMDb")


@pytest.mark.parametrize("overview", ["overview", "storyline", "plot", "extract", "description"])
def test_json_list(tmp_path, overview):
    films = [{"title": "Alien", "year": 1979, "genres": ["Sci-Fi", "Horror "], overview: "A ship.", "poster": "x.jpg"}]
    write_json(tmp_path / "a.json", [*films, {"title": "B", "genres": []}, {"genres": ["War"]}, "C"])
    (tmp_path / "posters").mkdir()
    (tmp_path / "posters" / "x.jpg").touch()
    table = read_films(tmp_path)
    check(table, "JSON lists")
    assert table.ids == ("Alien (1979)", "B")
    assert table.poster_paths[0] == tmp_path / "posters" / "x.jpg"
    assert len(table.left_out) == 2


def test_nan_in_json_is_a_missing_value(tmp_path):
    film = {"title": "Alien", "year": 1979, "genres": ["Horror"], "id": math.nan, "overview": math.nan}
    table = read_films(write_json(tmp_path / "a.json", [film, film | {"title": math.nan, "id": 7}]))
    assert (table.ids, table.titles, table.overviews) == (("Alien (1979)", "7"), ("Alien", ""), ("", ""))


def test_imdb_1000(write_csv):
    rows = [["Rank", "Title", "Genre", "Description", "Year"], ["1", "Alien", "Horror,Sci-Fi", "A ship.", "1979"]]
    check(read_films(write_csv("a.csv", rows)), "IMDB-Movie-Data")


def test_error_truncated_inside_a_quote(tmp_path):
    (tmp_path / "a.csv").write_text('Title,Genre,Wiki Page,Plot\nA,war,x/A,"Once\nupon"\nB,war,x/B,"Once\nup')
    check_error(tmp_path / "a.csv", "is truncated", "row that begins on line 4", "delete everything from line 4")


def test_a_file_without_a_final_line_end_is_not_truncated(tmp_path):
    (tmp_path / "a.csv").write_text('Title,Genre,Wiki Page,Plot\nA,war,x/A,"Once\nupon ""a"" time"')
    assert read_films(tmp_path / "a.csv").overviews == ('Once\nupon "a" time',)


def test_error_no_header(tmp_path):
    (tmp_path / "a.csv").write_text("30000,862,tt0114709,en,Alien\n" * 3)
    for path in (tmp_path, tmp_path / "a.csv"):
        check_error(path, "has no header", "30000, 862, tt0114709", "first line")


@pytest.mark.parametrize("separator", [",", ";"])
def test_error_junk_in_the_first_line(tmp_path, separator):
    (tmp_path / "a.csv").write_text("my films\n" + "imdbId,Genre,Poster\n1,War,x\n".replace(",", separator))
    check_error(tmp_path / "a.csv", "'my films'", "columns of MovieGenre.csv", "Delete the first line")


def test_error_characters_that_a_conversion_destroyed(tmp_path):
    text = "imdbID,Title,Genre,Plot\n" + "".join(f"tt{i},Am_\xa9lie,War,x\n" for i in range(30))
    (tmp_path / "a.csv").write_bytes(text.encode("latin-1"))
    check_error(tmp_path / "a.csv", "30 characters", "Get the original file")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('[{"title": "A", "genres": ["War"]', "line 1 is not valid JSON"),
        ("[" * 100_000, "cannot be read"),
        (f"[{'9' * 5000}]", "cannot be read"),
        ("[]", "lacks the columns"),
        ("3", "lacks the columns"),
        ('{"title": "A", "genres": ["War"]}', "has no list of films"),
        ('[{"title": "A", "genre": "War"}]', "Its columns: title, genre"),
        ('[{"title": "A", "genres": "War, Drama"}]', "not a list of genres"),
    ],
)
def test_error_json(tmp_path, text, part):
    (tmp_path / "a.json").write_text(text)
    check_error(tmp_path / "a.json", part)


def test_error_unclosed_quote_in_the_header_or_huge_field(tmp_path):
    (tmp_path / "a.csv").write_text('"imdbId,Genre,Poster\n' + "1,War,x\n" * 50_000)
    check_error(tmp_path / "a.csv", "line 1 is not valid CSV")
    (tmp_path / "a.csv").write_text("imdbId,Genre,Poster\n1,War," + "x" * 200_000)
    check_error(tmp_path / "a.csv", "line 2 is not valid CSV")


def test_a_layout_can_be_forced(write_csv, tmp_path):
    rows = [[*METADATA, "keywords"], [*metadata_row(), "[]"]]  # fits two layouts
    path = write_csv("a.csv", rows)
    for name in ("movies_metadata", "tmdb_5000"):
        assert name.replace("_", " ") in read_films(path, name).source.replace("_", " ").lower()
    with pytest.raises(FilmDataError, match="lacks the columns wikipage, genre, plot"):
        read_films(path, "wiki_movie_plots")
    with pytest.raises(FilmDataError, match=r"does not have this layout: films\.csv \(.*\)\.$"):
        read_films(write_json(tmp_path / "a.json", [OMDB]), "films")


CONTENTS = {
    "metadata.csv": "id,imdb_id,genres,original_title,overview,release_date\n"
    + "".join(f"""{i},tt{i},"[{{'id': 1, 'name': 'War'}}]",B,"One ""fine""\nday.",1999-01-02\n""" for i in range(20)),
    "omdb.json": json.dumps({"movies": [OMDB | {"imdbID": f"tt{i}"} for i in range(5)]}),
    "columns.json": json.dumps({n: {"0": v, "1": v} for n, v in [("id", 7), ("title", "A"), ("genre_ids", [27])]}),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_damaged_file_gives_a_table_or_one_error(tmp_path, name):
    rng, path, content = random.Random(0), tmp_path / name, CONTENTS[name].encode()
    tables, messages = 0, []
    for _ in range(300):
        start, length = rng.randrange(len(content)), rng.choice([0, 1, 1, 50, len(content)])
        damage = rng.choice([b"", b'"', b"'", b"\xff", b"[", b"\0", b",", b"{}", b"9" * 5000])
        path.write_bytes(content[:start] + damage + content[start + length :])
        try:
            table = read_films(path)
        except FilmDataError as error:
            messages.append(str(error))
        else:
            tables += 1
            assert len(table) > 0
            assert table.genres.shape == (len(table), len(table.genre_names))
    assert all(len(message.splitlines()) <= 2 and str(path) in message for message in messages)
    assert tables > 0
    assert messages


REAL = {
    "fend16/top-rated-movies-01.json": (122, 21, 122),
    "imdb_1000/IMDB-Movie-Data.csv": (1000, 20, 1000),
    "kaggle_MovieGenre/MovieGenre_399rows_renamed_columns.csv": (399, 21, 0),
    "kaggle_MovieGenre/MovieGenre_8030rows_onehot_variant.csv": (7863, 15, 0),
    "kaggle_MovieGenre/MovieGenre_95rows_latin1_crlf.csv": (96, 18, 0),
    "movies_metadata/movies_metadata_500rows_mixed_eol.csv": (500, 20, 493),
    "movies_metadata/movies_metadata_50rows_python_literals.csv": (50, 15, 49),
    "omdb_dumps/movies-250.json": (250, 21, 250),
    "tmdb_5000/tmdb_5000_movies_14rows.csv": (14, 10, 14),
    "tmdb_5000/tmdb_5000_movies_overview_dropped_head1500.csv": (1500, 18, 0),
    "tmdb_genre_ids/movies_imdb_metadata_head3000.csv": (3000, 20, 2985),
    "tmdb_top10k/top10K-TMDB-movies_head4000.csv": (4000, 18, 4000),
    "tmdb_top10k/top10K_variant_placeholder_first_row_head300.csv": (299, 18, 299),
    "weaviate/movies_data_1990_2024.json": (680, 17, 680),
    "wiki_movie_plots/wiki_movie_plots_deduped_head700_then_300_blank.csv": (696, 57, 696),
}


@pytest.mark.parametrize("file", REAL)
def test_real_files(real_data, file):
    table = read_films(real_data / "raw_formats" / file)
    overviews = sum(map(bool, table.overviews))
    assert (len(table), len(table.genre_names), overviews) == REAL[file]
    assert table.genres.any(0).all()
    assert not any(set(name) & set("[]{}'\"") for name in table.genre_names)
    posters = sum(path is not None and path.is_file() for path in table.poster_paths)
    assert posters == (15 if "weaviate" in file else 0)


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("movies_metadata/movies_metadata_400lines_no_header_8cols.csv", "has no header"),
        ("omdb_dumps/master_list_greatest_films_mojibake.csv", "381 characters that a conversion destroyed"),
        ("tmdb_5000/tmdb_5000_movies_739rows_junk_first_line.csv", "Delete the first line"),
        (
            "wiki_movie_plots/wiki_movie_plots_deduped_short_bom_truncated.csv",
            "is truncated: it ends inside a quoted field",
        ),
        ("movies_metadata", "2 files that fit"),
    ],
)
def test_error_real_files_that_cannot_be_read(real_data, file, part):
    check_error(real_data / "raw_formats" / file, str(real_data), part)


def test_deleting_a_junk_first_line_as_advised_works(real_data, tmp_path):
    file = real_data / "raw_formats" / "tmdb_5000" / "tmdb_5000_movies_739rows_junk_first_line.csv"
    (tmp_path / "a.csv").write_bytes(file.read_bytes().partition(b"\n")[2])
    table = read_films(tmp_path)
    assert (len(table), len(table.genre_names), table.left_out) == (739, 18, ())
