"""Cache of what earlier runs found about poster files, by path: a file that has not changed is not opened again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from kgenre.data.poster_files import PosterFile
from kgenre.engines.cache_folder import cache_folder

_VERSION = 2  # raise it when the fields of PosterFile or the reasons to refuse a file change
_NOT_UTF8 = "\\udc"  # in a folder name escaped by `_utf8`: such a folder cannot be checked for existence
MAX_NAMES = 960  # in one look-up: old versions of SQLite allow 999 parameters


class KnownPosters:
    """An SQLite file in the user's cache; if it cannot be written, nothing is found in it and nothing is stored.

    Entries of folders that no longer exist are deleted on `close` if there are new entries.

    Example:
        >>> known = KnownPosters()
        >>> known.write([("/films/posters", "alien.jpg", 48_213, 1_700_000_000_000_000_000, PosterFile(""))])
        >>> known.read("/films/posters", ["alien.jpg", "new.jpg"])["alien.jpg"][0]
        48213
    """

    def __init__(self) -> None:
        self._path = cache_folder() / f"poster-files-v{_VERSION}.sqlite"
        self._database: sqlite3.Connection | None = None
        self._has_new = False
        self._open()

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=30)
            # Entries are written in small batches, and waiting for the disk each time took as long as hashing the
            # files. A file damaged by a power failure is replaced by a new one.
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS files (folder TEXT, name TEXT, size INT, changed INT, reason TEXT, "
                "sha256 BLOB, height INT, width INT, plain INT, PRIMARY KEY (folder, name)) WITHOUT ROWID"
            )
        except (OSError, sqlite3.OperationalError):  # a read-only home, a file system without locks
            self.close()
        except sqlite3.DatabaseError:
            self._discard()

    def read(self, folder: str, names: Sequence[str]) -> dict[str, tuple[int, int, PosterFile]]:
        """Look up at most ``MAX_NAMES`` files of a folder, given by its absolute path.

        Returns:
            For each known file, by name: its size in bytes, a number below 2**63 that differs when its contents or
            status have changed, and what was found about it then.
        """
        if self._database is None:
            return {}
        query = f"SELECT * FROM files WHERE folder = ? AND name IN ({', '.join('?' * len(names))})"
        name_of = {_utf8(name): name for name in names}
        try:
            rows = self._database.execute(query, (_utf8(folder), *map(_utf8, names)))
            return {
                name_of[name]: (size, changed, PosterFile(reason, sha256, height, width, plain == 1))
                for _, name, size, changed, reason, sha256, height, width, plain in rows
            }
        except sqlite3.OperationalError:  # still locked after the timeout: the next query would wait as long
            self.close()
        except sqlite3.DatabaseError:
            self._discard()
        return {}

    def write(self, files: Iterable[tuple[str, str, int, int, PosterFile]]) -> None:
        """Store files, each as the absolute path of its folder, its name, and the three values that `read` returns."""
        rows = [(_utf8(folder), _utf8(name), size, changed, *file) for folder, name, size, changed, file in files]
        if not rows or self._database is None:
            return
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._has_new = True
        except sqlite3.Error as error:  # such as a full disk: the next run examines them again
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY:  # the next write would wait as long
                self.close()

    def close(self) -> None:
        """Delete the entries of folders that no longer exist, and close the file."""
        if self._database is None:
            return
        if self._has_new:  # otherwise the file would grow forever
            with suppress(sqlite3.Error), self._database:
                known = self._database.execute("SELECT DISTINCT folder FROM files").fetchall()
                gone = [one for one in known if not (_NOT_UTF8 in one[0] or os.path.isdir(one[0]))]
                self._database.executemany("DELETE FROM files WHERE folder = ?", gone)
        self._database.close()
        self._database = None

    def _discard(self) -> None:
        """Replace a damaged file with a new one."""
        self.close()
        with suppress(OSError):
            for path in (f"{self._path}-journal", self._path):  # an interrupted write leaves a journal
                Path(path).unlink(missing_ok=True)
            self._open()


def _utf8(text: str) -> str:
    """Return a file name that SQLite can store: names that are not UTF-8 contain surrogates, which it rejects."""
    return text.encode("utf-8", "backslashreplace").decode()
