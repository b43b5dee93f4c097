"""``kgenre fuse``: combines trained runs into one model: posters with overviews, an ensemble, or one run calibrated."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.cli import configuration
from kgenre.cli.next_step import print_next_command
from kgenre.cli.standard_streams import fault_tolerant_streams
from kgenre.cli.usage import UsageError, writing_below

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger("kgenre")

# For each input: the arguments of the data that concern it, and the state that they keep in a checkpoint.
_INPUT_SETTINGS = {
    "poster": (("image_size", "resize"), ("image_size", "resize")),
    "overview": (
        ("vocabulary_size", "sequence_length", "standardize", "word_split", "stem", "min_df"),
        ("vocabulary", "sequence_length", "standardize", "word_split", "stem"),
    ),
}


@dataclass(frozen=True, eq=False)
class _Member:
    """A trained run: its checkpoint, and what that contains."""

    checkpoint: Path
    inputs: list[str]  # that its network reads: its data may provide more
    model: dict[str, Any]  # its module's arguments
    data: dict[str, Any]  # its datamodule's arguments
    state: dict[str, Any]  # its datamodule's state: genres, vocabulary, split


def run(arguments: Sequence[str]) -> int:
    """Fit the weights of the runs on the validation films, save the fused model as a new run, and test it."""
    import yaml

    from kgenre.cli.parser import Parser

    parser = Parser(
        prog="kgenre fuse",
        description="Combine trained runs into one model and test it, with weights for each genre fitted on the "
        "validation films: posters with overviews, or one run to calibrate it. The result is a run like any other.",
    )
    parser.add_argument("runs", nargs="+", help="folders of runs (their best checkpoints) or of checkpoints")
    parser.add_argument(
        "--method",
        choices=["fitted", "mean"],
        default="fitted",
        help="mean: the mean log-odds of the runs whose input a film has",
    )
    parser.add_argument("--name", type=str, default="fused", help="the new run is ROOT/NAME/version_N")
    parser.add_argument("--root", type=str, default="runs", help="the folder of all runs")
    parser.add_argument("--data.path", type=str, default=None, help="where the films are, if they have moved")
    options = parser.parse_args(list(arguments))

    members = [_read(Path(run)) for run in options.runs]
    if len({member.checkpoint.resolve() for member in members}) < len(members):
        raise UsageError("The same checkpoint is given twice: fuse different runs.")
    _check(members)
    _warn_about_untested_bests(options.runs)
    config = _configuration(members, options)
    fit_parser = configuration.make_parser("fit", "")
    # Not as JSON, which escapes emoji in a way that is invalid in YAML.
    fit_options = configuration.parse(fit_parser, ["--config", yaml.safe_dump(config)])
    trainer, module, films = configuration.instantiate(fit_parser, fit_options)
    films.load_state_dict(_state(members))
    films.setup("validate")
    if not len(films.split.validation):
        raise UsageError("There are no validation films to fit the weights on: train with --data.val_fraction above 0.")
    _load_weights(module, films, members, options.method)

    from kgenre.checkpoints import write_checkpoint, write_pointer
    from kgenre.training.run_folder import new_run_folder, write_environment

    trainer.validate(module, datamodule=films, verbose=False)  # tunes the thresholds
    with writing_below(options.root, "give a folder for runs with --root"):
        trainer.run_dir = run_dir = new_run_folder(trainer.experiment_dir)
        try:
            content = trainer.dump_checkpoint(weights_only=True)
            path = write_checkpoint(content, run_dir / "checkpoints" / "step=000000")
            for pointer in ("best", "last"):
                write_pointer(path.parent, pointer, path)
            films.save_artifacts(run_dir)
            write_environment(run_dir)
            (run_dir / "config.yaml").write_text(configuration.dump(fit_parser, fit_options), encoding="utf-8")
        except BaseException:  # a full disk, Ctrl-C: leave no incomplete run
            shutil.rmtree(run_dir, ignore_errors=True)
            raise
    with fault_tolerant_streams(), writing_below(options.root, "give a folder for runs with --root"):
        trainer.test(module, datamodule=films, ckpt_path=path)
        print_next_command(trainer)
    return 0


def _read(run: Path) -> _Member:
    from kgenre.checkpoints import find_checkpoint, read_state
    from kgenre.data.kept_films import KeptFilms
    from kgenre.models.named_network import check_name

    checkpoint = find_checkpoint(run)
    state = read_state(checkpoint)
    kept = KeptFilms.of_run(state)
    if kept is None or "classifier" not in state:
        raise UsageError(f"{run} holds no GenreClassifier trained on films: kgenre fuse cannot use it.")
    model = state["model"]["hyperparameters"]
    network = model.get("network", "<a function>")
    check_name(network)
    if network == "fused":
        raise UsageError(f"{run} is already a fused run. Fuse the runs that it was made from, together with others.")
    reads = state["classifier"].get("inputs")
    if reads is None:  # of an older version: the network's name tells which
        reads = [name for name in ("poster", "overview") if "fusion" in network or network.startswith(name)]
    learnt = kept.to_json()  # complete, also for checkpoints of older versions
    return _Member(checkpoint, reads, model, state["data"]["hyperparameters"], learnt)


def _warn_about_untested_bests(runs: Sequence[str]) -> None:
    """Warn if a run was tested with another checkpoint than its best, which is fused: the tests are not comparable."""
    from kgenre.reports.read_runs import read_mapping
    from kgenre.reports.tested_checkpoint import untested_best, untested_best_message

    for folder in map(Path, runs):
        if steps := untested_best(read_mapping(folder / "metrics.json"), folder):
            _log.warning("%s", untested_best_message(folder.name, *steps, folder))


def _check(members: Sequence[_Member]) -> None:
    """Reject runs that do not fit together: the weights must be fitted on films that no member was trained on."""
    from kgenre.data.split import PARTS

    first = members[0]
    for other in members[1:]:
        for what, hint in (
            ("genre_names", "the same films and genres"),
            ("split", "the same --data.path, --data.split_seed, --data.val_fraction and --data.test_fraction"),
        ):
            both = [member.state.get(what) for member in (first, other)]
            if what == "split":  # the films' order does not matter
                both = [split and {part: set(split[part]) for part in PARTS} for split in both]
            if both[0] != both[1]:
                raise UsageError(
                    f"{first.checkpoint} and {other.checkpoint} differ in their {what.replace('_', ' ')}: train both "
                    f"with {hint}."
                )
    for read, (arguments, learnt) in _INPUT_SETTINGS.items():
        pair = [member for member in members if read in member.inputs]
        for member in pair[1:]:
            differing = [name for name in learnt if member.state.get(name) != pair[0].state.get(name)]
            # The network has the requested vocabulary size, even if there are fewer words.
            if read == "overview" and member.data["vocabulary_size"] != pair[0].data["vocabulary_size"]:
                differing.append("vocabulary_size")
            if differing:
                names = ", ".join(name.replace("_", " ") for name in differing)
                raise UsageError(
                    f"{pair[0].checkpoint} and {member.checkpoint} read {read}s with different settings ({names}): "
                    f"train both with the same --data.{', --data.'.join(arguments)}."
                )


def _configuration(members: Sequence[_Member], options: Any) -> dict[str, Any]:
    data = dict(members[0].data)
    for read, (names, _) in _INPUT_SETTINGS.items():
        of = next((member for member in members if read in member.inputs), None)
        data[f"{read}s"] = of is not None
        data |= {name: of.data[name] for name in names if name in of.data} if of else {}
    data |= {"augment": False, "incomplete": "keep" if data["posters"] and data["overviews"] else "leave_out"}
    data["poster_table"] = "auto"
    if options.data.path is not None:
        data["path"] = str(options.data.path)
    named = ("network", "network_args", "members")
    networks = [{name: member.model[name] for name in named if member.model.get(name)} for member in members]
    arguments = {
        "network": "fused",
        "network_args": {"members": networks, "mean": options.method == "mean"},
        "mirror": any(member.model.get("mirror") for member in members),
    }
    return {
        "model": {"class_path": "kgenre.models.GenreClassifier", "init_args": arguments},
        "data": {"class_path": "kgenre.data.FilmData", "init_args": data},
        "trainer": {"default_root_dir": options.root, "name": options.name},
    }


def _state(members: Sequence[_Member]) -> dict[str, Any]:
    """Merge the states of the members' data."""
    state = members[0].state | {"arguments": {}}  # the configuration has each member's
    for read, (_, names) in _INPUT_SETTINGS.items():
        of = next((member for member in members if read in member.inputs), None)
        state |= {f"{read}s": of is not None} | ({name: of.state.get(name) for name in names} if of else {})
    return state


def _load_weights(module: Any, films: Any, members: Sequence[_Member], method: str) -> None:
    """Load the members' weights into the fused model, and set how much each member counts per genre."""
    import numpy as np

    from kgenre.evaluation.fusion_fit import fit_fusion
    from kgenre.models import GenreClassifier
    from kgenre.models.log_odds import prior_log_odds
    from kgenre.models.trained_classifier import load_classifier

    prior = prior_log_odds(films.training_films()["genres"]).astype(float)
    sizes = {"image_size": films.image_size, "vocabulary_size": films.vocabulary_size}
    module.prepare_for(list(films.genre_names), sizes)
    networks = [layer for layer in module.model.layers if hasattr(layer, "layers")]
    true, evidence = films.table.genres[films.split.validation] > 0, []
    for network, member in zip(networks, members, strict=True):
        trained = load_classifier(member.checkpoint)
        for own in ("configure_model", "probabilities", "predict_step"):
            if getattr(type(trained), own) is not getattr(GenreClassifier, own):
                raise UsageError(
                    f"{member.checkpoint} holds a {type(trained).__name__}, which overrides {own}: kgenre fuse can "
                    "only combine networks that are built and used as in GenreClassifier."
                )
        network.set_weights(trained.model.get_weights())
        trained.mirror = module.mirror  # the weights are fitted to what the fused model will compute
        prob, has_input = _validation_predictions(trained, films)
        evidence.append(np.where(has_input[:, None], np.log(prob) - np.log1p(-prob) - prior, 0))
    kinds = [tuple(tensor.name for tensor in network.inputs) for network in networks]
    expected = [1 / kinds.count(kind) for kind in kinds]
    weights, bias = np.repeat(np.array(expected)[:, None], len(prior), axis=1), np.zeros(len(prior))
    if method == "mean":
        weights[:] = 1 / len(members)
    else:
        weights, bias = fit_fusion(true, np.stack(evidence), prior, expected)
    fusion = module.model.get_layer("Fusion")
    for variable, value in ((fusion.weight, weights), (fusion.bias, bias), (fusion.prior, prior)):
        variable.assign(value.astype("float32"))


def _validation_predictions(module: Any, films: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the validation films' probabilities, float64 (n, G), and whether each has input for it, bool (n,).

    The fused network ignores the output of ``module`` for films without input.
    """
    import numpy as np

    from kgenre.training import Trainer

    trainer = Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    batches = trainer.predict(module, dataloaders=films.val_dataloader())
    assert batches is not None  # None only with return_predictions=False
    real = np.concatenate([batch["weight"] for batch in batches]) > 0
    prob = np.concatenate([batch["probabilities"] for batch in batches])[real]
    given = [[np.asarray(batch[name]) for name in module.inputs] for batch in films.val_dataloader()]
    found = [np.any([one.reshape(len(one), -1).any(axis=1) for one in inputs], axis=0) for inputs in given]
    return np.clip(prob.astype(float), 1e-7, 1 - 1e-7), np.concatenate(found)[real]
