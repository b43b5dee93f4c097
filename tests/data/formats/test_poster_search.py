import json
import os
import re

import pytest

from kgenre.data import FilmData, FilmDataError, read_films, read_posters
from kgenre.data.formats import poster_search

pytestmark = pytest.mark.backend_free

IDS = ("tt1", "tt2", "tt3", "tt4")


@pytest.fixture
def films(tmp_path):
    """Four films in a table; call to create empty pictures next to it and read it."""
    rows = "".join(f"{film_id},Drama\n" for film_id in IDS)
    (tmp_path / "films.csv").write_text(f"id,genres\n{rows}")

    def put(*files):
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
        return read_films(tmp_path)

    return put


def in_folder(folder, ids=IDS):
    return [f"{folder}/{film_id}.jpg" for film_id in ids]


@pytest.mark.parametrize("folder", ["covers", "images/train", "Poster_Images", "a/b/c/d", "."])
def test_posters_are_found_in_any_folder(films, tmp_path, folder):
    table = films(*in_folder(folder, IDS[:3]), "cast/tom.jpg", ".thumbnails/tt4.jpg", "__MACOSX/tt4.jpg")
    assert table.poster_paths == tuple(tmp_path / file for file in in_folder(folder))
    assert table.posters_found == f"3 of 4 in {'the folder of the table' if folder == '.' else folder + '/'}"


@pytest.mark.parametrize("cell", ["/home/ann/p/x.jpg", r"C:\posters\x.jpg", "https://films.org/p/x.jpg", "x.png"])
def test_a_poster_elsewhere_than_in_the_table_is_found_by_name(films, tmp_path, cell):
    (tmp_path / "films.csv").write_text(f'id,genres,poster\ntt1,Drama,"{cell}"\n')
    assert films("covers/x.jpg").poster_paths == (tmp_path / "covers/x.jpg",)


def test_a_file_named_in_the_table_is_used(films, tmp_path):
    (tmp_path / "films.csv").write_text("id,genres,poster\ntt1,Drama,p/x.jpg\ntt2,Drama,gone/y.jpg\n")
    table = films("p/x.jpg", "posters/x.jpg", "posters/tt1.jpg", "posters/tt9.jpg")
    assert table.poster_paths == (tmp_path / "p/x.jpg", tmp_path / "gone/y.jpg")
    assert table.posters_found == "1 of 2 in p/"


def test_a_name_that_several_files_have_is_no_films_own(films, tmp_path):
    cells = ["tt1/poster.jpg", "tt2/poster.jpg", "tt3/poster.jpg", "gone/cover.jpg"]
    rows = "".join(f"{film_id},Drama,{cell}\n" for film_id, cell in zip(IDS, cells, strict=True))
    (tmp_path / "films.csv").write_text(f"id,genres,poster\n{rows}")
    table = films("tt2/poster.jpg", "covers/tt3.jpg", "covers/cover.jpg")
    expected = ("tt1/poster.jpg", "tt2/poster.jpg", "covers/tt3.jpg", "covers/cover.jpg")
    assert table.poster_paths == tuple(tmp_path / file for file in expected)
    assert table.posters_found.startswith("3 of 4 in")


@pytest.mark.parametrize("layout", ["films.csv", "films.json"])
@pytest.mark.parametrize("folder", ["", "p/"])
def test_files_named_in_the_table_are_numbered_differently_than_films(tmp_path, layout, folder):
    films = [{"id": f"{n}", "genres": "War", "poster": f"{folder}{n - 1}.jpg"} for n in (1, 2, 3)]
    text = "id,genres,poster\n" + "\n".join(",".join(film.values()) for film in films)
    (tmp_path / layout).write_text(text if layout == "films.csv" else json.dumps(films))
    (tmp_path / "covers").mkdir()
    for number in (1, 2):
        (tmp_path / "covers" / f"{number}.jpg").touch()
    # The file of film 1, 0.jpg, is missing; 1.jpg is that of film 2.
    expected = (f"{folder}0.jpg", "covers/1.jpg", "covers/2.jpg")
    assert read_films(tmp_path).poster_paths == tuple(tmp_path / file for file in expected)


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_films_in_json_with_a_folder_each_have_their_own_posters(tmp_path, slash):
    rows = [{"id": film_id, "genres": ["War"], "poster": f"{film_id}{slash}poster.jpg"} for film_id in IDS]
    (tmp_path / "films.json").write_text(json.dumps(rows))
    for film_id in IDS[1:]:
        (tmp_path / film_id).mkdir()
        (tmp_path / film_id / "poster.jpg").touch()
    paths = read_films(tmp_path).poster_paths
    assert paths[1:] == tuple(tmp_path / film_id / "poster.jpg" for film_id in IDS[1:])
    assert paths[0] is None or not paths[0].exists()


@pytest.mark.parametrize("layout", ["films.csv", "films.json"])
@pytest.mark.parametrize("picture", ["poster.jpg", "POSTER.jpg", "1/poster.jpg"])
def test_a_name_that_ends_several_links_is_no_films_own(tmp_path, layout, picture):
    links = [f"https://films.org/{film_id}/poster.jpg" for film_id in IDS[:3]] + ["https://films.org/alien.jpg"]
    rows = [{"id": n, "genres": "War", "poster": link} for n, link in zip(IDS, links, strict=True)]
    text = "id,genres,poster\n" + "\n".join(",".join(film.values()) for film in rows)
    (tmp_path / layout).write_text(text if layout == "films.csv" else json.dumps(rows))
    for file in (picture, "covers/tt2.jpg", "covers/alien.jpg"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    table = read_films(tmp_path)
    assert table.poster_paths == tuple(tmp_path / "covers" / f"{n}.jpg" for n in ("tt1", "tt2", "tt3", "alien"))
    assert table.posters_found == "2 of 4 in covers/"


def test_films_with_the_same_link_share_its_poster(tmp_path):
    link = "https://films.org/p/alien.jpg"
    (tmp_path / "films.json").write_text(json.dumps([{"id": n, "genres": ["War"], "poster": link} for n in IDS]))
    (tmp_path / "alien.jpg").touch()
    assert read_films(tmp_path).poster_paths == (tmp_path / "alien.jpg",) * len(IDS)


def test_films_keep_their_order_with_and_without_named_files(films, tmp_path):
    rows = "tt1,Drama,\ntt2,Drama,p/two.jpg\ntt3,Drama,gone/x.jpg\ntt4,Drama,p/four.jpg\n"
    (tmp_path / "films.csv").write_text(f"id,genres,poster\n{rows}")
    table = films("p/two.jpg", "p/four.jpg", "covers/tt1.jpg", "covers/tt3.png")
    expected = ("covers/tt1.jpg", "p/two.jpg", "covers/tt3.png", "p/four.jpg")
    assert table.poster_paths == tuple(tmp_path / file for file in expected)


def test_the_folder_with_most_posters_is_used_others_are_named(films, tmp_path):
    table = films(*in_folder("posters_large", IDS[:3]), *in_folder("posters_small"), *in_folder("posters", IDS[:2]))
    assert table.poster_paths == tuple(tmp_path / file for file in in_folder("posters_small"))
    assert table.posters_found == "4 of 4 in posters_small/; not used: posters_large/ (3), posters/ (2)"


def test_ties_go_to_usual_names_then_depth_then_alphabet(films):
    found = films(*in_folder("covers", IDS[:3]), *in_folder("posters", IDS[:3])).posters_found
    assert found == "3 of 4 in posters/; not used: covers/ (3)"
    assert films(*in_folder("b/a"), *in_folder("z")).posters_found.startswith("4 of 4 in z/")
    assert films(*in_folder("c")).posters_found.startswith("4 of 4 in c/")
    assert films(*in_folder("posters")).posters_found == "4 of 4 in posters/"


def test_posters_in_several_folders_are_all_found(films, tmp_path):
    table = films(*in_folder("images/train", IDS[:3]), *in_folder("images/test", IDS[3:]))
    assert table.poster_paths[3] == tmp_path / "images/test/tt4.jpg"
    assert table.posters_found == "4 of 4 in images/train/ (3), images/test/ (1)"


def test_unrelated_pictures_are_no_posters(films, tmp_path):
    table = films(*in_folder("covers", IDS[:3]), "plots/tt4.jpg", "plots/loss.png", "plots/f1.png")
    assert table.poster_paths[3] == tmp_path / "covers/tt4.jpg"
    assert table.posters_found == "3 of 4 in covers/; not used: plots/ (1)"


@pytest.mark.parametrize(
    ("film_ids", "pictures"),
    [
        (("84058", "1234567"), ("tt0084058.jpg", "tt1234567.JPG")),
        (("84058", "7"), ("0084058.jpg", "0000007.png")),
        (("84058.0", "7.0"), ("84058.jpg", "7.jpg")),
        (("tt0084058", "tt0000007"), ("84058.jpg", "7.jpg")),
        (("Alien", "heat"), ("ALIEN.jpg", "Heat.PNG")),
        (("f\N{LATIN SMALL LETTER U WITH DIAERESIS}r", "x"), ("fu\N{COMBINING DIAERESIS}r.jpg", "x.jpg")),
    ],
)
def test_posters_with_similar_names_are_found(films, tmp_path, film_ids, pictures):
    (tmp_path / "films.csv").write_text("id,genres\n" + "".join(f"{film_id},Drama\n" for film_id in film_ids))
    table = films(*(f"posters/{name}" for name in pictures))
    assert table.poster_paths == tuple(tmp_path / "posters" / name for name in pictures)
    assert table.posters_found == "2 of 2 in posters/"


def test_the_folder_with_most_similar_names_is_used(films, tmp_path):
    table = films("a/TT1.jpg", "b/TT1.jpg", "b/TT2.jpg")
    assert table.poster_paths[:2] == (tmp_path / "b/TT1.jpg", tmp_path / "b/TT2.jpg")


@pytest.mark.parametrize(
    ("film_ids", "pictures", "found"),
    [
        (("7", "8"), ("07.jpg", "tt7.jpg", "8.jpg"), ["8.jpg"]),  # two pictures for one film
        (("7", "007", "8"), ("07.jpg", "8.jpg"), ["8.jpg"]),  # two films for one picture
        (("8", "tt8"), ("tt8.jpg",), ["tt8.jpg"]),  # the exact poster of another film
        (("7", "8", "9"), ("07.jpg", *(f"plot{n}.png" for n in range(9))), []),  # a folder of unrelated pictures
    ],
)
def test_ambiguous_similar_names_are_not_used(films, tmp_path, film_ids, pictures, found):
    (tmp_path / "films.csv").write_text("id,genres\n" + "".join(f"{film_id},Drama\n" for film_id in film_ids))
    paths = films(*(f"a/{name}" for name in pictures)).poster_paths
    assert [path.name for path in paths if path and path.exists()] == found


def test_pictures_named_after_no_film_are_counted(films):
    found = films("covers/alien.jpg", "covers/heat.jpg").posters_found
    assert re.fullmatch(
        r"0 of 4: none of 2 pictures, such as covers/(alien|heat).jpg, is named after a film, such as tt1", found
    )


def test_a_large_tree_is_searched_only_in_part(films, monkeypatch, tmp_path):
    monkeypatch.setattr(poster_search, "MAX_FILES", 5)
    table = films(*(f"all/{n}.txt" for n in range(6)), *in_folder("covers"), *in_folder("Images", IDS[:1]))
    limit = f"; only the first 5 files in {tmp_path} were searched"
    assert table.posters_found == f"1 of 4 in Images/{limit}"
    assert films(*in_folder("posters", IDS[1:])).posters_found == "4 of 4 in posters/ (3), Images/ (1)"


def test_links_do_not_lead_out_of_the_folder(films, tmp_path, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "tt1.jpg").write_bytes(b"x")
    (tmp_path / "covers").symlink_to(outside)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert films().poster_paths == (None,) * 4
    os.symlink(outside / "tt1.jpg", tmp_path / "tt1.jpg")
    table = films()
    assert table.posters_found == "1 of 4 in the folder of the table"
    [bad, *_] = read_posters(table, max_bad_fraction=1.0)[1]
    assert (bad.id, "outside" in bad.reason) == ("tt1", True)


@pytest.mark.parametrize("slashes", ["//", "\\\\", "/\\"])
def test_network_paths_in_a_table_become_local_paths(tmp_path, slashes):
    (tmp_path / "films.csv").write_text(f"id,genres,poster\ntt1,Drama,{slashes}host/share/tt1.jpg\ntt2,Drama,\n")
    assert read_films(tmp_path).poster_paths[0] == tmp_path / "host" / "share" / "tt1.jpg"


def test_the_description_says_where_posters_are(sample, tmp_path):
    # The table without its posters: its column "poster" still names their old files.
    (tmp_path / "films.csv").write_bytes((sample / "films.csv").read_bytes())
    (tmp_path / "covers").mkdir()
    for file in sorted((sample / "posters").iterdir())[:110]:
        os.link(file, tmp_path / "covers" / file.name)
    films = FilmData(str(tmp_path), overviews=False, image_size=(8, 8), poster_table="memory", max_bad_fraction=0.1)
    films.setup("fit")
    assert "\nPosters: 110 of 120 in covers/\n" in films.description
    films = FilmData(str(tmp_path), overviews=False, image_size=(8, 8), poster_table="memory", max_bad_fraction=0.01)
    with pytest.raises(FilmDataError, match="Posters: 110 of 120 in covers/") as error:
        films.setup("fit")
    assert "10 of 120 posters cannot be used (10 missing)" in str(error.value)
