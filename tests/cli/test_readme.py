"""What the README says can be done, done."""

import json
import re
from pathlib import Path

import keras
import pytest
from boring import BoringModule, boring_batches

import kgenre
from kgenre.cli.configuration import parse
from kgenre.cli.fit import make_parser
from kgenre.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "README.md", ROOT / "configs" / "README.md", *sorted((ROOT / "kgenre").glob("*/README.md"))]
TEXTS = {file: file.read_text(encoding="utf-8") for file in FILES}
README = "\n".join(TEXTS.values())


@pytest.fixture
def digits(in_tmp_path, allow_import, monkeypatch):
    allow_import("digits")
    monkeypatch.syspath_prepend(ROOT / "configs" / "examples")


def cells():
    """The last column of the table "Coming from Lightning or Keras"."""
    section = README.partition("## Coming from Lightning or Keras")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [re.search(r"`([^`]*)` \|$", row)[1] for row in rows]


def test_the_table_runs(digits):
    """Every cell, from top to bottom, with the names that the table uses."""
    lines = cells()
    assert len(lines) >= 12
    (log,) = [line for line in lines if line.startswith("self.log")]

    class Net(BoringModule):
        def validation_step(self, batch, batch_idx):
            exec(log, {"self": self, "loss": self.error(batch)})

    names = {"kgenre": kgenre, "keras": keras, "Net": Net, "net": Net()}
    names |= {name: boring_batches(count=4, seed=seed) for seed, name in enumerate(("train", "val", "test"))}
    for line in lines:
        if line.startswith("kgenre "):
            assert main(line.split()[1:]) == 0
        elif line != log:
            exec(line, names)
    assert names["trainer"].global_step == 12


def test_the_digits_are_those_of_the_readme(digits):
    example = (ROOT / "configs" / "examples" / "digits.py").read_text(encoding="utf-8")
    (shown,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "class DigitNet" in block]
    assert shown in example
    (command,) = re.findall(r"^kgenre (fit --model digits.*)$", README, re.MULTILINE)
    assert main(command.split()) == 0
    metrics = json.loads(Path("runs/digit_net/version_0/metrics.json").read_text())
    assert metrics["test/accuracy"] > 0.8
    assert main(["test", "--ckpt_path", "runs/digit_net/version_0"]) == 0


FIT_LINES = re.findall(r"^(?:[A-Z_]+=\S+ +)*kgenre (fit .*?)(?: {2,}#.*)?$", README, re.MULTILINE)
NEEDS_FILES = re.compile(r"digits\.|base\.yaml|version_0|--ckpt_path")


@pytest.mark.parametrize("line", sorted({line for line in FIT_LINES if not NEEDS_FILES.search(line)}))
def test_every_fit_line_can_be_read(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    parse(make_parser(), line.split()[1:])


def test_the_commands_named_exist():
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", README, re.DOTALL))
    named = set(re.findall(r"(?:^|[`!/] *|=\S+ )kgenre ([a-z]+)\b", code, re.MULTILINE))
    assert {"fit", "test", "predict", "sweep", "fuse"} <= named
    assert named <= COMMANDS.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[file]):
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), target
        headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        names = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in names, target
