import json
import os
import signal
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted(
    file.stem
    for file in (Path(__file__).parents[2] / "benchmarks").glob("*.py")
    if "parser_for(__doc__" in file.read_text(encoding="utf-8")
)

pytestmark = pytest.mark.backend_free


def test_results_of_the_same_conditions_are_resumed(benchmarks, tmp_path):
    earlier_results = benchmarks("result_file").earlier_results
    output = tmp_path / "results.json"
    assert earlier_results(None, {"device": "cpu"}) == earlier_results(output, {"device": "cpu"}) == {}
    output.write_text(json.dumps({"device": "cpu", "rows": [1]}))
    assert earlier_results(output, {"device": "cpu", "new": 1})["rows"] == [1]


def test_results_of_other_conditions_are_not_mixed(benchmarks, tmp_path, capsys):
    output = tmp_path / "results.json"
    output.write_text(json.dumps({"device": "cpu", "rows": [1]}))
    with pytest.raises(SystemExit, match="2"):
        benchmarks("result_file").earlier_results(output, {"device": "gpu"})
    assert "has results with device=cpu, not gpu. Set another --output." in capsys.readouterr().err


def test_rates_of_the_input_are_not_mixed_with_those_of_another_machine(benchmarks, tmp_path, capsys, monkeypatch):
    output = tmp_path / "input.json"
    output.write_text(json.dumps({"cpu": "another", "rounds": 9, "rates": {}, "single": {}}))
    for name in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL"):  # the script sets them on import, unless they are set
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(sys, "argv", ["input_pipeline.py", "--films", "films", "--output", str(output)])
    with pytest.raises(SystemExit, match="2"):
        benchmarks("input_pipeline").main()
    assert "has results with cpu=another" in capsys.readouterr().err


@pytest.mark.parametrize("script", SCRIPTS)
def test_files_that_cannot_be_rendered_are_refused_in_one_line(benchmarks, tmp_path, capsys, monkeypatch, script):
    (tmp_path / "truncated.json").write_text('{"rows": [')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "other.json").write_text('{"rows": [{"of": "another benchmark"}]}')
    for name in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL"):  # some set them on import, unless they are set
        monkeypatch.setenv(name, os.environ.get(name, ""))
    for name, said in (
        ("absent", " cannot be read (No such file or directory): give a file that --output has written."),
        ("truncated", " is damaged (Expecting value: line 1 column 11 (char 10)): give a file that --output has"),
        ("list", " holds a list: give a file that --output has written."),
        ("other", ": no results of this benchmark (KeyError: "),
    ):
        file = tmp_path / f"{name}.json"
        monkeypatch.setattr(sys, "argv", [f"{script}.py", "--render", str(file)])
        with pytest.raises(SystemExit, match="2"):
            benchmarks(script).main()
        assert capsys.readouterr().err.startswith(f"{file}{said}")
    if hasattr(signal, "SIGPIPE"):
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN, "this process's, as Python sets it"


def test_all_scripts_are_found():
    assert len(SCRIPTS) == 12
