"""Disk cache for vocabularies and token ids of many overviews: a later run with the same overviews loads them.

Each is a separate file in ``$KGENRE_CACHE/tokens``, named by a hash of everything that it depends on. Only the most
recently used files are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from kgenre.data.overviews import OverviewVectorizer, TokenIds
from kgenre.data.packed_columns import PackedTexts
from kgenre.engines.cache_folder import cache_folder, mark_used, write_cached

_VERSION = 2  # raise it when the same overviews and settings yield another vocabulary or other ids
_LEAST = 1000  # overviews; fewer are processed too quickly to be worth caching
_MAX_FILES = 16  # each trial of a search may write two


def adapted(overviews: Sequence[str], training: npt.NDArray[np.integer], **settings: Any) -> OverviewVectorizer:
    """Return `OverviewVectorizer.adapt` of the rows ``training`` with its arguments ``settings``, cached."""
    texts = PackedTexts.of(overviews)
    if len(texts) < _LEAST:
        return OverviewVectorizer.adapt(texts.take(training), **settings)
    rows = hashlib.sha256(training.tobytes()).hexdigest()
    file = _file("json", texts, settings["stem"], rows, sorted(settings.items()))
    with suppress(OSError, ValueError, TypeError, AttributeError):  # no such file, or a damaged one
        found = OverviewVectorizer(**json.loads(file.read_text(encoding="utf-8")))
        mark_used(file)
        return found
    vectorizer = OverviewVectorizer.adapt(texts.take(training), **settings)
    arguments = ("vocabulary", "sequence_length", "standardize", "stem", "word_split")
    state = json.dumps({name: getattr(vectorizer, name) for name in arguments})
    write_cached(file, lambda out: out.write(state.encode()), _MAX_FILES)
    return vectorizer


def encoded(overviews: Sequence[str], vectorizer: OverviewVectorizer) -> TokenIds:
    """Return ``vectorizer.encode(overviews)``, in memory or memory-mapped from the cached file."""
    texts, length = PackedTexts.of(overviews), vectorizer.sequence_length
    if len(texts) < _LEAST:
        return vectorizer.encode(texts)
    file = _file(
        "npy", texts, vectorizer.stem, vectorizer.vocabulary, length, vectorizer.standardize, vectorizer.word_split
    )
    with suppress(OSError, ValueError, EOFError):
        # "c" (copy-on-write): nothing writes to it, but TensorFlow does not share the memory of read-only arrays.
        ids = np.load(file, mmap_mode="c")
        with file.open("rb") as kept:
            kept.seek(-4, os.SEEK_END)
            is_whole = kept.read() == _sum_of(ids)
        if is_whole and (ids.shape, ids.dtype) == ((len(texts), length), np.int32):
            mark_used(file)
            return ids
    ids = vectorizer.encode(texts)

    def write(out: BinaryIO) -> None:
        np.save(out, ids)
        out.write(_sum_of(ids))

    write_cached(file, write, _MAX_FILES)
    return ids


def _sum_of(ids: TokenIds) -> bytes:
    return zlib.crc32(ids.data).to_bytes(4, "big")


def _file(suffix: str, texts: PackedTexts, stem: str | None, *others: Any) -> Path:
    stemmer = version("snowballstemmer") if stem else ""
    key = hashlib.sha256(repr((_VERSION, stem, stemmer, others)).encode("utf-8", "surrogatepass"))
    texts.add_to(key)
    return cache_folder() / "tokens" / f"{key.hexdigest()[:32]}.{suffix}"
