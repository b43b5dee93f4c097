"""``kgenre data``: inspect films, prepare them into shards, or generate sample films."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.cli.usage import UsageError

if TYPE_CHECKING:
    from kgenre.cli.parser import Parser

_SHOWN = 10  # lines printed of a list, and ids in a line
_GENRES = 60  # printed; most sets have about 25, those with free tags thousands


def run(arguments: Sequence[str]) -> int:
    """Run ``inspect``, ``prepare`` or ``sample``."""
    actions: dict[str, tuple[str, Callable[[Sequence[str]], int]]] = {
        "inspect": ("contents of a folder of films: counts, gaps, bad files, duplicates, leaks", _inspect),
        "prepare": ("check, resize and pack films into TFRecord shards", _prepare),
        "sample": ("generate sample films", _sample),
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:<10}{what}" for name, (what, _) in actions.items())
        print(f"usage: kgenre data ACTION [options]      (kgenre data ACTION --help for its options)\n\n{lines}")
        return 0 if arguments else 2
    if arguments[0] not in actions:
        raise UsageError(f"kgenre data takes one of {', '.join(actions)}. Received: {arguments[0]!r}")
    return actions[arguments[0]][1](arguments[1:])


def _parser(action: str, description: str) -> Parser:
    from kgenre.cli.parser import Parser

    parser = Parser(prog=f"kgenre data {action}", description=description)
    if action != "sample":
        parser.add_argument("path", type=str, help="a folder or table of films")
        parser.add_argument("--format", type=str, default="auto", help="the table's layout, if it is not recognised")
    return parser


# --- inspect --------------------------------------------------------------------------------------------------------


def _inspect(arguments: Sequence[str]) -> int:
    parser = _parser(
        "inspect", "Show counts, genres, gaps, bad files, duplicates, and leaks between the sets of a split."
    )
    parser.add_argument("--split", type=str, default=None, help="a split.json to check for leaks")
    parser.add_argument("--min_films", type=int, default=20, help="genres with fewer films are listed as rare")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args(list(arguments))
    from kgenre.data import read_films
    from kgenre.data.inspection import inspect_films
    from kgenre.data.progress_line import ProgressLine

    table = read_films(options.path, options.format)
    split = _read_split(options.split) if options.split else None
    with ProgressLine("Examining posters") as progress:
        report = inspect_films(table, split, progress, options.min_films)
    if options.json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        _print(report)
    return 0


def _read_split(path: str) -> dict[str, list[str]]:
    try:
        split = json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise UsageError(f"--split {path} is not valid JSON ({error}).") from error
    except OSError as error:
        raise UsageError(f"--split {path} cannot be read ({error.strerror}).") from error
    if not isinstance(split, dict) or not any(isinstance(ids, list) for ids in split.values()):
        raise UsageError(
            f'--split {path} has no lists of film ids. Give JSON such as {{"train": ["tt1"], "test": []}}.'
        )
    return {part: list(map(str, ids)) for part, ids in split.items() if isinstance(ids, list)}  # ids may be numbers


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]{report['films']:,} films[/bold], from {escape(report['source'])}")
    for note in report["notes"]:
        console.print(f"  {escape(note)}")
    table = Table("genre", "films", "share", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for genre in report["genres"][:_GENRES]:
        table.add_row(escape(genre["name"]), f"{genre['films']:,}", f"{100 * genre['share']:.1f} %")
    if report["genres"]:  # films to predict have none
        console.print(table)
        _print_rest(console, len(report["genres"]) - _GENRES)
    few = f"fewer than {report['min_films']} films"
    for title, names in (("never occur", report["never_occurring"]), (few, report["rare"])):
        if names:
            console.print(f"{title}: {escape(', '.join(names[:_GENRES]))}")
            _print_rest(console, len(names) - _GENRES)
    console.print("without " + ", ".join(f"{what}: {count:,}" for what, count in report["without"].items()))
    pixels, words = report["poster_pixels"], report["overview_words"]
    if pixels["width"]:
        sides = " x ".join("{least}-{most} (median {median})".format(**pixels[side]) for side in ("width", "height"))
        console.print(f"posters: {sides} pixels, {report['poster_megabytes']:,} MB")
    if words:
        console.print("overviews: {least}-{most} words (median {median})".format(**words))
    for title, entries in (("rows left out", report["rows_left_out"]), ("bad posters", report["bad_posters"])):
        _print_list(console, title, [f"{entry['id']}: {entry['reason']}" for entry in entries])
    for name, groups in report["duplicates"].items():
        _print_list(console, name.replace("_", " "), [_joined(group) for group in groups])
    leaks = [f"{' and '.join(leak['parts'])}: {_joined(leak['ids'])} ({leak['why']})" for leak in report["leaks"]]
    _print_list(console, "leaks between parts of the split", leaks)


def _print_list(console: Any, title: str, lines: Sequence[str]) -> None:
    from rich.markup import escape

    if lines:
        console.print(f"[bold]{title}: {len(lines):,}[/bold]")
        for line in lines[:_SHOWN]:
            console.print(f"  {escape(line)}")
        _print_rest(console, len(lines) - _SHOWN)


def _print_rest(console: Any, count: int) -> None:
    if count > 0:
        console.print(f"  and {count:,} more (--json has all)")


def _joined(ids: Sequence[str]) -> str:
    return ", ".join(ids) if len(ids) <= _SHOWN else f"{', '.join(ids[:_SHOWN])}, ... ({len(ids):,} films)"


# --- prepare and sample ---------------------------------------------------------------------------------------------


def _prepare(arguments: Sequence[str]) -> int:
    parser = _parser("prepare", "Check, resize and pack films into TFRecord shards, which --data.path takes.")
    parser.add_argument("out", type=str, help="a new folder, or one to resume, with the same options")
    parser.add_argument("--image_size", type=tuple[int, int], default=(192, 128), help="height and width in pixels")
    parser.add_argument("--resize", type=str, default="squash", help="squash, letterbox or crop")
    parser.add_argument("--posters", type=str, default="jpeg", help="jpeg, or raw: lossless uint8 pixels")
    parser.add_argument("--films_per_shard", type=int, default=1024, help="films per file")
    options = parser.parse_args(list(arguments))
    from kgenre.cli.quiet_backend import import_backend
    from kgenre.data import read_films
    from kgenre.data.prepare import prepare_films
    from kgenre.data.progress_line import ProgressLine

    table = read_films(options.path, options.format)
    import_backend(extras=False)
    with ProgressLine("Preparing films") as progress:
        manifest = prepare_films(
            table,
            options.out,
            options.image_size,
            options.resize,
            options.posters,
            options.films_per_shard,
            progress,
        )
    size = sum(shard["bytes"] for shard in manifest["shards"]) / 1e6
    count = len(manifest["shards"])
    shards = "1 shard" if count == 1 else f"{count} shards"
    print(f"{manifest['films']:,} films in {shards} ({size:,.1f} MB) in {options.out}")
    if manifest["quarantined"]:
        print(f"{manifest['quarantined']:,} rows or posters left out: {Path(options.out) / 'quarantine.csv'}")
    return 0


def _sample(arguments: Sequence[str]) -> int:
    parser = _parser("sample", "Generate fictitious films, with posters and overviews that fit their genres.")
    parser.add_argument("out", type=str, help="a new folder")
    parser.add_argument("--films", type=int, default=600, help="number of films")
    parser.add_argument("--seed", type=int, default=0, help="of the random generator")
    options = parser.parse_args(list(arguments))
    from kgenre.data import make_sample_films
    from kgenre.data.progress_line import ProgressLine

    with ProgressLine("Making films") as progress:
        folder = make_sample_films(options.out, options.films, options.seed, progress)
    print(f"{options.films:,} films in {folder}")
    return 0
