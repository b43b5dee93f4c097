"""Detect the encoding of a film table: UTF-8, or the UTF-16 or Windows-1252 that spreadsheets may write."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from kgenre.data.errors import FilmDataError

# A UTF-8 letter of two bytes whose first byte was replaced by "_": the letter is lost.
BROKEN_LETTER = re.compile(rb"_[\x80-\xbf]")
MAX_BROKEN_LETTERS = 20
# In languages that Windows-1252 covers, at most a tenth of a text is not ASCII.
MAX_OTHER_SHARE = 0.25
CHUNK_BYTES = 1 << 20
ASCII = bytes(range(128))
NOT_CP1252 = [bytes([b]) for b in (0x81, 0x8D, 0x8F, 0x90, 0x9D)]
ENDS_IN_A_LETTER = "{} is truncated: it ends inside a letter. Get the whole file."
SAVE_AS_UTF8 = (
    "Save it as UTF-8: in a spreadsheet as 'CSV UTF-8'; in a terminal with iconv -f GB18030 -t UTF-8 OLD > NEW, "
    "where GB18030 stands for its current encoding, such as SHIFT_JIS or CP1251."
)


def is_utf16(path: Path) -> bool:
    """Whether a file begins with UTF-16's byte-order mark, as a spreadsheet's "Unicode text" does."""
    with path.open("rb") as file:
        return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def encoding_of(path: Path) -> tuple[str, tuple[str, ...]]:
    """The encoding to read a text file with, and a note if it is a guess.

    Raises:
        FilmDataError: the file is not text or truncated, or a conversion has destroyed some of its letters.

    Example:
        >>> encoding_of(Path("MovieGenre.csv"))
        ('cp1252', ('MovieGenre.csv is not UTF-8 (1 byte is not ASCII): read as Windows-1252, letters may be wrong.',))
    """
    if is_utf16(path):
        return "utf-16", ()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            while file.read(CHUNK_BYTES):
                pass
        return "utf-8-sig", ()
    except UnicodeDecodeError as error:
        cut = len(error.object) - error.start if error.reason == "unexpected end of data" else 0
        size, other, broken, is_text, encoding = 0, 0, 0, True, "cp1252"
    with path.open("rb") as raw:
        while chunk := raw.read(CHUNK_BYTES):
            size += len(chunk)
            other += len(chunk.translate(None, ASCII))
            is_text = is_text and b"\0" not in chunk
            broken += len(BROKEN_LETTER.findall(chunk))
            if any(byte in chunk for byte in NOT_CP1252):
                encoding = "latin-1"  # which defines every byte
    if 0 < cut < other:  # the other letters are valid UTF-8
        raise FilmDataError(ENDS_IN_A_LETTER.format(path))
    if not is_text or other > MAX_OTHER_SHARE * size:
        raise FilmDataError(f"{path} is not UTF-8 text. {SAVE_AS_UTF8}")
    if broken > MAX_BROKEN_LETTERS:
        raise FilmDataError(
            f"{path} has {broken} characters that a conversion destroyed, such as '_\N{COPYRIGHT SIGN}' for "
            "'\N{LATIN SMALL LETTER E WITH ACUTE}'.\nGet the original file and save it as UTF-8."
        )
    name = "Windows-1252" if encoding == "cp1252" else "Latin-1"
    bytes_ = "1 byte is" if other == 1 else f"{other} bytes are"
    return encoding, (f"{path.name} is not UTF-8 ({bytes_} not ASCII): read as {name}, letters may be wrong.",)
