"""Predicts a film's genres with the exported model next to this file.

    python classify.py --poster alien.jpg --overview "A crew meets something on a ship in space."

Needs NumPy, Pillow for posters, snowballstemmer if classifier.json names a "stem", and the model's runtime: TensorFlow
for `saved_model`, onnxruntime for `model.onnx`, Keras and kgenre for `model.keras`. From another program:
``load(folder)`` returns a function from inputs to probabilities, ``read_poster`` and ``token_ids`` create the inputs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
# Letters of scripts without spaces between words: Thai to Khmer, kana, Chinese characters.
UNSPACED = (
    "\u0e01-\u0eff\u0f40-\u0fbc\u1000-\u1049\u1780-\u17d3\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Stripped from words, as by Keras's TextVectorization.
PUNCTUATION = b"!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"


def load(folder: str | Path = HERE) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Load the model: a function from {"poster": uint8 (n, H, W, 3), "overview": int32 (n, T)} to float32 (n, G)."""
    folder = Path(folder)
    if (folder / "saved_model").exists():
        import tensorflow as tf

        came_from = os.getcwd()
        os.chdir(folder)  # TensorFlow reads a path as a glob pattern, and "films [2024]" would match nothing
        try:
            served = tf.saved_model.load("saved_model")
        finally:
            os.chdir(came_from)
        return lambda inputs: served.serve(inputs).numpy()
    if (folder / "model.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
        return lambda inputs: session.run(None, inputs)[0]
    import keras

    import kgenre.models.layers  # noqa: F401  registers them with Keras

    model = keras.saving.load_model(folder / "model.keras")
    return lambda inputs: keras.ops.convert_to_numpy(model(inputs))


def read_poster(path: str | Path, height: int, width: int, resize: str) -> np.ndarray:
    """Read a picture as uint8 (height, width, 3): squashed, with black bars ("letterbox"), or its centre ("crop")."""
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I;16"):  # Pillow would clip 16 bits, not scale them
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        pixels = np.asarray(image.convert("RGB"))
    sides = pixels.shape[:2]
    ratios = height / sides[0], width / sides[1]
    high, wide = height, width
    if resize == "letterbox":
        high, wide = (max(1, round(side * min(ratios))) for side in sides)
    least = np.array(sides) * max(ratios) - 1e-6 if resize == "crop" else (high, wide)
    blocks = [block for block in (8, 4, 2, 1) if (-(-np.array(sides) // block) >= least).all()]
    pixels = np.asarray(Image.fromarray(pixels).reduce(blocks[0] if blocks else 1))  # means of whole blocks
    if resize == "crop":
        rows, columns = pixels.shape[:2]
        inside = min(rows, round(columns * height / width) or 1), min(columns, round(rows * width / height) or 1)
        top, left = (rows - inside[0]) // 2, (columns - inside[1]) // 2
        pixels = pixels[top : top + inside[0], left : left + inside[1]]
    poster = np.zeros((height, width, 3), np.uint8)
    top, left = (height - high) // 2, (width - wide) // 2
    if pixels.shape[0] > 2.4 * high or pixels.shape[1] > 2.4 * wide:  # two pixels per axis would skip too many
        pixels = np.asarray(Image.fromarray(pixels).resize((wide, high), Image.Resampling.BILINEAR))
    poster[top : top + high, left : left + wide] = bilinear(pixels, high, wide)
    return poster


def bilinear(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Interpolate each new pixel from the four old ones around its centre."""
    for axis, size in enumerate((height, width)):
        before = pixels.shape[axis]
        middle = ((np.arange(size) + 0.5) * before / size - 0.5).clip(0, before - 1)
        first = middle.astype(int)
        share = np.expand_dims(middle - first, tuple(other for other in range(3) if other != axis))
        second = pixels.take(np.minimum(first + 1, before - 1), axis)
        pixels = pixels.take(first, axis) * (1 - share) + second * share
    return np.round(pixels).astype(np.uint8)


def token_ids(
    text: str,
    length: int,
    standardize: str | None,
    stem: str | None,
    vocabulary: Sequence[str],
    word_split: str = "whitespace",
) -> np.ndarray:
    """Map an overview without HTML to int32 (length,): its words' vocabulary ids, 1 for unknown words, 0 as padding."""
    if standardize == "unicode":
        text = unicodedata.normalize("NFKC", text).lower()
        text = "".join(" " if is_blank(letter) else letter for letter in text)
    if word_split == "character":
        text = re.sub(f"[{UNSPACED}]", r" \g<0> ", text)
    raw = text.encode("utf-8", "surrogatepass")  # a command-line argument may not be valid UTF-8
    if standardize in ("lower_and_strip_punctuation", "lower"):
        raw = raw.lower()  # A to Z only, as Keras does
    if standardize in ("lower_and_strip_punctuation", "strip_punctuation"):
        raw = raw.translate(None, PUNCTUATION)
    words = [word.decode("utf-8", "surrogatepass") for word in raw.split()]
    if stem:
        import snowballstemmer

        words = snowballstemmer.stemmer(stem).stemWords(words)
    number = {word: index for index, word in enumerate(vocabulary) if index > 1}
    ids = [number.get(word, 1) for word in words[:length]]
    return np.array(ids + [0] * (length - len(ids)), np.int32)


def is_blank(letter: str) -> bool:
    """Whether a character is a space or punctuation in Unicode, or counts as punctuation for Keras."""
    return letter.isspace() or letter in PUNCTUATION.decode() or unicodedata.category(letter).startswith("P")


def main() -> None:
    """Print the most probable genres, and which of them are predicted: those above their thresholds."""
    parser = argparse.ArgumentParser(description="The genres of a film; those above their thresholds are predicted.")
    parser.add_argument("--poster", help="a picture file")
    parser.add_argument("--overview", help="the film's plot in a sentence or two")
    parser.add_argument("--top", type=int, default=3, help="genres to print")
    given = parser.parse_args()
    classifier = json.loads((HERE / "classifier.json").read_text(encoding="utf-8"))
    reads = [name for name in ("poster", "overview") if classifier[name]]
    missing = [name for name in reads if not getattr(given, name)]
    if len(missing) > int(classifier["one_is_enough"]):
        parser.error(f"this model reads {' and '.join(reads)}: give --{missing[0]}")
    inputs = {}
    if "poster" in reads:
        size = classifier["poster"]
        black = np.zeros((size["height"], size["width"], 3), np.uint8)
        try:
            inputs["poster"] = (read_poster(given.poster, **size) if given.poster else black)[None]
        except Exception as error:  # no such file, or what decoders raise on arbitrary bytes
            reason = getattr(error, "strerror", None) or "not a picture, or damaged"
            parser.error(f"--poster: {given.poster} cannot be read ({reason})")
    if "overview" in reads:
        vocabulary = (HERE / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]
        inputs["overview"] = token_ids(given.overview or "", **classifier["overview"], vocabulary=vocabulary)[None]
    [probabilities] = load()(inputs).astype(float)  # float64 like the thresholds, which may differ from it by less
    for column in np.argsort(-probabilities, kind="stable")[: given.top]:
        predicted = "  predicted" if probabilities[column] > classifier["thresholds"][column] else ""
        print(f"{classifier['genres'][column]:<12}  {probabilities[column]:.3f}{predicted}")


if __name__ == "__main__":
    main()
