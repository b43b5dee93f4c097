import csv
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from kgenre.data import FilmDataError, FilmTable, read_films, read_poster, read_posters
from kgenre.data.posters import poster_to_show

pytestmark = pytest.mark.backend_free


def table_of(paths):
    n = len(paths)
    return FilmTable(
        ids=tuple(path.name if path else f"none{i}" for i, path in enumerate(paths)),
        titles=("",) * n,
        years=(None,) * n,
        overviews=("",) * n,
        genres=np.zeros((n, 1), np.uint8),
        genre_names=("Drama",),
        poster_paths=tuple(paths),
    )


def picture(size=(300, 450)):
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))


def big_png(side):
    """Return a PNG of less than 100 bytes whose header claims side x side pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "CMYK", {}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("BMP", "RGB", {}),
        ("WEBP", "RGB", {}),
        ("GIF", "P", {}),
    ],
)
def test_any_picture_format_may_be_named_jpg(tmp_path, format, mode, options):
    path = tmp_path / "a.jpg"
    picture().convert(mode).save(path, format, **options)
    pixels = read_poster(path, (48, 32))
    assert pixels.shape == (48, 32, 3)
    assert pixels.dtype == np.uint8
    expected = np.asarray(picture().resize((32, 48), Image.Resampling.BOX)).astype(int)
    assert np.abs(pixels - expected).mean() < (16 if mode in ("P", "CMYK") else 5)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_grey_pictures_have_three_equal_channels(tmp_path, mode):
    path = tmp_path / "a.jpg"
    if mode == "I;16":
        Image.fromarray(np.full((90, 60), 0x8000, np.uint16)).save(path, "PNG")
    else:
        Image.new("L", (60, 90), 255 if mode == "1" else 128).convert(mode).save(path, "PNG")
    pixels = read_poster(path)
    assert set(pixels.ravel()) == {255 if mode == "1" else 128}


def test_transparent_pixels_are_white(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGBA", (60, 90), (255, 0, 0, 0)).save(path)
    assert read_poster(path).min() == 255


def test_exif_orientation_is_applied(tmp_path):
    upright = Image.fromarray(np.repeat(np.array([[255], [0]], np.uint8), 60, 0).repeat(60, 1))
    exif = Image.Exif()
    exif[0x0112] = 8  # viewers rotate it counterclockwise by 90 degrees
    upright.rotate(-90, expand=True).save(tmp_path / "a.jpg", exif=exif)
    pixels = read_poster(tmp_path / "a.jpg").astype(int)
    assert pixels[:20].mean() > 250
    assert pixels[-20:].mean() < 5


def bad_file(tmp_path, kind):
    path = tmp_path / f"{kind}.jpg"
    buffer, tiff = io.BytesIO(), io.BytesIO()
    picture().save(buffer, "JPEG")
    picture().save(tiff, "TIFF")
    contents = {
        "zero bytes": b"",
        "html": b"<!DOCTYPE html><html>404</html>",
        "half": buffer.getvalue()[: len(buffer.getvalue()) // 2],
        "header only": buffer.getvalue()[:30],
        "noise": bytes(range(256)) * 8,
        "tiff": tiff.getvalue(),
        "400 megapixels": big_png(20_000),
        "60 megapixels": big_png(7_800),
        "empty png": big_png(64),
    }
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(contents[kind])
    return path


BAD = {
    "zero bytes": "the file is empty",
    "html": "not a picture in a supported format",
    "half": "the picture is damaged",
    "header only": "the picture is damaged",
    "noise": "not a picture in a supported format",
    "tiff": "not a picture in a supported format",
    "400 megapixels": "too many",
    "60 megapixels": "too many pixels (7800 x 7800, at most 50 million are allowed)",
    "empty png": "the picture is damaged",
    "folder": "a folder, not a file",
    "missing": "no such file",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_poster_is_an_error_but_left_out_among_others(tmp_path, kind):
    bad = bad_file(tmp_path, kind)
    with pytest.raises(FilmDataError) as error:
        read_poster(bad)
    assert str(bad) in str(error.value)
    assert BAD[kind] in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert poster_to_show(bad) is None

    good = tmp_path / "good.jpg"
    picture().save(good)
    pixels, left_out = read_posters(table_of([good, bad, good]), max_bad_fraction=0.4)
    assert [entry.id for entry in left_out] == [bad.name]
    assert left_out[0].reason in str(error.value)
    assert not pixels[1].any()
    for i in (0, 2):
        np.testing.assert_array_equal(pixels[i], read_poster(good))


def test_error_too_many_bad_posters(tmp_path):
    good = tmp_path / "good.jpg"
    picture().save(good)
    paths = [good] * 7 + [bad_file(tmp_path, "zero bytes"), bad_file(tmp_path, "missing"), None]
    with pytest.raises(FilmDataError) as error:
        read_posters(table_of(paths))
    message = str(error.value)
    assert "3 of 10 posters cannot be used (2 missing)" in message
    assert "zero bytes.jpg: the file is empty" in message
    assert "--data.max_bad_fraction 0.3" in message
    assert len(read_posters(table_of(paths), max_bad_fraction=0.3)[1]) == 3
    with pytest.raises(FilmDataError) as error:  # leaving out all films would leave none
        read_posters(table_of(paths[7:9]))
    assert str(error.value).endswith(
        "Complete the folder, or use overviews only: --data.posters false --data.overviews true."
    )


def test_a_jpeg_with_damaged_pixels_is_read_as_by_pillow(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)).save(path)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + b"\0\0" + data[middle + 2 :])
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_poster(path, (64, 48)), image)


def test_error_no_posters_at_all(tmp_path):
    (tmp_path / ".DS_Store").touch()
    for paths, where in (
        ([tmp_path / "Images" / "a.jpg"], f"the folder {tmp_path / 'Images'} does not exist"),
        ([tmp_path / "a.jpg"], f"{tmp_path} is empty"),
        ([None], "no picture next to"),
    ):
        with pytest.raises(FilmDataError, match="None of the 1 films") as error:
            read_posters(table_of(paths))
        assert where in str(error.value)
        assert "--data.posters false" in str(error.value)


def test_progress_ends_at_the_total(tmp_path):
    picture().save(tmp_path / "a.jpg")
    seen = []
    read_posters(table_of([tmp_path / "a.jpg"] * 100), on_progress=lambda done, total: seen.append((done, total)))
    assert max(seen) == (100, 100)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_45_unusual_posters(real_data):
    folder = real_data / "quirks"
    with (folder / "images.csv").open() as file:
        why = {row["file"]: row["why"] for row in csv.DictReader(file)}
    paths = [folder / "images" / name for name in why]
    assert len(paths) == 45
    pixels, left_out = read_posters(table_of(paths), (96, 64), max_bad_fraction=0.03)
    assert left_out == [("zero_bytes_54.jpg", "the file is empty")]
    for path, poster in zip(paths, pixels, strict=True):
        if path.name in [entry.id for entry in left_out]:
            continue
        np.testing.assert_array_equal(poster, read_poster(path, (96, 64)))
        with Image.open(path) as image:  # decoded in full, without the scaling of the JPEG decoder
            full = np.asarray(image.convert("RGB").resize((64, 96), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(poster - full).mean() < 7, (path.name, why[path.name])
        if why[path.name].startswith(("greyscale", "L mode")):
            assert (poster[..., 0] == poster[..., 2]).all()


def test_real_posters(real_data):
    films = read_films(real_data / "films").subset(range(300))
    pixels, left_out = read_posters(films)
    assert not left_out
    assert pixels.shape == (300, 64, 64, 3)
    assert 80 < pixels.mean() < 150
    assert (pixels.std(axis=(1, 2, 3)) > 5).all()


@pytest.mark.parametrize("resize", ["squash", "letterbox", "crop"])
def test_a_picture_in_memory_is_read_like_its_file(tmp_path, resize):
    image = picture().convert("RGBA")
    image.save(tmp_path / "a.png")
    expected = read_poster(tmp_path / "a.png", (48, 32), resize)
    for given in (image, np.asarray(picture())):
        np.testing.assert_array_equal(read_poster(given, (48, 32), resize), expected)


def test_a_path_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    picture().save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_poster("~/a.png"), read_poster(tmp_path / "a.png"))


def test_error_an_unknown_way_to_resize(tmp_path):
    picture().save(tmp_path / "a.png")
    for read in (read_poster, lambda path, **options: read_posters(table_of([path]), **options)):
        with pytest.raises(FilmDataError, match=r"resize='stretch' must be one of squash, letterbox, crop\."):
            read(tmp_path / "a.png", resize="stretch")


def test_error_pixels_of_the_wrong_type():
    with pytest.raises(FilmDataError, match=r"uint8 \(height, width, 3\)\. Received: float64 \(8, 8, 3\)"):
        read_poster(np.zeros((8, 8, 3)))
