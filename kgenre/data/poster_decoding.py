"""Poster files to pixels of one size.

TensorFlow decodes plain JPEGs, which nearly all posters are, in its own threads and at a half, a quarter or an eighth
of their size where that is large enough. Pillow takes what is left: other formats, CMYK, photographs on their side, and
what TensorFlow refuses, to say what is wrong with it. Every poster, one or many, in a table or streamed, goes through
`decode_posters`, so that a prediction sees the pixels that training saw.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kgenre.data.poster_files import MAX_PIXELS, PosterFile, damaged, picture_formats, read_file, reason_of, usable_cpus

if TYPE_CHECKING:
    import tensorflow as tf
    from PIL import Image

RESIZE = ("squash", "letterbox", "crop")
SCALES = (1, 2, 4, 8)  # a JPEG's cosine transform can be undone at these fractions of its size
_POSTERS_AT_ONCE = 32
_AHEAD = 4  # so many times as many are decoded ahead of whoever takes them

Pixels = npt.NDArray[np.uint8]


class Decoded(NamedTuple):
    """Some posters.

    Args:
        positions: where they stand in what was asked for: first those that were decoded, then those that could not be.
        pixels: uint8 (n, H, W, 3), of the former.
        reasons: why not, of the latter.
    """

    positions: npt.NDArray[np.int64]
    pixels: Pixels
    reasons: Sequence[str] = ()


def decode_posters(
    paths: Sequence[Path | None], files: Sequence[PosterFile], image_size: tuple[int, int], resize: str = "squash"
) -> Iterator[Decoded]:
    """Decode posters a few at a time, nearly in the order given; each is in exactly one `Decoded`.

    Args:
        paths: n files.
        files: what `examine_posters` found about them; one with a reason there is not opened.
        image_size: (height, width) in pixels.
        resize: "squash" changes the aspect ratio to that of ``image_size``; "letterbox" keeps all of the poster and
            fills up with black; "crop" keeps the middle of it and no black.
    """
    done = 0  # positions before it
    with ThreadPoolExecutor(usable_cpus()) as threads:

        def others(positions: Sequence[int]) -> Iterator[Decoded]:
            for first in range(0, len(positions), _POSTERS_AT_ONCE):
                some = positions[first : first + _POSTERS_AT_ONCE]
                tried = list(threads.map(lambda i: _with_pillow(paths[i], files[i], image_size, resize), some))
                good = [(i, pixels) for i, (_, pixels) in zip(some, tried, strict=True) if pixels is not None]
                bad = [(i, reason) for i, (reason, _) in zip(some, tried, strict=True) if reason]
                pixels = np.stack([p for _, p in good]) if good else np.empty((0, *image_size, 3), np.uint8)
                yield Decoded(np.array([i for i, _ in (*good, *bad)]), pixels, [reason for _, reason in bad])

        for positions, pixels in _with_tensorflow(paths, files, image_size, resize):
            yield Decoded(positions, pixels)
            came, end = set(positions.tolist()), int(positions[-1]) + 1
            yield from others([i for i in range(done, end) if i not in came])
            done = end
        yield from others(range(done, len(paths)))


class Fit(NamedTuple):
    """How a picture gets its new size: scaled down by SCALES[scale], cut to a window of that, resized to ``inner``."""

    scale: int
    window: tuple[int, int, int, int]  # top, left, height, width
    inner: tuple[int, int]


@lru_cache(maxsize=4096)  # films share few sizes
def fit(height: int, width: int, image_size: tuple[int, int], resize: str) -> Fit:
    """The largest scaling down that leaves at least the pixels that are needed, and what follows it.

    Example:
        >>> fit(450, 300, (64, 64), "squash")
        Fit(scale=2, window=(0, 0, 113, 75), inner=(64, 64))
    """
    ratios = image_size[0] / height, image_size[1] / width
    inner = image_size
    needed: tuple[float, float] = image_size
    if resize == "letterbox":
        needed = inner = tuple(max(1, round(side * min(ratios))) for side in (height, width))
    elif resize == "crop":
        needed = height * max(ratios), width * max(ratios)

    def scaled(scale: int) -> tuple[int, int]:
        return -(-height // SCALES[scale]), -(-width // SCALES[scale])

    def is_enough(scale: int) -> bool:
        return all(side + 1e-6 >= least for side, least in zip(scaled(scale), needed, strict=True))

    scale = max((i for i in range(len(SCALES)) if is_enough(i)), default=0)
    window = sides = scaled(scale)
    if resize == "crop":
        aspect = image_size[1] / image_size[0]
        window = (min(sides[0], round(sides[1] / aspect) or 1), min(sides[1], round(sides[0] * aspect) or 1))
    top, left = ((side - cut) // 2 for side, cut in zip(sides, window, strict=True))
    return Fit(scale, (top, left, *window), inner)


def _is_steep(found: Fit, resize: str) -> bool:
    """Whether more than half of a side is left to shrink: so only where the aspect ratio changes."""
    return resize == "squash" and any(cut > 2 * side for cut, side in zip(found.window[2:], found.inner, strict=True))


# --- TensorFlow -----------------------------------------------------------------------------------------------------


def _with_tensorflow(
    paths: Sequence[Path | None], files: Sequence[PosterFile], image_size: tuple[int, int], resize: str
) -> Iterator[tuple[npt.NDArray[np.int64], Pixels]]:
    """The positions and pixels of the plain JPEGs, in order; those that cannot be decoded are missing."""
    plain = [i for i, file in enumerate(files) if file.plain and not file.reason]
    if not plain:
        return
    from kgenre.data.tensorflow import tf

    fits = [fit(files[i].height, files[i].width, image_size, resize) for i in plain]
    names = [os.fsencode(paths[i]) for i in plain]
    branches = [found.scale + len(SCALES) * _is_steep(found, resize) for found in fits]
    numbers = (branches, [found.window for found in fits], [found.inner for found in fits])
    columns = (np.array(plain), names, *(np.array(column, np.int32) for column in numbers))
    options = tf.data.Options()
    options.deterministic = True
    with tf.device("CPU"):
        posters = tf.data.Dataset.from_tensor_slices(columns).with_options(options)
        posters = posters.map(_decoder(image_size, resize), num_parallel_calls=usable_cpus())
        posters = posters.ignore_errors().batch(_POSTERS_AT_ONCE).prefetch(_AHEAD)
    yield from posters.as_numpy_iterator()


@lru_cache(maxsize=8)
def _decoder(image_size: tuple[int, int], resize: str) -> Any:
    """(position, path, which of SCALES, window, inner) -> (position, uint8 (H, W, 3)), traced once."""
    from kgenre.data.tensorflow import tf

    def decode(
        position: tf.Tensor, path: tf.Tensor, scale: tf.Tensor, window: tf.Tensor, inner: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        def antialiased(pixels: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.image.resize(pixels, image_size, antialias=True) + 0.5, tf.uint8)

        data = tf.io.read_file(path)
        at_scale = [lambda ratio=ratio: tf.io.decode_jpeg(data, channels=3, ratio=ratio) for ratio in SCALES]
        # A poster much higher or wider than the size it gets is brought to it here; the resize below leaves it so. (A
        # tf.cond there was measured to slow all posters down by a fifth.)
        pixels = tf.switch_case(scale, [*at_scale, *(lambda one=one: antialiased(one()) for one in at_scale)])
        if resize == "crop":
            top, left, height, width = tf.unstack(window)
            pixels = pixels[top : top + height, left : left + width]
        # Mostly half the size at most is left to shrink, and two pixels each way are enough; as float32 TensorFlow's
        # resize is vectorised.
        size = inner if resize == "letterbox" else tf.constant(image_size)
        pixels = tf.cast(pixels, tf.float32)[None]
        pixels = tf.raw_ops.ResizeBilinear(images=pixels, size=size, half_pixel_centers=True)[0]
        pixels = tf.cast(pixels + 0.5, tf.uint8)
        if resize == "letterbox":
            top, left = (image_size[0] - inner[0]) // 2, (image_size[1] - inner[1]) // 2
            pixels = tf.image.pad_to_bounding_box(pixels, top, left, *image_size)
        return position, tf.ensure_shape(pixels, (*image_size, 3))

    scalars = [tf.TensorSpec((), dtype) for dtype in (tf.int64, tf.string, tf.int32)]
    pairs = [tf.TensorSpec((n,), tf.int32) for n in (4, 2)]
    with tf.device("CPU"):
        return tf.function(decode, input_signature=[*scalars, *pairs]).get_concrete_function()


# --- Pillow ---------------------------------------------------------------------------------------------------------


def _with_pillow(
    path: Path | None, file: PosterFile, image_size: tuple[int, int], resize: str
) -> tuple[str, Pixels | None]:
    """(reason, None) or ("", pixels)."""
    if file.reason:
        return file.reason, None
    try:
        data = read_file(path)  # it may have gone since it was examined
    except OSError as error:
        return reason_of(error), None
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data), formats=picture_formats())
        if image.width * image.height > MAX_PIXELS:
            return f"{image.width} x {image.height} pixels are too many", None
        image = _rgb(image)
        found = fit(image.height, image.width, image_size, resize)
        image = image.reduce(SCALES[found.scale])
        top, left, height, width = found.window
        rows, columns = found.inner
        box = (left, top, left + width, top + height)
        image = image.resize((columns, rows), Image.Resampling.BILINEAR, box=box)
        pixels = np.zeros((*image_size, 3), np.uint8)
        top, left = (image_size[0] - rows) // 2, (image_size[1] - columns) // 2
        pixels[top : top + rows, left : left + columns] = np.asarray(image)
        return "", pixels
    except Exception as error:  # decoders meet arbitrary bytes, and raise whatever these bytes lead to
        return damaged(error), None


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image, ImageOps

    if image.info.get("exif"):
        image = ImageOps.exif_transpose(image)  # a phone's photograph lies on its side without this
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits, not scale them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:  # what a transparent pixel is coloured underneath is arbitrary
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
