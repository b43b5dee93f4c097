"""A trained `GenreClassifier` refuses data whose genre columns or token ids stand for something else."""

import json
from contextlib import nullcontext

import pytest

import kgenre
from kgenre.data import FilmData
from kgenre.models import GenreClassifier
from kgenre.models.learned_meaning import vocabulary_hash
from kgenre.training import TrainerError

pytestmark = pytest.mark.one_backend("jax")


def trainer(folder, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    return kgenre.Trainer(max_epochs=1, limit_val_batches=1, default_root_dir=folder, logger=False, **quiet | options)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A function that writes a table of 40 films, with two genres, and returns its `FilmData`."""

    def write(genres=("Drama", "War"), **arguments):
        folder = tmp_path_factory.mktemp("films")
        rows = "\n".join(f"f{n},{genres[n % 2]},The story number {n}" for n in range(40))
        (folder / "films.csv").write_text(f"id,genres,overview\n{rows}\n")
        return FilmData(str(folder), posters=False, **arguments)

    return write


@pytest.fixture(scope="module")
def run(films, tmp_path_factory):
    """The folder of a run of an overview model on these films."""
    fitted = trainer(tmp_path_factory.mktemp("runs"))
    fitted.fit(GenreClassifier("overview_words"), datamodule=films())
    return fitted.run_dir


OTHERS = [
    ({"genres": ("Drama", "Western")}, r"genres are not those that the model was trained on \(such as War\)\. Use"),
    ({"split_seed": 1}, r"vocabulary is not the one that the model was trained on: token ids are other words\. Use"),
]
ADVICE = r" the data of its run, FilmData\.load_from_checkpoint\(RUN\), .* or create a new GenreClassifier\.$"


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
@pytest.mark.parametrize(("other", "message"), OTHERS, ids=["genres", "vocabulary"])
def test_error_a_loaded_model_gets_other_data(stage, other, message, films, run, tmp_path):
    module = GenreClassifier.load_from_checkpoint(run)
    with pytest.raises(TrainerError, match=message + ADVICE) as error:
        getattr(trainer(tmp_path), stage)(module, datamodule=films(**other))
    assert "\n" not in str(error.value)
    assert module.genre_names == ("Drama", "War")


@pytest.mark.parametrize(("other", "message"), OTHERS, ids=["genres", "vocabulary"])
def test_error_a_model_is_fitted_on_one_data_set_and_then_on_another(other, message, films, tmp_path):
    module = GenreClassifier("overview_words")
    trainer(tmp_path).fit(module, datamodule=films())
    with pytest.raises(TrainerError, match=message):
        trainer(tmp_path).fit(module, datamodule=films(**other))


def test_a_network_keeps_the_vocabulary_size_that_it_was_built_for(films, tmp_path):
    module, first, other = GenreClassifier("overview_words"), films(vocabulary_size=100), films(vocabulary_size=200)
    fitted = trainer(tmp_path)
    fitted.fit(module, datamodule=first)
    trainer(tmp_path).test(module, datamodule=other, verbose=False)
    assert other.vocabulary == first.vocabulary  # the films have fewer words
    loaded = GenreClassifier.load_from_checkpoint(fitted.save_checkpoint(tmp_path / "saved"))
    assert loaded.model.get_layer("Words").vocabulary_size == 100
    with pytest.raises(TrainerError, match="for vocabulary_size=100, but the data have vocabulary_size=200" + ".*Use"):
        trainer(tmp_path).fit(module, datamodule=other)


def test_error_genres_in_another_order(films, tmp_path):
    class Reversed(FilmData):
        genre_names = ("War", "Drama")

    module = GenreClassifier("overview_words")
    module.prepare_for(["Drama", "War"], {"vocabulary_size": 10})
    with pytest.raises(TrainerError, match=r"trained on \(in another order\)"):
        trainer(tmp_path).test(module, datamodule=Reversed(films().path, posters=False))


def test_the_runs_own_data_and_new_models_are_accepted(films, run, tmp_path):
    module = GenreClassifier.load_from_checkpoint(run)
    own, renamed = FilmData.load_from_checkpoint(run), films(**OTHERS[0][0])
    trainer(tmp_path).test(module, datamodule=own, verbose=False)
    trainer(tmp_path).fit(module, datamodule=own)
    trainer(tmp_path).fit(GenreClassifier("overview_words"), datamodule=renamed)
    trainer(tmp_path).test(module, datamodule=films(split_seed=1), ckpt_path=run, verbose=False)
    mapped = FilmData.load_from_checkpoint(run, path=renamed.path)
    trainer(tmp_path).validate(module, datamodule=mapped, verbose=False)


def test_films_to_predict_may_have_other_genres_but_need_the_runs_words(films, run, tmp_path):
    module = GenreClassifier.load_from_checkpoint(run)
    others = FilmData.load_from_checkpoint(run, path=films(("News", "Western")).path)
    assert len(trainer(tmp_path).predict(module, datamodule=others)) > 0
    plain = films(("Drama", "Western"))
    plain.setup("fit")
    assert plain.vocabulary == FilmData.load_from_checkpoint(run).vocabulary
    assert len(trainer(tmp_path).predict(module, datamodule=plain)) > 0
    assert module.genre_names == ("Drama", "War")
    with pytest.raises(TrainerError, match=OTHERS[1][1]):
        trainer(tmp_path).predict(module, datamodule=films(split_seed=1))


def test_words_do_not_matter_to_a_model_that_reads_none_of_them(sample, tmp_path):
    module = GenreClassifier("poster_colours")
    small = {"image_size": (8, 8), "max_bad_fraction": 1.0}
    for seed in (0, 1):
        trainer(tmp_path).fit(module, datamodule=FilmData(str(sample), split_seed=seed, **small))
    module.on_save_checkpoint(state := {})
    assert state["classifier"]["vocabulary"] == ""


@pytest.mark.parametrize("has_words", [True, False])
def test_an_older_checkpoint_has_the_words_if_it_was_trained_on_film_data(has_words, films, run, tmp_path):
    module, data = GenreClassifier.load_from_checkpoint(run), films()
    data.setup("fit")
    state = {"data": {"state": data.state_dict()}} if has_words else {}
    module.on_save_checkpoint(state)
    assert state["classifier"].pop("vocabulary") == vocabulary_hash(data.vocabulary)
    module.on_load_checkpoint(json.loads(json.dumps(state)))
    trainer(tmp_path).validate(module, datamodule=films(), verbose=False)
    with pytest.raises(TrainerError, match=OTHERS[1][1]) if has_words else nullcontext():
        trainer(tmp_path).validate(module, datamodule=films(split_seed=1), verbose=False)


def test_numbered_genres_receive_the_names_of_the_data(sample, tmp_path):
    films = FilmData(str(sample), overviews=False, image_size=(8, 8))
    films.setup("fit")
    module = GenreClassifier("poster_colours")
    module.prepare_for([f"genre_{i}" for i in range(len(films.genre_names))], {"image_size": (8, 8)})
    trainer(tmp_path).validate(module, datamodule=films, verbose=False)
    assert module.genre_names == films.genre_names


@pytest.mark.parametrize(("vocabulary", "known"), [([], False), ({"a", "b"}, False), (["", "a"], True)])
def test_only_an_ordered_vocabulary_counts(vocabulary, known):
    assert bool(vocabulary_hash(vocabulary)) == known
