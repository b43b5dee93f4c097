"""``kgenre tensorboard``: curves, films and histograms of runs in the browser."""

from __future__ import annotations

import importlib
import posixpath
import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path, PurePath

from kgenre.cli.usage import UsageError

# By default TensorBoard keeps 10 images and 10 texts per tag: fewer than a run writes.
_KEPT = "scalars=5000,images=60,text=60,histograms=60,pr_curves=60"


def run(arguments: Sequence[str]) -> int:
    """Start TensorBoard on folders of runs, without TensorFlow."""
    from kgenre.cli.parser import Parser

    parser = Parser(prog="kgenre tensorboard", description="Start TensorBoard on runs; Ctrl-C ends it.")
    parser.add_argument("runs", nargs="*", default=["runs"], help="folders of runs, or of folders of them")
    parser.add_argument("--port", type=int, default=6006, help="0: any free port")
    parser.add_argument("--host", type=str, default="localhost", help="0.0.0.0: reachable from other machines")
    options = parser.parse_args(list(arguments))
    if not 0 <= options.port < 2**16:
        raise UsageError(f"--port takes 0 to 65535. Received: {options.port}")
    url = start(options.runs, options.port, options.host)
    print(f"TensorBoard: {url}   (Ctrl-C ends it)", flush=True)
    while True:
        time.sleep(3600)  # can be interrupted by Ctrl-C on Windows too


def start(runs: Sequence[str], port: int = 6006, host: str = "localhost") -> str:
    """Start the server in this process and return its address.

    Raises:
        UsageError: a folder does not exist or has no event files, or the port is taken.
    """
    for run in runs:
        if not Path(run).is_dir():
            raise UsageError(f"{run} is not a folder. Pass folders of runs, such as runs or runs/quickstart/version_0.")
        files = sorted(Path(run).rglob("events.out.tfevents.*"))
        if not files:
            raise UsageError(f"{run} has no event files: nothing was logged for TensorBoard there.")
        for path in filter(_is_broken, files):
            print(f"{path} is damaged: TensorBoard shows what was logged before the damage.", file=sys.stderr)
    # With this module present TensorBoard does not import TensorFlow, which takes seconds.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
    default, program = importlib.import_module("tensorboard.default"), importlib.import_module("tensorboard.program")

    if len(runs) == 1:
        where = ["--logdir", str(runs[0])]
    else:
        if found := next((run for run in runs if "," in str(run)), None):
            raise UsageError(f"TensorBoard separates runs with commas, and {found} contains one: rename the folder.")
        names = names_of([Path(run).resolve() for run in runs])
        where = ["--logdir_spec", ",".join(f"{name}:{run}" for name, run in zip(names, runs, strict=True))]
    # A note on how events are read advises --load_fast, which `kgenre tensorboard` does not have.
    vars(program)["_DATA_SERVER_ADVISORY_MESSAGE"] = ""
    server = program.TensorBoard(default.get_plugins())
    server.configure(
        argv=["", *where, "--host", host, "--port", str(port), "--samples_per_plugin", _KEPT, "--reload_interval", "10"]
    )
    try:
        return server.launch()
    except program.TensorBoardServerException as error:
        raise UsageError(f"TensorBoard cannot start ({error.msg}): set another --port, or 0 for any.") from None


def names_of(runs: Sequence[PurePath]) -> list[str]:
    """Return the names of runs in TensorBoard: their absolute paths without the folders that all share.

    Example:
        >>> names_of([Path("/home/me/runs/posters/version_0"), Path("/home/me/runs/words/version_1")])
        ['posters/version_0', 'words/version_1']
    """
    names = [run.as_posix().strip("/").replace(":", "_").replace(",", "_") for run in runs]
    common = posixpath.commonpath([posixpath.dirname(name) for name in names])
    shared = len(common) + 1 if common else 0
    return [name[shared:] for name in names]


def _is_broken(path: Path) -> bool:
    """Return whether an event file does not end with a complete record: the disk was full, or it is no event file.

    A record is a length in 8 bytes, its checksum in 4, the content, and its checksum in 4
    (https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details).
    """
    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            place += 16 + int.from_bytes(file.read(8), "little")
    return place != size
