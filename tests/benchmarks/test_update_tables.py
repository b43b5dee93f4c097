"""The tables of the benchmarks' Markdown files are those that the scripts render from the JSON."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.backend_free
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FILES = sorted(BENCHMARKS.rglob("*.md"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_tables_are_those_of_the_results(benchmarks, file):
    text = file.read_text(encoding="utf-8")
    assert benchmarks("update_tables").rendered(text) == text


def test_a_changed_figure_is_written_anew(benchmarks):
    update = benchmarks("update_tables")
    command = "step_ways.py --rows 'bf16 ' --render results/2026-11-28-nvidia-h200-step_ways.json"
    text = f"Above\n\n<!-- {command} -->\n| ms |\n<!-- end -->\n\nbetween\n\n<!-- {command} -->\n<!-- end -->\nbelow\n"
    new = update.rendered(text)
    assert new.count("| 8.84 |") == 2
    assert "| 1.2 |" not in new, "it is not in a row with bf16"
    assert new.startswith("Above\n\n<!-- ")
    assert "between" in new
    assert new.endswith("<!-- end -->\nbelow\n")
    assert update.rendered(new) == new


def test_a_command_that_fails_is_named(benchmarks):
    with pytest.raises(SystemExit, match=r"no\.json"):
        benchmarks("update_tables").rendered("<!-- precision.py --render no.json -->\n<!-- end -->")
