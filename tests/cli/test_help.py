"""``--help`` is immediate: no backend is imported before the arguments are parsed."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kgenre
from kgenre.cli.main import COMMANDS, main

pytestmark = pytest.mark.backend_free


def test_help_lists_the_commands(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in COMMANDS)


def test_each_command_is_a_module_with_a_run_function():
    for command in COMMANDS:
        assert callable(importlib.import_module(f"kgenre.cli.{command}").run)


@pytest.mark.parametrize("start", [["-m", "kgenre"], ["-c", "from kgenre.cli.main import main; main()"]])
def test_version(start):
    done = subprocess.run([sys.executable, *start, "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"kgenre {kgenre.__version__}\n"


@pytest.mark.parametrize("command", ["report", "tensorboard", "predict"])
def test_help_states_a_default_only_once(command, capsys):
    assert main([command, "--help"]) == 0
    assert "; default:" not in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("part", ["model", "data"])
def test_the_help_of_a_class_explains_each_option(part, capsys):
    assert main(["fit", f"--{part}.help"]) == 0
    options = re.findall(rf"^  --{part}\.(\w+) \S+\s+(\S+)", capsys.readouterr().out, re.MULTILINE)
    assert len(options) > 10
    assert [name for name, first_word in options if first_word == "(type:"] == []


def test_no_command_is_wrong_usage(capsys):
    assert main([]) == 2


@pytest.mark.parametrize("command", ["fit", "test", "sweep"])
def test_help_begins_with_the_common_options(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0
    first = capsys.readouterr().out.splitlines()[:12]
    assert any("--data.path FOLDER" in line for line in first)
    assert max(map(len, first)) <= 80


def test_neither_help_nor_a_misspelled_option_imports_a_backend(run_python):
    script = (
        "import sys; from kgenre.cli.main import COMMANDS, main\n"
        "assert main(['fit', '--data.pth', 'x']) == 2\n"
        "for command in COMMANDS:\n"
        "    assert main([command, '--help']) == 0\n"
        "    seen = [name for name in ('keras', 'tensorflow', 'jax', 'sklearn', 'PIL') if name in sys.modules]\n"
        "    assert not seen, (command, seen)\n"
    )
    assert run_python(script, backend="jax").count("usage: kgenre ") >= len(COMMANDS)


def test_no_config_imports_keras_while_it_is_parsed(run_python):
    """Its messages would be shown, and a wrong option named seconds later."""
    configs = sorted(str(path) for path in (Path(__file__).parents[2] / "configs").glob("*.yaml"))
    script = (
        "import sys; from kgenre.cli import configuration, fit\n"
        f"for config in {configs}:\n"
        "    configuration.parse(fit.make_parser(), ['--config', config])\n"
        "    assert 'keras' not in sys.modules, config\n"
    )
    assert configs
    run_python(script, backend="jax")
