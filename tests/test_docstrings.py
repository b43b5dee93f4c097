"""The examples in docstrings run and print what they show; one that shows no output only has to run."""

import doctest
import importlib
import pkgutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches
from PIL import Image

import kgenre

pytestmark = pytest.mark.one_backend("tensorflow")
# Left out: examples that compile or train for seconds, or that need a user's run or table, or an optional package.
SLOW = ("Bidirectional", "ColoursAndLayout", ".fused", "GenreClassifier", ".overview_lstm", ".poster_cnn_2024")
SLOW += (".poster_cnn_2025", ".side_by_side", "BatchSizeFinder", "TensorBoardViews")
WANTING = (".read", "layout_of", "StepWarnings", "InMemoryLogger", "load_from_checkpoint", "export_classifier")
WANTING += (".examples", ".fit_fusion", "WandbLogger", "MLFlowLogger")
PACKAGES = {package.name for package in pkgutil.iter_modules(kgenre.__path__) if package.ispkg}
PACKAGES -= {"checkpoints", "kernels", "tuning"}  # all of their examples are left out
# Names that examples use without defining them.
STANDINS = dict.fromkeys(("batches", "train_batches", "val_batches", "test_batches"), boring_batches()) | {
    "Path": Path,
    "Trainer": partial(kgenre.Trainer, max_epochs=1),
    "adam": keras.optimizers.Adam,
    "genres": np.zeros((100, 3), "float32"),
    "keras": keras,
    "made": np.zeros((2, 4), "float32"),
    "module": BoringModule(),
    "np": np,
    "ops": keras.ops,
    "posters": np.zeros((100, 8, 8, 3), "uint8"),
    "run": SimpleNamespace(name="poster_cnn", metrics={"test/loss": 0.21034}),
    "self": SimpleNamespace(critic=BoringModule().model),
    "sgd": keras.optimizers.SGD,
}
FILES = {
    "MovieGenre.csv": "imdbId,Title,Genre,Poster\n78,Amélie,Comedy,\n",
    "archived/films.csv": "id,genres,poster\na,Drama,posters/a.jpg\n",
    "archived/posters.zip": "",
    "downloads/course/films/films.csv": "id,genres\n",
    "films.csv": "id,genres\ntt0084058,Drama\ntt0092605,War\n",
    "films.json": '[{"title": "Alien", "year": 1979, "genres": ["Horror", "Sci-Fi"]}]',
    "posters-by-genre/Drama/a.jpg": "",
    "posters-by-genre/Horror/b.jpg": "",
}


class Outputs(doctest.OutputChecker):
    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


@pytest.fixture
def files(in_tmp_path, monkeypatch, sample):
    monkeypatch.setenv("KGENRE_CACHE", str(in_tmp_path / "cache"))
    Path("films").symlink_to(sample)
    for name, text in FILES.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="cp1252")
    Path("posters").mkdir()
    Image.new("RGB", (300, 450)).save("posters/tt0084058.jpg")


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_docstring_examples(package, files):
    root, names, said = Path(kgenre.__file__).parent, {}, []
    for public in map(kgenre.__getattr__, kgenre._PACKAGES):
        names |= {name: getattr(public, name) for name in getattr(public, "__all__", vars(public))}
    examples = doctest.DocTestRunner(Outputs(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for file in sorted((root / package).rglob("*.py")):
        if ">>>" in file.read_text(encoding="utf-8"):
            module = importlib.import_module(".".join(file.relative_to(root.parent).with_suffix("").parts))
            for found in doctest.DocTestFinder().find(module, globs=names | vars(module) | STANDINS):
                if not found.name.endswith(SLOW + WANTING):
                    examples.run(found, out=said.append)
    assert examples.tries
    assert not said, "".join(said)
