"""``kgenre examples``: test films with the predictions of one or more runs."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.cli.usage import UsageError, writing_below

if TYPE_CHECKING:
    from kgenre.reports.blocks import Film


def run(arguments: Sequence[str]) -> int:
    """Print poster, overview, truth and the most probable genres of each run."""
    from kgenre.cli.parser import Parser

    parser = Parser(prog="kgenre examples", description="Show test films with the predictions of runs; ✓ is correct.")
    parser.add_argument("runs", nargs="+", help="folders of tested runs, such as runs/quickstart/version_0")
    parser.add_argument("--n", type=int, default=3, help="number of films")
    parser.add_argument("--by", type=str, default="random", help="random, best, worst or disagreed")
    parser.add_argument("--ids", type=str, default="", help="show these test films instead, as ID,ID")
    parser.add_argument("--seed", type=int, default=0, help="for the choice of random films")
    parser.add_argument("--top", type=int, default=3, help="number of genres per run")
    parser.add_argument("--out", type=str, default=None, help="also write a page with their posters, FILE.html")
    parser.add_argument("--data.path", type=str, default=None, help="where the films are, if they have moved")
    options = parser.parse_args(list(arguments))
    for name, least in (("n", 1), ("top", 1), ("seed", 0)):
        if options[name] < least:
            raise UsageError(f"--{name} takes {least} or more. Received: {options[name]}")
    page = None if options.out is None else Path(os.path.expanduser(options.out))  # the ~ of --out=~/films.html
    if page is not None and page.is_dir():
        raise UsageError(f"--out takes a file, such as {page / 'films.html'}. Received a folder: {page}")
    if page is not None and page.suffix.lower() not in (".html", ".htm", ""):
        raise UsageError(f"--out writes HTML, such as {page.with_suffix('.html')}. Received: {page}")
    wanted = [film_id.strip(" \"'") for film_id in options.ids.strip("[] ").split(",")]

    from rich.console import Console

    from kgenre.reports import examples

    console = Console()
    ids = list(filter(None, wanted))
    found = examples(options.runs, options.n, options.by, options.seed, ids, options.top, data_path=options.data.path)
    for film in found:
        _print_film(console, film)
    if page is not None:
        from kgenre.checkpoints.files import whole_file
        from kgenre.reports.blocks import Films, Heading
        from kgenre.reports.html import to_html

        with writing_below(page, "give another file with --out"):
            page.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(page) as partial:
                partial.write_text(to_html([Heading("Test films", 1), Films(found)]), encoding="utf-8")
        print(f"Written to {page}")
    return 0


def _print_film(console: Any, film: Film) -> None:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from kgenre.reports.blocks import label

    space = "\N{NO-BREAK SPACE}" if console.is_terminal else " "  # lines break between genres only
    guesses = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    guesses.add_row("truth", Text(", ".join(film.truth) or "none", style="bold"))
    for guess in film.guesses:
        said = Text(", ").join(
            Text(label(*genre).replace(" ", space), "green" if genre[2] else "") for genre in guess.genres
        )
        guesses.add_row(Text(guess.run), said)  # a string would be markup
    text = Group(
        Text(film.full_name, style="bold"),
        Text(film.overview),
        *([] if film.poster_path is None else [Text(f"poster: {film.poster_path}", overflow="fold")]),
        Text(),
        guesses,
    )
    # Without colours, half-blocks are a solid grey block: print only the text.
    if film.poster is not None and console.color_system is not None:
        side_by_side = Table.grid(padding=(0, 2, 0, 0))
        side_by_side.add_row(_half_blocks(film.poster, 20 if console.width >= 100 else 16), text)
        console.print(side_by_side)
    else:
        console.print(text)
    console.print()


def _half_blocks(poster: bytes, width: int) -> Any:
    """Draw a picture in the terminal: each character is two pixels, the upper in front, the lower as background."""
    import numpy as np
    from PIL import Image
    from rich.text import Text

    with Image.open(io.BytesIO(poster)) as image:
        height = max(round(image.height / image.width * width / 2), 1) * 2
        pixels = np.asarray(image.convert("RGB").resize((width, height)))
    picture = Text(no_wrap=True)
    for y in range(0, height, 2):
        picture.append("\n" if y else "")
        for x in range(width):
            upper, lower = (f"rgb({','.join(map(str, pixels[row, x]))})" for row in (y, y + 1))
            picture.append("▀", style=f"{upper} on {lower}")
    return picture
