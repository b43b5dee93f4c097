"""``kgenre report``: a report of two or three pages on tested runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kgenre.cli.usage import UsageError, writing_below


def run(arguments: Sequence[str]) -> int:
    """Write the report, which compares the runs if there are several."""
    from kgenre.cli.parser import Parser

    parser = Parser(
        prog="kgenre report",
        description="Write report.pdf, report.html, report.md and model_card.md about tested runs.",
    )
    parser.add_argument("runs", nargs="+", help="folders of tested runs, such as runs/quickstart/version_0")
    parser.add_argument(
        "--out", type=str, default=None, help="the folder to write to (default: report in the first run's folder)"
    )
    parser.add_argument("--films", type=int, default=6, help="number of example films")
    parser.add_argument("--explain", type=bool, default=True, help="show where the models look (loads the models)")
    parser.add_argument("--data.path", type=str, default=None, help="where the films are, if they have moved")
    options = parser.parse_args(list(arguments))
    if options.films < 0:
        raise UsageError(f"--films takes 0 or more. Received: {options.films}")

    from kgenre.cli.quiet_backend import import_backend
    from kgenre.reports import read_runs, write_report

    read_runs(options.runs)  # reports what is wrong with them before the backend is imported, which takes seconds
    if options.explain:
        import_backend()
    # A shell does not expand the ~ in --out=~/report.
    out = Path(os.path.expanduser(options.out)) if options.out else Path(options.runs[0]) / "report"
    with writing_below(out, "give a folder with --out"):
        out = write_report(options.runs, out, options.films, options.explain, options.data.path)
    print(f"Written to {out}: report.pdf, report.html, report.md, model_card.md")
    return 0
