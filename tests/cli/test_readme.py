"""Run the commands and the code of the READMEs, and check their links."""

import json
import re
import shlex
from pathlib import Path

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches
from numpy_weights import numpy_weights

import kgenre
from kgenre.cli.configuration import parse
from kgenre.cli.fit import make_parser
from kgenre.cli.main import COMMANDS, main
from kgenre.models.build_network import build_network

ALIKE = pytest.mark.one_backend("jax")
ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.md"))
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


def test_the_table_for_lightning_and_keras_runs(digits):
    """Run every cell, from top to bottom, with the variables that the table uses."""
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


def test_the_digits_example_matches_the_readme_and_runs(digits):
    example = (ROOT / "configs" / "examples" / "digits.py").read_text(encoding="utf-8")
    (shown,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "class DigitNet" in block]
    assert shown in example
    (command,) = re.findall(r"^kgenre (fit --model digits.*)$", README, re.MULTILINE)
    assert main(command.split()) == 0
    metrics = json.loads(Path("runs/digit_net/version_0/metrics.json").read_text())
    assert metrics["test/accuracy"] > 0.8
    assert main(["test", "--ckpt_path", "runs/digit_net/version_0"]) == 0


@pytest.fixture
def backbone(allow_import, monkeypatch):
    allow_import("backbone")
    monkeypatch.syspath_prepend(ROOT / "configs" / "examples")


@pytest.mark.one_backend("tensorflow")
def test_the_pretrained_network_of_the_readme(in_tmp_path, backbone, monkeypatch, films):
    loaded = []

    def small(input_shape, include_top, pooling, weights, name):
        """Stand in for MobileNetV3Small, which takes a minute to compile."""
        loaded.append(weights)
        layers = [keras.layers.Conv2D(4, 3, strides=4), keras.layers.BatchNormalization()]
        return keras.Sequential([keras.Input(input_shape), *layers, keras.layers.GlobalAveragePooling2D()], name=name)

    monkeypatch.setattr(keras.applications, "MobileNetV3Small", small)
    (command,) = re.findall(r"^kgenre (fit --model.network backbone.*)$", README, re.MULTILINE)
    words = shlex.split(command.replace("FOLDER", str(films)).replace("epoch 5", "epoch 1"))
    assert main([*words, "--trainer.max_epochs", "2", "--trainer.limit_train_batches", "1"]) == 0
    assert main(["test", "--ckpt_path", "runs/mobilenet/version_0"]) == 0
    assert loaded == ["imagenet", None], "the checkpoint has the weights"


def test_the_backbone_of_the_pretrained_network(backbone):
    with numpy_weights():
        network = build_network("backbone.mobilenet", {"weights": None}, {"genres": 3, "image_size": (32, 32)})
    assert network.output_shape == (None, 3)
    assert network.get_layer("backbone").count_params() == 939_120


def test_the_word_vectors_of_the_readme(in_tmp_path):
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "class Vectors" in block]
    names = {"keras": keras}
    exec(code, names)
    Path("glove.6B.100d.txt").write_text("ship 1.5 -2\n. . 7 8\nlost 3 4\n", encoding="utf-8")
    layer = names["Vectors"](4, 2)
    layer.build(None)
    before = keras.ops.convert_to_numpy(layer.embeddings)
    layer.adapt_to_films({"vocabulary": np.array(["", "[UNK]", "lost", "ship"])})
    after = keras.ops.convert_to_numpy(layer.embeddings)
    assert after[2:].tolist() == [[3, 4], [1.5, -2]]
    assert (after[:2] == before[:2]).all()


FIT_LINES = re.findall(r"^(?:[A-Z_]+=\S+ +)*kgenre (fit .*?)(?: {2,}#.*)?$", README, re.MULTILINE)
NEEDS_FILES = re.compile(r"digits\.|base\.yaml|version_0|--ckpt_path")


@ALIKE
@pytest.mark.parametrize("line", sorted({line for line in FIT_LINES if not NEEDS_FILES.search(line)}))
def test_every_fit_line_can_be_parsed(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    parse(make_parser(), shlex.split(line)[1:])


@ALIKE
def test_the_table_of_callbacks_is_complete():
    text = TEXTS[ROOT / "kgenre" / "callbacks" / "README.md"]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (?:`(.+)` )?\|$", text, re.MULTILINE)
    assert [name for name, _ in rows] == kgenre.callbacks.__all__
    names = {"callbacks": kgenre.callbacks, "callback": keras.callbacks.Callback()}
    names |= {"function": lambda trainer, module: None, "schedule": lambda epoch, rate: rate}
    for name, argument in rows:
        eval(f"callbacks.{name}({argument})", names)


@ALIKE
def test_all_mentioned_commands_exist():
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", README, re.DOTALL))
    named = set(re.findall(r"(?:^|[`!/] *|=\S+ )kgenre ([a-z]+)\b", code, re.MULTILINE))
    assert {"fit", "test", "predict", "sweep", "fuse"} <= named
    assert named <= COMMANDS.keys()


@ALIKE
@pytest.mark.parametrize("file", [*FILES, *BENCHMARKS], ids=lambda file: str(file.relative_to(ROOT)))
def test_links_and_anchors_exist(file):
    for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), target
        headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        names = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in names, target
