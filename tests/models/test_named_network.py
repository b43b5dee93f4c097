"""A user's own networks in Python: the arguments they receive, and the names that runs store for them."""

import functools
import re
import sys
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest

import kgenre
from kgenre.checkpoints import Checkpoint, write_checkpoint
from kgenre.data import FilmData
from kgenre.models import GenreClassifier, networks, poster_resnet
from kgenre.models.named_network import stored_name
from kgenre.reports import examples
from kgenre.training import TrainerError

pytestmark = pytest.mark.one_backend("tensorflow")


def net(genres, filters=4):
    poster = keras.Input((16, 16, 3), name="poster")
    x = keras.layers.Conv2D(filters, 3, strides=4, activation="relu")(poster)
    return keras.Model(poster, keras.layers.Dense(genres, activation="sigmoid")(keras.layers.Flatten()(x)))


def fixed():
    return net(3)


def needs_width(genres, width):
    return net(genres, width)


def fitted(module, sample, folder):
    trainer = kgenre.Trainer(
        max_steps=1, default_root_dir=folder, enable_progress_bar=False, enable_model_summary=False
    )
    films = FilmData(str(sample), overviews=False, image_size=(16, 16))
    trainer.fit(module, datamodule=films)
    trainer.test(module, datamodule=films, verbose=False)
    return trainer.run_dir


def test_every_network_is_listed_wherever_its_package_says():
    files = {file.stem for file in Path(networks.__file__).parent.glob("*.py")} - {"__init__"}
    shown = re.findall(
        r"^    from kgenre\.models\.networks\.(\w+) import \1 as \1$", Path(kgenre.models.__file__).read_text(), re.M
    )
    assert set(networks.NETWORKS) == files == set(shown)
    assert files <= set(dir(kgenre.models)), "an interactive shell completes them"


def test_function_in_a_file_is_found_again(sample, tmp_path, caplog):
    run = fitted(GenreClassifier(net, network_args={"filters": 8}), sample, tmp_path)
    loaded = GenreClassifier.load_from_checkpoint(run)
    assert loaded.hparams.network == f"{net.__module__}.net"
    assert loaded.model.layers[1].filters == 8
    [film] = examples([run], n=1, explain=True)
    assert film.guesses[0].heat is not None
    assert "without explanations" not in caplog.text


def test_of_another_program_no_other_network_takes_its_place(sample, tmp_path, caplog):
    def local(genres):
        return net(genres)

    run = fitted(GenreClassifier(local), sample, tmp_path)
    with pytest.raises(
        TrainerError, match=r"was test_of.*\.local of .*defined in the program that trained it.*into a file"
    ):
        GenreClassifier.load_from_checkpoint(run)
    assert GenreClassifier.load_from_checkpoint(run, network=local).model.layers[1].filters == 4
    examples([run], n=1, explain=True)
    assert "defined in the program that trained it" in caplog.text


def test_stored_names(monkeypatch):
    main = ModuleType("__main__")
    exec("def mine(genres): pass", vars(main))
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert stored_name(main.mine, {}) == "<mine of __main__>"
    assert stored_name(poster_resnet, {"filters": (8, 16)}) == "poster_resnet"
    assert stored_name("poster_resnet", {"filters": np.arange(3)[1:], "weights": Path("a.h5")}).startswith("<")
    assert stored_name("poster_resnet", {"dropout": np.float32(0.1), "weights": Path("a.h5")}) == "poster_resnet"
    assert stored_name(functools.partial(net, filters=2), {}).startswith("<")
    assert stored_name(fixed(), {}).startswith("<the Keras model ")
    assert stored_name("poster_resnet", {"activation": net}).startswith("<poster_resnet with arguments")


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (net, {"width": 3}, "network_args: net takes genres, filters. Received: 'width'"),
        (needs_width, {}, "network_args: needs_width needs width"),
        ("poster_resnet", {"units": 3}, "poster_resnet takes genres, .* Received: 'units'"),
        (3, {}, "network must be a name .* Received: 3"),
        ("nowhere.net", {}, "nowhere.net needs the module 'nowhere'"),
    ],
)
def test_wrong_networks_are_refused_before_the_data_are_read(network, arguments, message):
    with pytest.raises(TrainerError, match=message):
        GenreClassifier(network, arguments)


def test_function_without_the_argument_genres(sample, tmp_path):
    module = GenreClassifier(fixed)
    module.prepare_for(["Drama", "War", "Crime"], {"image_size": (16, 16)})
    with pytest.raises(TrainerError, match=r"has 3 outputs, but the data have 2 genres\. .* argument genres"):
        GenreClassifier(fixed).prepare_for(["Drama", "War"], {})


@pytest.mark.parametrize("name", ["strange.net", "subprocess.run", "keras.models.load_model"])
def test_checkpoint_imports_no_foreign_function(name, tmp_path, monkeypatch):
    (tmp_path / "strange.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = GenreClassifier(net)
    module.prepare_for(["Drama"], {})
    state = {"model": {"hyperparameters": {"network": name}}}
    module.on_save_checkpoint(state)
    write_checkpoint(Checkpoint({}, {}, state), tmp_path / "step=1")
    with pytest.raises(
        TrainerError, match=f"{name} may not be imported. If it is yours, allow it: KGENRE_ALLOW_IMPORT="
    ):
        GenreClassifier.load_from_checkpoint(tmp_path / "step=1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_thing", r"faulty.py, line 1 \(import no_such_thing\): ModuleNotFoundError: No module named"),
        ("def net(genres:", r"SyntaxError: .* \(faulty.py, line 1\)"),
    ],
)
def test_error_in_the_networks_file_is_shown(text, said, tmp_path, monkeypatch):
    (tmp_path / "faulty.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faulty", raising=False)
    with pytest.raises(TrainerError, match=f"network: faulty cannot be imported: {said}"):
        GenreClassifier("faulty.net")
