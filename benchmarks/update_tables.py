"""Are the tables in the Markdown files here those of the JSON? Renders them again, in a few seconds.

    python benchmarks/update_tables.py            # write them
    python benchmarks/update_tables.py --check    # only say which differ; exits with code 1 if one does

Above a table stands the command that renders it, run in this folder, and below it ``<!-- end -->``:

    <!-- trainer_overhead.py --render results/2026-11-30-amd-epyc-trainer_overhead.json -->
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
_TABLE = re.compile(r"<!-- (?P<command>\w+\.py [^\n]*) -->\n(?:(?!<!--).)*<!-- end -->", re.DOTALL)


def rendered(text: str) -> str:
    """Return a Markdown text with its tables as their commands render them."""
    return _TABLE.sub(lambda found: f"<!-- {found['command']} -->\n{_output(found['command'])}\n<!-- end -->", text)


def _output(command: str) -> str:
    words: list[str] = []
    for word in shlex.split(command):
        names = sorted(str(path.relative_to(HERE)) for path in HERE.glob(word)) if word.startswith("results/") else []
        words += names or [word]
    done = subprocess.run([sys.executable, *words], cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command}:\n{done.stderr}")
    return done.stdout.strip()


def main() -> int:
    """Render all tables; return 1 if ``--check`` finds another one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options, code = parser.parse_args(), 0
    for path in (*HERE.glob("*.md"), *HERE.glob("results/*.md")):
        text = path.read_text(encoding="utf-8")
        new = rendered(text)
        if new != text:
            print(f"{path.relative_to(HERE)}: {'differs' if options.check else 'written'}")
            code = 1
            if not options.check:
                path.write_text(new, encoding="utf-8")
    return code if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
