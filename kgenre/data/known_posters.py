"""What earlier runs found about poster files, looked up by path: a file that has not changed is not opened again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from kgenre.data.poster_files import PosterFile
from kgenre.engines.cache_folder import cache_folder

_VERSION = 1  # raise it when PosterFile's fields, or what is refused, change
_NOT_UTF8 = "\\udc"  # in the name of a folder as `_utf8` writes it: nobody can say whether it is there
MOST_NAMES = 960  # in one look-up: an old SQLite takes 999 values


class KnownPosters:
    """An SQLite file in the user's cache; nothing is known, and nothing kept, where that cannot be written.

    What is known of folders that are gone is forgotten when something new is written down.

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
            # Files are written down a few at a time, and to wait for the disk each time took as long as to hash them.
            # What a power cut damages is begun anew.
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS files (folder TEXT, name TEXT, size INT, changed INT, reason TEXT, "
                "sha256 BLOB, height INT, width INT, plain INT, PRIMARY KEY (folder, name)) WITHOUT ROWID"
            )
        except (OSError, sqlite3.OperationalError):  # a home that cannot be written, a file system without locks
            self.close()
        except sqlite3.DatabaseError:
            self._discard()

    def read(self, folder: str, names: Sequence[str]) -> dict[str, tuple[int, int, PosterFile]]:
        """What is known of at most ``MOST_NAMES`` files of a folder, given by its absolute path.

        Returns:
            By name: its size in bytes, when its contents or its status last changed, in ns since 1970, and what was
            found about it then.
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
        except sqlite3.OperationalError:  # locked for long: its next answer would take as long
            self.close()
        except sqlite3.DatabaseError:
            self._discard()
        return {}

    def write(self, files: Iterable[tuple[str, str, int, int, PosterFile]]) -> None:
        """Remember files: the absolute path of each one's folder, its name, and what `read` gives."""
        rows = [(_utf8(folder), _utf8(name), size, changed, *file) for folder, name, size, changed, file in files]
        if not rows or self._database is None:
            return
        with suppress(sqlite3.Error), self._database:  # on a full disk the next run looks again
            self._database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._has_new = True

    def close(self) -> None:
        """Let the file go."""
        if self._database is None:
            return
        if self._has_new:  # or the file would grow for ever
            with suppress(sqlite3.Error), self._database:
                known = self._database.execute("SELECT DISTINCT folder FROM files").fetchall()
                gone = [one for one in known if not (_NOT_UTF8 in one[0] or os.path.isdir(one[0]))]
                self._database.executemany("DELETE FROM files WHERE folder = ?", gone)
        self._database.close()
        self._database = None

    def _discard(self) -> None:
        """A damaged file: what it says does not count, and it is begun anew."""
        self.close()
        with suppress(OSError):
            for path in (f"{self._path}-journal", self._path):  # that of a write which was broken off
                Path(path).unlink(missing_ok=True)
            self._open()


def _utf8(text: str) -> str:
    """A file's name as SQLite takes it: names that are not UTF-8 have letters that it does not."""
    return text.encode("utf-8", "backslashreplace").decode()
