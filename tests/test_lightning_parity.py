"""Two tables: what a Lightning user expects, with the tests that show it, and Lightning's own tests, with ours.

A row fails if one of its tests or of the names it promises no longer exists; so does a public name without a row.
``python tests/test_lightning_parity.py`` prints both tables as Markdown.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from kgenre import DataModule, Module, Trainer, callbacks, loggers, profilers, tuning
from kgenre.training.flags import CHECKED, FIXED

pytestmark = pytest.mark.backend_free

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Row:
    """A feature that a Lightning user expects.

    ``level`` is "M" (must) or "S" (should). ``names`` must exist: "Trainer(max_epochs)" is an argument, "Trainer.fit" an
    attribute, "callbacks.Timer" a member of a package. ``tests`` are node ids.
    """

    section: str
    what: str
    level: str
    names: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


def of(file: str, *names: str) -> tuple[str, ...]:
    """Return node ids: ``of("training/fit", "ctrl_c")`` is tests/training/test_fit.py::test_ctrl_c."""
    folder, _, name = file.rpartition("/")
    return tuple(f"tests/{folder}/test_{name}.py::test_{test}" for test in names)


def arguments(*names: str) -> tuple[str, ...]:
    return tuple(f"Trainer({name})" for name in names)


FLAGS, METHODS, MODULE, DATA, CALLBACKS, REST, CLI = (
    "Trainer: flags", "Trainer: methods", "Module", "DataModule", "Callbacks", "Loggers, profilers, tuning, resume",
    "Command line",
)  # fmt: skip
flags, steps, run = "training/trainer_flags", "training/steps", "training/run"
hooks, resume, checkpoint = "training/hooks", "training/resume", "callbacks/model_checkpoint"
stop, prof, tuner = "callbacks/early_stopping", "profilers/profilers", "tuning/tuner"
grad, engine, parity = "engines/gradients", "engines/engine", "engines/parity"

STAGES = ("fit", "sanity_check", "train", "validation", "test", "predict")
HOOKS = tuple(
    [f"{home}.on_{stage}_{end}" for home in ("Module", "Callback") for stage in STAGES for end in ("start", "end")]
    + [
        f"{home}.on_{stage}_{part}_{end}"
        for home in ("Module", "Callback")
        for stage in STAGES[2:]
        for part in ("epoch", "batch")
        for end in ("start", "end")
    ]
    + ["Module.on_exception", "Callback.on_exception", "Module.prepare_data", "Module.setup", "Module.teardown"]
)

# fmt: off
TABLE = [
    # --- flags of the Trainer
    Row(FLAGS, "accelerator, devices", "M", arguments("accelerator", "devices"), of("training/accelerator", "choice_of_one_device", "accelerator_cpu_trains_like_the_default", "unavailable_devices_are_rejected_before_training")),
    Row(FLAGS, "strategy: auto, single, data_parallel", "S", arguments("strategy"), of("training/accelerator", "two_devices_compute_the_same_as_one")),
    Row(FLAGS, "precision: 32-true, bf16-mixed, 16-mixed, bf16-true", "M", arguments("precision"), of("training/precision", "dtypes_and_loss_close_to_float32", "overflow_halves_the_scale_and_keeps_the_weights", "the_scale_grows_after_good_steps", "layers_built_too_early_are_rejected", "unknown_precision_is_rejected")),
    Row(FLAGS, "logger, callbacks: one or many", "M", arguments("logger", "callbacks"), of(flags, "enable_flags_with_given_callbacks", "default_loggers_and_callbacks") + of("cli/configuration", "appending_to_lists")),
    Row(FLAGS, "fast_dev_run: n batches of everything, no files", "M", arguments("fast_dev_run"), of(flags, "fast_dev_run_runs_few_batches_and_writes_nothing")),
    Row(FLAGS, "max_epochs, max_steps", "M", arguments("max_epochs", "max_steps"), of(flags, "max_epochs_and_max_steps", "max_epochs_has_a_default")),
    Row(FLAGS, "min_epochs, min_steps", "M", arguments("min_epochs", "min_steps"), of("training/min_epochs", "step_at_which_training_stops", "early_stopping_waits_and_logs_once")),
    Row(FLAGS, "max_time", "M", arguments("max_time"), of("callbacks/timer", "when_it_stops", "durations", "resumed_run_continues_counting", "max_time_conflicts_with_a_timer")),
    Row(FLAGS, "limit_train/val/test/predict_batches: count or fraction", "M", arguments("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches"), of(flags, "limit_batches", "limit_of_0_skips_the_stage", "limit_of_unsized_data_must_be_a_count", "fraction_that_leaves_no_batch_is_rejected")),
    Row(FLAGS, "overfit_batches: the same n batches, no shuffle", "M", arguments("overfit_batches"), of(flags, "overfit_batches_repeats_the_same_batches")),
    Row(FLAGS, "val_check_interval, check_val_every_n_epoch", "M", arguments("val_check_interval", "check_val_every_n_epoch"), of(flags, "when_validation_runs", "val_check_interval_beyond_an_epoch", "val_check_interval_with_unsized_data") + of(hooks, "validation_inside_an_epoch")),
    Row(FLAGS, "num_sanity_val_steps", "M", arguments("num_sanity_val_steps"), of(flags, "sanity_check") + of("training/log", "sanity_check_leaves_no_trace_in_metrics")),
    Row(FLAGS, "log_every_n_steps", "M", arguments("log_every_n_steps"), of("training/log", "values_are_written_every_n_updates", "values_are_transferred_only_when_due") + of(flags, "log_every_n_steps_0_logs_no_steps")),
    Row(FLAGS, "enable_checkpointing, _progress_bar, _model_summary", "M", arguments("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), of(flags, "enable_flags_with_given_callbacks", "nothing_is_written_without_loggers_and_checkpoints")),
    Row(FLAGS, "accumulate_grad_batches: schedules count updates", "M", arguments("accumulate_grad_batches"), of(grad, "accumulation_equals_one_step_on_all_rows", "last_group_of_an_epoch_may_be_incomplete", "schedule_counts_updates")),
    Row(FLAGS, "gradient_clip_val, gradient_clip_algorithm: global norm", "M", arguments("gradient_clip_val", "gradient_clip_algorithm"), of(grad, "clipping_in_a_fit", "norm_is_over_all_gradients_and_zero_stays_zero", "clipping_acts_on_the_accumulated_gradient")),
    Row(FLAGS, "deterministic", "M", arguments("deterministic"), of("training/determinism", "two_runs_are_equal_bit_for_bit", "missing_seed_raises_or_warns")),
    Row(FLAGS, "profiler: simple", "M", (*arguments("profiler"), "profilers.SimpleProfiler", "profilers.PROFILERS"), of(prof, "simple_profiler_measures_actions", "simple_profiler_of_a_run", "without_a_profiler_nothing_is_wrapped")),
    Row(FLAGS, "profiler: advanced, trace", "S", ("profilers.AdvancedProfiler", "profilers.TraceProfiler", "profilers.Profiler"), of(prof, "custom_actions_and_profilers", "advanced_profiler", "trace_profiler_writes_a_trace")),
    Row(FLAGS, "detect_anomaly: reports where the first NaN appears", "S", arguments("detect_anomaly"), of("callbacks/anomaly_detection", "reports_the_source", "finite_run_is_not_changed")),
    Row(FLAGS, "barebones", "M", arguments("barebones"), of(flags, "barebones_trains_and_does_nothing_else", "barebones_rejects_costly_flags_by_name")),
    Row(FLAGS, "reload_dataloaders_every_n_epochs", "S", arguments("reload_dataloaders_every_n_epochs"), of(run, "dataloaders_are_reloaded")),
    Row(FLAGS, "default_root_dir, name (ours)", "M", (*arguments("default_root_dir", "name"), "Trainer.experiment_dir"), of(flags, "where_a_run_is_written") + of("training/run_folder", "each_fit_has_its_own_folder")),
    Row(FLAGS, "steps_per_execution (ours)", "M", arguments("steps_per_execution"), of("training/steps_per_execution", "same_results_as_single_steps", "a_call_ends_where_something_is_due", "auto_gives_the_same_results_and_is_saved", "batch_hooks_need_single_steps")),
    Row(FLAGS, "jit_compile (ours)", "M", arguments("jit_compile"), of(flags, "jit_compile_trains_to_the_same_loss") + of("training/jit_compile", "measuring_does_not_change_results", "known_step_times_are_used_and_resume_keeps_the_choice")),
    Row(FLAGS, "wrong values are refused by name", "M", (), of(flags, "errors_name_the_argument_and_the_value")),
    Row(FLAGS, "what Lightning's own tests expect of its flags", "M", (), of("training/lightning_behaviours", "min_max_steps_epochs", "should_stop_waits_for_min_epochs_and_min_steps", "val_check_interval_as_a_fraction", "val_check_interval_across_epochs", "check_val_every_n_epoch", "limits_of_all_stages", "overfit_batches_limits_training_and_validation_only", "fast_dev_run", "estimated_stepping_batches", "early_stopping_patience", "early_stopping_thresholds", "timer_of_zero_seconds_trains_nothing")),
    # --- methods and properties of the Trainer
    Row(METHODS, "fit, with a resume from ckpt_path", "M", ("Trainer.fit",), of("training/fit", "should_stop", "sources_of_batches", "invalid_combinations_of_data_arguments") + of(resume, "resumed_run_equals_uninterrupted_run")),
    Row(METHODS, "validate, test: a list with one dict", "M", ("Trainer.validate", "Trainer.test"), of("training/evaluation", "results_are_a_list_with_one_dict", "evaluation_does_not_change_weights") + of(resume, "testing_a_checkpoint")),
    Row(METHODS, "predict: the batches' outputs", "M", ("Trainer.predict",), of("training/evaluation", "predict_returns_numpy_arrays")),
    Row(METHODS, "save_checkpoint; dump_checkpoint (ours): in memory", "M", ("Trainer.save_checkpoint", "Trainer.dump_checkpoint"), of(resume, "saving_needs_a_run", "contents_of_a_checkpoint_state")),
    Row(METHODS, "callback_metrics, logged_metrics, progress_bar_metrics", "M", ("Trainer.callback_metrics", "Trainer.logged_metrics", "Trainer.progress_bar_metrics"), of(run, "the_three_kinds_of_metrics") + of("training/log", "callback_metrics_hold_the_latest_step")),
    Row(METHODS, "current_epoch, global_step, should_stop, state flags", "M", ("Trainer.current_epoch", "Trainer.global_step", "Trainer.should_stop", "Trainer.stage", "Trainer.training", "Trainer.sanity_checking", "Trainer.validating", "Trainer.testing", "Trainer.predicting"), of(run, "state_flags_follow_the_run", "is_last_batch") + of("training/fit", "should_stop")),
    Row(METHODS, "log_dir, logger(s), optimizers, datamodule, checkpoint_callback, early_stopping_callback", "M", ("Trainer.log_dir", "Trainer.logger", "Trainer.loggers", "Trainer.optimizers", "Trainer.datamodule", "Trainer.checkpoint_callback", "Trainer.checkpoint_callbacks", "Trainer.early_stopping_callback", "Trainer.early_stopping_callbacks", "Trainer.progress_bar_callback"), of(run, "callbacks_and_loggers_in_use") + of("training/run_folder", "files_of_a_run")),
    Row(METHODS, "module, engine (ours)", "M", ("Trainer.module", "Trainer.engine"), of(run, "attributes_before_a_run") + of("training/evaluation", "engine_of_the_fit_is_reused")),
    Row(METHODS, "estimated_stepping_batches, num_training_batches", "M", ("Trainer.estimated_stepping_batches", "Trainer.num_training_batches", "Trainer.num_val_batches"), of(flags, "estimated_stepping_batches") + of(run, "batch_counts")),
    Row(METHODS, "interrupted: Ctrl-C ends a fit cleanly", "M", ("Trainer.interrupted",), of("training/fit", "ctrl_c_ends_a_fit_cleanly") + of(run, "status_of_an_interrupted_run")),
    Row(METHODS, "learning_rates, set_learning_rate (ours)", "M", ("Trainer.learning_rates", "Trainer.set_learning_rate"), of(flags, "learning_rates_can_be_read_and_set")),
    Row(METHODS, "flags that only a new trainer can have", "S", tuple(f"Trainer.{name}" for name in FIXED), of(run, "flags_that_only_a_new_trainer_can_have_are_refused")),
    Row(METHODS, "flags that can be changed between runs", "S", tuple(f"Trainer.{name}" for name in (*CHECKED, "callbacks", "profiler", "limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches", "gradient_clip_val", "gradient_clip_algorithm")), of(run, "flags_can_be_changed_between_runs", "flags_set_between_runs_mean_the_same_as_in_the_constructor", "flags_set_between_runs_are_checked_as_in_the_constructor")),
    Row(METHODS, "model, fit_loop, num_test_batches and other names of Lightning: errors that name the replacement", "S", (), of(run, "lightning_names_suggest_a_replacement")),
    Row(METHODS, "is_global_zero, global_rank, local_rank, world_size, print: of one process", "S", ("Trainer.is_global_zero", "Trainer.global_rank", "Trainer.local_rank", "Trainer.world_size", "Trainer.print", "Module.global_rank", "Module.local_rank", "Module.print"), of(run, "lightning_attributes_in_hooks")),
    Row(METHODS, "train_dataloader, val_dataloaders", "S", ("Trainer.train_dataloader", "Trainer.val_dataloaders"), of(run, "lightning_attributes_in_hooks")),
    Row(METHODS, "on_run_opened (ours): called when the run's folder exists", "M", ("Trainer.on_run_opened",), of("training/run_folder", "files_of_a_run")),
    # --- Module
    Row(MODULE, "training_step: tensor, dict with loss, or None to skip", "M", ("Module.training_step",), of(steps, "none_skips_the_batch", "none_in_a_group_of_accumulated_batches") + of("engines/traps", "step_must_return_one_loss") + of(engine, "outputs_are_what_the_step_returned")),
    Row(MODULE, "one step for every backend", "M", (), of(parity, "losses_agree") + of("training/cross_backend", "losses_agree_after_switching_the_backend")),
    Row(MODULE, "validation_step, test_step, predict_step", "M", ("Module.validation_step", "Module.test_step", "Module.predict_step"), of("training/evaluation", "results_are_a_list_with_one_dict", "predict_returns_numpy_arrays") + of(flags, "a_module_without_validation_step_is_not_validated")),
    Row(MODULE, "forward, self(x); predict_step that calls it", "M", ("Module.forward",), of("training/hooks", "calling_the_module_calls_forward")),
    Row(MODULE, "several validation, test and predict sets", "M", (), of(steps, "several_validation_sets", "limit_and_monitor_with_several_validation_sets", "predictions_of_several_sets")),
    Row(MODULE, "dict, tuple and other batches; data of unknown length", "M", (), of(steps, "batches_as_tuple_list_or_nested_dict", "validation_within_epochs_of_unknown_length") + of("training/fit", "batches_may_be_tuples")),
    Row(MODULE, "configure_optimizers: one optimizer, or with lr_scheduler", "M", ("Module.configure_optimizers",), of("training/configure_optimizers", "a_keras_schedule_counts_epochs_or_steps", "reduce_on_plateau_with_a_monitor", "lightnings_list_forms", "dict_with_only_an_optimizer", "other_forms_are_rejected")),
    Row(MODULE, "configure_optimizers: several by variable pattern", "M", ("Module.configure_optimizers",), of("training/configure_optimizers", "each_pattern_trains_its_variables", "resume_with_two_optimizers_equals_uninterrupted_run", "unmatched_variables_and_patterns_are_named")),
    Row(MODULE, "configure_callbacks", "M", ("Module.configure_callbacks",), of(hooks, "configure_callbacks", "callback_of_the_module_replaces_the_default_one")),
    Row(MODULE, "configure_model", "M", ("Module.configure_model",), of("training/module", "configure_model_runs_after_setup_and_before_loading")),
    Row(MODULE, "configure_gradients (traced)", "M", ("Module.configure_gradients",), of(steps, "configure_gradients_changes_what_the_optimizer_sees", "configure_gradients_precedes_clipping_once_per_update")),
    Row(MODULE, "log, log_dict: prog_bar, logger, on_step, on_epoch, reduce_fx, batch_size, sync_dist", "M", ("Module.log", "Module.log_dict"), of("training/log", "reductions_of_an_epoch", "epoch_means_are_weighted_by_rows", "names_on_step_and_on_epoch", "log_in_hooks_and_log_dict", "sync_dist_changes_nothing", "wrong_calls")),
    Row(MODULE, "Keras metrics as attributes", "M", (), of("training/log", "keras_metrics_are_read_and_reset_each_epoch") + of(steps, "metrics_are_read_and_reset_each_epoch")),
    Row(MODULE, "save_hyperparameters, hparams", "M", ("Module.save_hyperparameters", "Module.hparams"), of("training/module", "save_hyperparameters", "save_hyperparameters_of_a_dataclass", "save_hyperparameters_by_name", "hyperparameters_that_are_not_logged", "subclass_hyperparameters_override_the_base", "arguments_of_a_subclass_that_saves_none_are_in_checkpoints")),
    Row(MODULE, "load_from_checkpoint, strict or not", "M", ("Module.load_from_checkpoint", "Module.load_from_checkpoint(strict)"), of(resume, "load_from_checkpoint", "load_from_checkpoint_of_another_model", "load_from_checkpoint_of_another_model_without_strict")),
    Row(MODULE, "optimizers(), device, parameters() and other names of Lightning: errors that name the replacement", "S", (), of("training/module", "lightning_names_suggest_a_replacement")),
    Row(MODULE, "freeze, unfreeze", "M", ("Module.freeze", "Module.unfreeze"), of("training/module", "freeze_and_unfreeze") + of(steps, "freeze_and_unfreeze_in_a_fit") + of(engine, "freezing_keeps_the_optimizer_state")),
    Row(MODULE, "current_epoch, global_step, trainer, logger(s)", "M", ("Module.current_epoch", "Module.global_step", "Module.trainer", "Module.logger", "Module.loggers"), of("training/module", "module_without_a_trainer")),
    Row(MODULE, "all on_* hooks, in Lightning's order", "M", HOOKS, of(hooks, "fit_with_sanity_check_and_validation", "validation_inside_an_epoch", "evaluation", "hooks_after_an_exception", "hooks_get_lightnings_arguments", "unsupported_lightning_hooks_are_rejected")),
    Row(MODULE, "on_save_checkpoint, on_load_checkpoint", "M", ("Module.on_save_checkpoint", "Module.on_load_checkpoint"), of(hooks, "saving_and_resuming")),
    # --- DataModule
    Row(DATA, "prepare_data, setup, teardown, on_exception, the four dataloaders, trainer", "M", ("DataModule.trainer", "DataModule.on_exception", "DataModule.prepare_data", "DataModule.setup", "DataModule.teardown", "DataModule.train_dataloader", "DataModule.val_dataloader", "DataModule.test_dataloader", "DataModule.predict_dataloader"), of(hooks, "fit_with_sanity_check_and_validation", "evaluation", "hooks_after_an_exception") + of("training/evaluation", "datamodule_of_the_fit_is_reused", "errors_for_a_missing_module_data_or_step")),
    Row(DATA, "tf.data, NumPy arrays, Keras PyDatasets, lists", "M", ("kgenre.ArrayDataset",), of("training/fit", "sources_of_batches", "sources_can_start_in_the_middle_of_an_epoch", "epoch_hooks_of_a_py_dataset_are_called") + of("training/array_dataset", "order_depends_only_on_seed_and_epoch")),
    Row(DATA, "state_dict, load_state_dict, hyperparameters, load_from_checkpoint", "M", ("DataModule.load_from_checkpoint", "DataModule.state_dict", "DataModule.load_state_dict", "DataModule.save_hyperparameters", "DataModule.hparams"), of(resume, "contents_of_a_checkpoint_state", "load_from_checkpoint_of_a_datamodule") + of("training/module", "configure_model_runs_after_setup_and_before_loading")),
    Row(DATA, "save_artifacts (ours): files for the run's folder", "M", ("DataModule.save_artifacts",), of("training/run_folder", "files_of_a_run")),
    Row(DATA, "batch_arguments (ours): what determines the batches; a change is reported if a run resumes inside an epoch", "M", ("DataModule.batch_arguments",), of("training/resume", "changed_batch_size_within_an_epoch_is_warned_about")),
    Row(DATA, "results_name (ours): results on other data than the run's", "M", ("DataModule.results_name", "DataModule.results_source"), of("training/run_folder", "results_on_other_data_have_their_own_folder") + of("cli/run", "results_on_other_films_are_written_separately")),
    # --- callbacks
    Row(CALLBACKS, "ModelCheckpoint: filename, monitor, mode, save_top_k, save_last", "M", (*(f"callbacks.ModelCheckpoint({name})" for name in ("filename", "monitor", "mode", "save_top_k", "save_last")), *(f"callbacks.ModelCheckpoint.{name}" for name in ("best_model_path", "best_model_score", "best_k_models", "last_model_path", "dirpath"))), of(checkpoint, "kept_checkpoints", "paths_and_scores_of_what_is_kept", "filename_templates", "nan_is_never_the_best", "resumed_run_knows_the_best", "old_checkpoint_stays_until_the_new_one_is_written")),
    Row(CALLBACKS, "ModelCheckpoint: every_n_train_steps, every_n_epochs, train_time_interval, save_on_exception, save_weights_only", "M", tuple(f"callbacks.ModelCheckpoint({name})" for name in ("every_n_train_steps", "every_n_epochs", "train_time_interval", "save_on_exception", "save_weights_only")), of(checkpoint, "every_n_train_steps", "train_time_interval", "save_on_exception", "save_weights_only", "invalid_save_intervals")),
    Row(CALLBACKS, "EarlyStopping: min_delta, patience, check_finite, thresholds, restore_best_weights", "M", tuple(f"callbacks.EarlyStopping({name})" for name in ("min_delta", "patience", "check_finite", "stopping_threshold", "divergence_threshold", "restore_best_weights", "verbose", "strict", "check_on_train_epoch_end")), of(stop, "when_it_stops", "best_weights_are_restored", "state_dict_round_trip", "check_on_train_epoch_end", "strict_false_only_warns", "sanity_check_and_later_validation_do_not_count")),
    Row(CALLBACKS, "LearningRateMonitor", "M", ("callbacks.LearningRateMonitor",), of("callbacks/learning_rate", "when_the_rate_is_logged", "accumulation_logs_each_update_once")),
    Row(CALLBACKS, "LearningRateFinder", "M", ("callbacks.LearningRateFinder",), of(tuner, "learning_rate_finder_in_a_fit", "resumed_run_keeps_its_learning_rate", "resumed_run_keeps_the_results_of_its_searches")),
    Row(CALLBACKS, "LearningRateScheduler, ConstantThenDecay (the course's)", "M", ("callbacks.LearningRateScheduler", "callbacks.ConstantThenDecay"), of("callbacks/learning_rate", "constant_then_decay", "schedule_by_epochs", "schedule_by_steps", "step_uses_the_scheduled_rate")),
    Row(CALLBACKS, "ReduceLROnPlateau", "M", ("callbacks.ReduceLROnPlateau",), of("callbacks/reduce_lr_on_plateau", "rates", "rates_equal_those_of_keras", "next_step_uses_the_new_rate")),
    Row(CALLBACKS, "ModelSummary, ProgressBar (a line an epoch without a terminal)", "M", ("callbacks.ModelSummary", "callbacks.ProgressBar"), of("callbacks/progress_bar", "prints_one_line_per_epoch_without_a_terminal", "bar_on_a_terminal", "last_lines_name_the_run_folder_and_checkpoint", "model_summary")),
    Row(CALLBACKS, "Timer", "M", ("callbacks.Timer",), of("callbacks/timer", "when_it_stops", "resumed_run_continues_counting", "validation_and_test_have_their_own_clocks")),
    Row(CALLBACKS, "ThroughputMonitor", "M", ("callbacks.ThroughputMonitor",), of("callbacks/throughput_monitor", "validation_is_not_training_time", "samples_in_tuple_batches_are_counted")),
    Row(CALLBACKS, "InputMonitor (ours): the share of time that training waits for batches", "M", ("callbacks.InputMonitor",), of("callbacks/input_monitor", "input_wait_is_the_share_of_training_time")),
    Row(CALLBACKS, "TerminateOnNaN", "M", ("callbacks.TerminateOnNaN",), of("callbacks/terminate_on_nan", "when_it_stops", "logs_epoch_and_step_once")),
    Row(CALLBACKS, "WeightAveraging: EMA, SWA", "M", ("callbacks.WeightAveraging",), of("callbacks/weight_averaging", "fit_ends_with_the_average", "validation_uses_the_average_and_training_does_not", "checkpoints_hold_the_average_and_the_training_weights")),
    Row(CALLBACKS, "LambdaCallback", "M", ("callbacks.LambdaCallback",), of("callbacks/lambda_callback", "functions_are_called", "unknown_hook_error_lists_the_hooks")),
    Row(CALLBACKS, "PredictionWriter", "M", ("callbacks.PredictionWriter",), of("callbacks/prediction_writer", "writes_each_batch", "writes_all_at_the_end", "subclass_in_lightning_style")),
    Row(CALLBACKS, "BatchSizeFinder", "S", ("callbacks.BatchSizeFinder",), of(tuner, "batch_size_finder_in_a_fit", "batch_size_of_both_module_and_datamodule", "resumed_run_keeps_the_results_of_its_searches", "errors_of_the_batch_size_finder")),
    Row(CALLBACKS, "DeviceStatsMonitor", "S", ("callbacks.DeviceStatsMonitor",), of("callbacks/device_stats_monitor", "cpu_stats", "memory_of_accelerators")),
    Row(CALLBACKS, "GradientAccumulationScheduler", "S", ("callbacks.GradientAccumulationScheduler",), of("callbacks/gradient_accumulation_scheduler", "updates_per_epoch", "update_uses_the_mean_gradient")),
    Row(CALLBACKS, "BackboneFinetuning", "S", ("callbacks.BackboneFinetuning",), of("callbacks/backbone_finetuning", "backbone_is_trained_from_the_given_epoch", "backbone_learning_rates", "resumed_run_equals_uninterrupted_run")),
    Row(CALLBACKS, "SpikeDetection", "S", ("callbacks.SpikeDetection",), of("callbacks/spike_detection", "reported_spikes", "stops_and_logs_the_step")),
    Row(CALLBACKS, "an adapter for Keras callbacks", "S", ("callbacks.KerasCallback",), of("callbacks/keras_callback", "hooks_are_called_in_the_order_of_keras_fit", "early_stopping_and_restored_weights", "files_written_by_keras")),
    Row(CALLBACKS, "custom callbacks: state_dict, load_state_dict", "M", ("callbacks.Callback", "callbacks.Callback.state_dict", "callbacks.Callback.load_state_dict"), of(resume, "resume_restores_callbacks") + of(stop, "state_dict_round_trip")),
    Row(CALLBACKS, "EMAWeightAveraging, RichProgressBar and other names of Lightning: errors that name the replacement", "S", (), ("tests/test_lightning_parity.py::test_lightning_names_of_callbacks_suggest_a_replacement", "tests/test_lightning_parity.py::test_lightning_names_of_the_package_suggest_a_replacement", *of(hooks, "lightning_names_of_callbacks_suggest_a_replacement", "methods_of_lightnings_progress_bars_are_rejected"))),
    # --- loggers, profilers, tuning, resume
    Row(REST, "TensorBoardLogger, without TensorFlow", "M", ("loggers.TensorBoardLogger",), of("loggers/tensorboard", "scalars", "text_and_hyperparameters", "resuming_drops_later_points") + of("training/imports", "training_on_arrays_never_imports_tensorflow")),
    Row(REST, "CSVLogger, InMemoryLogger", "M", ("loggers.CSVLogger", "loggers.InMemoryLogger"), of("loggers/csv", "one_row_per_step", "resuming_drops_later_rows") + of("loggers/in_memory", "history")),
    Row(REST, "custom loggers", "M", ("loggers.Logger",), of("training/fit", "errors_propagate_after_cleanup") + of("loggers/logger", "a_logger_written_for_lightning", "lightning_names_suggest_a_replacement")),
    Row(REST, "Weights & Biases, MLflow (extras)", "S", ("loggers.WandbLogger", "loggers.MLFlowLogger", "loggers.LoggerError"), of("loggers/services", "wandb_records_a_resumed_fit_and_its_test", "mlflow_records_a_resumed_fit_and_its_test", "missing_package_error")),
    Row(REST, "images, for every logger that accepts them", "S", ("loggers.Logger.log_image", "loggers.takes_pictures"), of("loggers/services", "wandb_logs_images_and_texts") + of("evaluation/tensorboard_views", "the_first_and_the_last_validation_are_shown")),
    Row(REST, "lr_find: suggestion, plot", "M", ("tuning.Tuner", "tuning.Tuner.lr_find"), of(tuner, "suggestion_is_set_plotted_and_trains_well", "search_leaves_no_trace")),
    Row(REST, "scale_batch_size", "S", ("tuning.Tuner.scale_batch_size",), of(tuner, "batch_sizes", "batch_size_attribute_of_the_module")),
    Row(REST, "seed_everything", "M", ("kgenre.seed_everything",), of("training/module", "seed_everything_repeats_random_numbers")),
    Row(REST, "ckpt_path: a path, best, last", "M", (), of(resume, "last_without_a_checkpoint_starts_fresh", "last_falls_back_to_the_newest_valid_checkpoint", "testing_a_checkpoint", "ckpt_path_of_another_model") + of(checkpoint, "best_and_last_of_the_run_can_be_tested")),
    Row(REST, "everything is restored, in the middle of an epoch too", "M", (), of(resume, "resumed_run_equals_uninterrupted_run", "resume_after_a_crash_within_an_epoch", "plain_iterables_resume_at_the_right_batch", "resume_restores_callbacks")),
    Row(REST, "a checkpoint of one backend can be resumed on another", "M", (), of("training/cross_backend", "losses_agree_after_switching_the_backend")),
    # --- command line
    Row(CLI, "several --config, the command line wins, the environment", "M", (), of("cli/configuration", "precedence_of_sources", "a_config_is_merged_into_the_previous_one", "environment_variables_set_options")),
    Row(CLI, "class_path/init_args for model, data, callbacks, logger, optimizer, lr_scheduler", "M", (), of("cli/repeat", "a_run_with_all_sources_of_options_is_repeated") + of("cli/configuration", "user_classes_in_the_printed_config", "optimizer_and_schedule_options", "callbacks_and_loggers_have_short_names")),
    Row(CLI, "--print_config, --model.help, --optimizer.help", "M", (), of("cli/run", "the_config_is_complete_and_can_be_read_again") + of("cli/configuration", "help_of_a_class", "help_of_an_optimizer")),
    Row(CLI, "fit --config RUN/config.yaml repeats the run bit for bit", "M", (), of("cli/repeat", "a_run_with_all_sources_of_options_is_repeated", "a_resumed_run_is_repeated_from_the_start") + of("cli/run", "the_same_config_repeats_the_run")),
    Row(CLI, "sweep: grid, random, Optuna, TensorBoard's HParams", "M", (), of("cli/sweep", "the_table_ranks_the_trials_and_keeps_the_failed_one", "hparams_are_written_for_tensorboard", "an_interrupted_sweep_resumes") + of("cli/search_space", "a_grid_is_every_combination", "optuna_improves_and_uses_finished_trials")),
    Row(CLI, "errors in one or two lines", "M", (), of("cli/errors", "wrong_arguments", "wrong_config", "checkpoint_of_another_model", "unknown_backend")),
    Row(CLI, "side by side with Lightning and Keras, and run", "M", (), of("cli/readme", "the_table_for_lightning_and_keras_runs", "the_digits_example_matches_the_readme_and_runs")),
]
# fmt: on

# What Lightning's own tests expect of these flags and callbacks, test by test, and whether kgenre meets it:
# https://github.com/Lightning-AI/pytorch-lightning/tree/master/tests/tests_pytorch, July 2026.
as_theirs, timer, least = "training/lightning_behaviours", "callbacks/timer", "training/min_epochs"
accumulation = "callbacks/gradient_accumulation_scheduler"


@dataclass(frozen=True)
class Expectation:
    """One of Lightning's tests, with our ``tests`` that expect the same, or that show what ``differs``, and why.

    Without ``tests``, it does not apply to kgenre; ``differs`` is the reason.
    """

    theirs: str
    tests: tuple[str, ...] = ()
    differs: str = ""


def expectations(file: str, **theirs: tuple[str, ...] | tuple[tuple[str, ...], str] | str) -> list[Expectation]:
    """Return the tests of one file: each with ours, with ours and what differs, or with why it does not apply."""
    made = []
    for name, ours in theirs.items():
        if isinstance(ours, str):
            made.append(Expectation(f"{file}::test_{name}", differs=ours))
        elif isinstance(ours[0], tuple):
            made.append(Expectation(f"{file}::test_{name}", *ours))
        else:
            made.append(Expectation(f"{file}::test_{name}", ours))
    return made


# fmt: off
SUITE = [
    *expectations(
        "trainer/flags/test_min_max_epochs.py",
        min_max_steps_epochs=of(as_theirs, "min_max_steps_epochs", "should_stop_waits_for_min_epochs_and_min_steps"),
        max_epochs_not_set_warning=(of(flags, "max_epochs_has_a_default"), "1000 epochs too, but no warning: the docstring says so"),
    ),
    *expectations(
        "trainer/flags/test_fast_dev_run.py",
        skip_on_fast_dev_run_tuner=of(as_theirs, "fast_dev_run"),
        callbacks_and_logger_not_called_with_fastdevrun=of(as_theirs, "fast_dev_run") + of(flags, "fast_dev_run_runs_few_batches_and_writes_nothing"),
    ),
    *expectations(
        "trainer/flags/test_overfit_batches.py",
        overfit_basic=of(as_theirs, "overfit_batches_limits_training_and_validation_only") + of(flags, "a_module_without_validation_step_is_not_validated"),
        overfit_batches_raises_warning_in_case_of_sequential_sampler=(of(flags, "overfit_batches_repeats_the_same_batches"), "no warning needed: the first epoch's order is repeated, shuffled or not"),
        overfit_batch_limits_eval=of(as_theirs, "overfit_batches_limits_training_and_validation_only"),
        overfit_batch_limits_train=of(as_theirs, "overfit_batches_limits_training_and_validation_only") + of(flags, "overfit_batches_repeats_the_same_batches"),
        overfit_batches_same_batch_for_train_and_val="holds there too only where both sources are the same",
        distributed_sampler_with_overfit_batches="no samplers: one process shares each batch among its devices",
    ),
    *expectations(
        "trainer/flags/test_val_check_interval.py",
        val_check_interval=of(as_theirs, "val_check_interval_as_a_fraction"),
        val_check_interval_info_message="no message",
        validation_check_interval_exceed_data_length_correct=of(as_theirs, "val_check_interval_across_epochs"),
        validation_check_interval_exceed_data_length_wrong=of(as_theirs, "impossible_val_check_interval"),
        val_check_interval_float_with_none_check_val_every_n_epoch=of(as_theirs, "impossible_val_check_interval"),
        time_based_val_check_interval=(of(flags, "wrong_types_name_the_argument_and_the_value"), "refused: a repeated run would validate at other steps"),
        time_and_epoch_gated_val_check=(of(flags, "errors_name_the_argument_and_the_value"), "the same"),
    ),
    *expectations(
        "trainer/flags/test_check_val_every_n_epoch.py",
        check_val_every_n_epoch=of(as_theirs, "check_val_every_n_epoch"),
        check_val_every_n_epoch_with_max_steps=of(as_theirs, "check_val_every_n_epoch_with_max_steps"),
    ),
    *expectations(
        "trainer/flags/test_limit_batches.py",
        num_dataloader_batches=of(as_theirs, "limits_of_all_stages"),
        eval_limit_batches=of(as_theirs, "limits_of_all_stages"),
        limit_batches_info_message="no message",
    ),
    *expectations(
        "trainer/flags/test_barebones.py",
        barebones_disables_logging=of(flags, "barebones_trains_and_does_nothing_else"),
        barebones_argument_selection=of(flags, "barebones_trains_and_does_nothing_else"),
        barebones_raises=of(flags, "barebones_rejects_costly_flags_by_name"),
    ),
    *expectations(
        "trainer/properties/test_estimated_stepping_batches.py",
        num_stepping_batches_basic=of(as_theirs, "estimated_stepping_batches"),
        num_stepping_batches_raises_info_with_no_dataloaders_loaded="no message",
        num_stepping_batches_iterable_dataset=of(run, "batch_counts"),
        num_stepping_batches_infinite_training=of(as_theirs, "estimate_for_unlimited_training_is_infinite"),
        num_stepping_batches_with_max_steps=of(as_theirs, "estimated_stepping_batches"),
        num_stepping_batches_accumulate_gradients=of(as_theirs, "estimated_stepping_batches"),
        num_stepping_batches_gpu="a batch is shared among devices: their number changes no count",
    ),
    *expectations(
        "callbacks/test_early_stopping.py",
        early_stopping_state_key=of(checkpoint, "callbacks_with_the_same_monitor_have_separate_states"),
        resume_early_stopping_from_checkpoint=(of(stop, "state_dict_round_trip") + of(as_theirs, "differs_resuming_a_finished_run_does_nothing"), "max_epochs below the checkpoint's epoch is no error: a script that resumes in a loop must come to an end"),
        early_stopping_no_extraneous_invocations=of(stop, "sanity_check_and_later_validation_do_not_count"),
        early_stopping_patience=of(as_theirs, "early_stopping_patience"),
        early_stopping_patience_train=of(as_theirs, "early_stopping_patience"),
        pickling="no process is spawned, so nothing is pickled",
        early_stopping_no_val_step=of(stop, "without_validation_checks_at_the_end_of_an_epoch"),
        early_stopping_thresholds=of(as_theirs, "early_stopping_thresholds"),
        early_stopping_on_non_finite_monitor=of(as_theirs, "early_stopping_thresholds"),
        min_epochs_min_steps_global_step=of(as_theirs, "should_stop_waits_for_min_epochs_and_min_steps") + of(least, "early_stopping_waits_and_logs_once"),
        early_stopping_mode_options=of(stop, "wrong_mode"),
        multiple_early_stopping_callbacks=of(as_theirs, "earliest_of_two_early_stoppings_stops"),
        check_on_train_epoch_end_smart_handling=of(as_theirs, "early_stopping_checks_every_validation"),
        early_stopping_squeezes="logged values are numbers",
        early_stopping_log_info="no ranks",
        early_stopping_reasons=(of(stop, "logs_the_reason"), "the reason is logged; there is no attribute with it"),
    ),
    *expectations(
        "callbacks/test_timer.py",
        trainer_flag=(of(timer, "max_time_conflicts_with_a_timer"), "max_time together with a Timer is refused, not ignored"),
        timer_parse_duration=of(timer, "durations"),
        timer_parse_duration_misconfiguration=of(timer, "invalid_durations"),
        timer_interval_choice=of(timer, "wrong_interval"),
        timer_time_remaining=of(timer, "when_it_stops"),
        timer_stops_training=of(timer, "when_it_stops", "real_time"),
        timer_zero_duration_stop=of(as_theirs, "timer_of_zero_seconds_trains_nothing"),
        timer_duration_min_steps_override=of(least, "max_time_waits_for_min_steps"),
        timer_resume_training=of(timer, "resumed_run_continues_counting"),
        timer_track_stages=of(timer, "validation_and_test_have_their_own_clocks"),
    ),
    *expectations(
        "callbacks/test_gradient_accumulation_scheduler.py",
        trainer_accumulate_grad_batches_zero_grad=of(grad, "accumulation_equals_one_step_on_all_rows"),
        trainer_accumulate_grad_batches_with_callback=of(accumulation, "updates_per_epoch"),
        invalid_keys_for_grad_accum_scheduler=of(accumulation, "wrong_schedules"),
        invalid_values_for_grad_accum_scheduler=of(accumulation, "wrong_schedules"),
        unsupported_strategies="works with every strategy here",
        unsupported_manual_optimization=of(hooks, "manual_optimization_is_rejected"),
        warn_if_model_has_overridden_optimization_hooks=(of(hooks, "unsupported_lightning_hooks_are_rejected"), "an error instead of a warning"),
        raises_when_accumulate_grad_batches_with_callback=of(accumulation, "conflict_with_accumulate_grad_batches"),
    ),
    *expectations(
        "checkpointing/test_model_checkpoint.py",
        model_checkpoint_state_key=of(checkpoint, "callbacks_with_the_same_monitor_have_separate_states"),
        model_checkpoint_score_and_ckpt=of(checkpoint, "kept_checkpoints"),
        model_checkpoint_score_and_ckpt_val_check_interval=of(checkpoint, "validation_within_an_epoch_saves_a_checkpoint"),
        model_checkpoint_with_non_string_input="no dirpath: checkpoints lie in the run's folder",
        model_checkpoint_to_yaml="the checkpoints' scores are in each state.json",
        model_checkpoint_path="no dirpath",
        pickling="nothing is pickled",
        model_checkpoint_no_extraneous_invocations="one process",
        model_checkpoint_format_checkpoint_name=of(checkpoint, "filename_templates", "invalid_filename_templates"),
        model_checkpoint_file_extension="a checkpoint is a folder",
        model_checkpoint_save_last=(of(checkpoint, "kept_checkpoints"), "last is a small text file that names the newest, never a second copy"),
        model_checkpoint_save_last_as_link_not_local="the same",
        model_checkpoint_link_checkpoint="the same",
        model_checkpoint_link_checkpoint_relative_path="the same",
        invalid_top_k=of(checkpoint, "wrong_arguments"),
        none_monitor_top_k=of(checkpoint, "wrong_arguments"),
        none_monitor_not_alternating=of(checkpoint, "newest_is_kept_without_a_monitored_value"),
        invalid_every_n_epochs=(of(checkpoint, "wrong_arguments"), "0 is refused; it does not mean never"),
        invalid_every_n_train_steps=(of(checkpoint, "wrong_arguments"), "the same"),
        invalid_trigger_combination=of(checkpoint, "invalid_save_intervals"),
        none_every_n_train_steps_val_epochs=of(checkpoint, "kept_checkpoints"),
        model_checkpoint_save_last_none_monitor=of(checkpoint, "save_top_k_minus_one_keeps_all_even_without_a_value"),
        model_checkpoint_every_n_epochs=of(checkpoint, "kept_checkpoints", "save_top_k_minus_one_keeps_all_even_without_a_value"),
        ckpt_every_n_train_steps=of(checkpoint, "every_n_train_steps"),
        model_checkpoint_on_exception_run_condition_on_validation_start=of(checkpoint, "save_on_exception", "exception_saves_nothing_by_default_or_before_first_step"),
        model_checkpoint_on_exception_fast_dev_run_on_train_batch_start=of(as_theirs, "fast_dev_run"),
        model_checkpoint_on_exception_run_condition_on_train_batch_start=of(checkpoint, "save_on_exception"),
        model_checkpoint_on_exception_parametrized=of(checkpoint, "save_on_exception"),
        model_checkpoint_on_exception_in_other_callbacks=of(checkpoint, "save_on_exception"),
        model_checkpoint_train_time_interval=of(checkpoint, "train_time_interval"),
        model_checkpoint_topk_zero=of(checkpoint, "kept_checkpoints", "saving_neither_best_nor_last_keeps_nothing"),
        model_checkpoint_topk_all=of(checkpoint, "kept_checkpoints"),
        ckpt_metric_names=of(checkpoint, "filename_templates"),
        default_checkpoint_behavior=(of(checkpoint, "default_keeps_last_and_best_by_validation_loss"), "the best by val/loss is kept too, where it is logged"),
        model_checkpoint_save_last_checkpoint_contents=(of(checkpoint, "kept_checkpoints"), "last names that checkpoint itself"),
        checkpointing_with_nan_as_first=of(checkpoint, "nan_is_never_the_best"),
        checkpoint_repeated_strategy=of(resume, "resume_restores_callbacks"),
        checkpoint_repeated_strategy_extended=of(resume, "resumed_run_equals_uninterrupted_run"),
        configure_model_checkpoint=of(flags, "enable_flags_with_given_callbacks"),
        val_check_interval_checkpoint_files=of(checkpoint, "validation_within_an_epoch_saves_a_checkpoint"),
        current_score="no current_score: trainer.callback_metrics has it",
        current_score_when_nan=of(checkpoint, "nan_is_never_the_best"),
        hparams_type=of("training/module", "save_hyperparameters"),
        ckpt_version_after_rerun_new_trainer=(of("training/run_folder", "each_fit_has_its_own_folder"), "each run has a folder of its own, so no name is taken"),
        ckpt_version_after_rerun_same_trainer=(of("training/run_folder", "each_fit_has_its_own_folder"), "the same"),
        ckpt_version_counter_disabled_after_rerun_new_trainer="the same",
        model_checkpoint_mode_options=of(checkpoint, "wrong_arguments"),
        check_val_every_n_epochs_top_k_integration=(of(as_theirs, "differs_epochs_without_validation_are_saved_too"), "the end of an epoch without validation is saved too, judged by the newest value"),
        model_checkpoint_saveload_ckpt=of(checkpoint, "resumed_run_knows_the_best"),
        resume_training_preserves_old_ckpt_last="a resume goes on in the same folder",
        save_last_saves_correct_last_model_path=of(checkpoint, "kept_checkpoints"),
        save_last_versioning="one last per run",
        none_monitor_saves_correct_best_model_path=(of(checkpoint, "newest_is_kept_without_a_monitored_value"), "without a monitor there is a last, but no best"),
        last_global_step_saved=of(checkpoint, "every_n_train_steps"),
        save_last_every_n_epochs_interaction=(of(checkpoint, "kept_checkpoints"), "every_n_epochs holds for the last one too"),
        train_epoch_end_ckpt_with_no_validation=of(checkpoint, "monitor_logged_at_the_end_of_the_epoch"),
        resume_and_old_checkpoint_files_remain=of(checkpoint, "resumed_run_knows_the_best"),
        find_last_checkpoints=of(resume, "last_falls_back_to_the_newest_valid_checkpoint"),
        expand_home="no dirpath",
        save_last_cli=of("cli/configuration", "appending_to_lists"),
        load_with_inf_data_loader=of(resume, "plain_iterables_resume_at_the_right_batch"),
        save_last_without_save_on_train_epoch_and_without_val=of(checkpoint, "monitor_logged_at_the_end_of_the_epoch"),
        save_last_only_when_checkpoint_saved=(of(checkpoint, "kept_checkpoints"), "last is the newest, best or not"),
    ),
    *expectations(
        "checkpointing/test_checkpoint_callback_frequency.py",
        disabled_checkpointing=of(flags, "nothing_is_written_without_loggers_and_checkpoints"),
        default_checkpoint_freq=of(checkpoint, "validation_within_an_epoch_saves_a_checkpoint"),
        top_k=of(checkpoint, "kept_checkpoints"),
    ),
    *expectations(
        "loops/test_training_loop.py",
        outputs_format=of(engine, "outputs_are_what_the_step_returned") + of(hooks, "hooks_get_lightnings_arguments"),
        training_starts_with_seed=of(as_theirs, "sanity_check_keeps_the_random_state"),
        on_train_batch_start_return_minus_one=of("training/fit", "minus_one_skips_the_rest_of_the_epoch"),
        should_stop_mid_epoch=(of(as_theirs, "differs_should_stop_stops_inside_an_epoch"), "stops there; a resume continues with the next batch"),
        fit_loop_done_log_messages="the reason why a fit ended is logged, unless it is the number of epochs",
        should_stop_early_stopping_conditions_met=of(as_theirs, "should_stop_waits_for_min_epochs_and_min_steps"),
        tqdm_total_steps_with_iterator_no_length=of("callbacks/progress_bar", "bar_on_a_terminal"),
        progress_bar_steps=of("callbacks/progress_bar", "bar_on_a_terminal"),
        eval_mode_warning="layers receive training=True in each call; there is no mode that could be wrong",
        lr_updated_on_train_batch_start_returns_minus_one=of(as_theirs, "schedule_advances_if_minus_one_skips_the_rest"),
        val_check_interval_with_limit_val_batches_zero=of(as_theirs, "val_check_interval_is_ignored_without_validation"),
    ),
    *expectations(
        "trainer/test_trainer.py",
        no_val_module=of(flags, "a_module_without_validation_step_is_not_validated"),
        gradient_accumulation_scheduling_last_batch=of(grad, "last_group_of_an_epoch_may_be_incomplete"),
        model_checkpoint_options=of(checkpoint, "kept_checkpoints"),
        model_checkpoint_only_weights=of(checkpoint, "save_weights_only"),
        model_freeze_unfreeze=of("training/module", "freeze_and_unfreeze"),
        fit_ckpt_path_epoch_restored=of(resume, "resumed_run_equals_uninterrupted_run"),
        trainer_max_steps_and_epochs=(of(flags, "max_epochs_and_max_steps") + of(as_theirs, "differs_current_epoch_counts_finished_epochs_only"), "current_epoch does not count the epoch that max_steps cut"),
        trainer_max_steps_and_epochs_validation=of(flags, "errors_name_the_argument_and_the_value"),
        trainer_min_steps_and_epochs=of(least, "step_at_which_training_stops"),
        trainer_min_steps_and_min_epochs_not_reached=of(least, "delayed_stop_is_logged_once_per_fit"),
        trainer_max_steps_accumulate_batches=of(as_theirs, "estimated_stepping_batches"),
        checkpoint_path_input=of(resume, "testing_a_checkpoint"),
        checkpoint_path_input_last=of(resume, "last_without_a_checkpoint_starts_fresh"),
        checkpoint_find_last=of(resume, "last_falls_back_to_the_newest_valid_checkpoint"),
        tested_checkpoint_path_best=of(checkpoint, "best_and_last_of_the_run_can_be_tested"),
        disabled_training=of(as_theirs, "unlimited_and_zero_durations"),
        disabled_validation=of(flags, "limit_val_batches_0_skips_validation"),
        on_exception_hook=of(hooks, "hooks_after_an_exception"),
        keyboard_interrupt=(of("training/fit", "ctrl_c_ends_a_fit_cleanly"), "fit returns after the step and a checkpoint, with trainer.interrupted set"),
        gradient_clipping_by_norm=of(grad, "clipping_in_a_fit"),
        gradient_clipping_by_value=of(grad, "clipping_in_a_fit"),
        invalid_gradient_clip_value=of(grad, "wrong_arguments"),
        invalid_gradient_clip_algo=of(grad, "wrong_arguments"),
        num_sanity_val_steps=of(flags, "sanity_check"),
        num_sanity_val_steps_neg_one=of(flags, "sanity_check"),
        log_every_n_steps=of("training/log", "values_are_written_every_n_updates"),
        trainer_predict_no_return=of("callbacks/prediction_writer", "writes_each_batch"),
        predict_return_predictions_cpu=of("training/evaluation", "predict_returns_numpy_arrays"),
        repeated_fit_calls_with_max_epochs_and_steps=(of(as_theirs, "differs_second_fit_resets_the_counters"), "a second fit trains again"),
        trainer_access_in_configure_optimizers=of(as_theirs, "estimated_stepping_batches"),
        check_val_every_n_epoch_exception=of(flags, "errors_name_the_argument_and_the_value"),
        exception_when_testing_or_validating_with_fast_dev_run=of(as_theirs, "fast_dev_run_has_no_best_checkpoint"),
        dataloaders_are_not_loaded_if_disabled_through_limit_batches=(of(as_theirs, "sources_limited_to_zero_batches_are_not_read"), "sources are created but not read, except for the first training batch, from whose shapes the step is built"),
        detect_anomaly_nan=of("callbacks/anomaly_detection", "reports_the_source"),
        error_handling_all_stages=of(run, "status_of_an_interrupted_run"),
        trainer_calls_logger_finalize_on_exception=of("training/fit", "errors_propagate_after_cleanup"),
        trainer_calls_datamodule_on_exception=of(hooks, "hooks_after_an_exception"),
        trainer_save_checkpoint_no_model_attached=of(resume, "saving_needs_a_run"),
    ),
]
# fmt: on


@cache
def functions_of(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def is_there(name: str) -> bool:
    """Return whether a name exists: "Trainer(profiler)", "Module.log", "callbacks.Timer", "tuning.Tuner.lr_find"."""
    path, argument = re.fullmatch(r"([\w.]+)(?:\((\w+)\))?", name).groups()
    first, *rest = path.removeprefix("kgenre.").split(".")
    try:
        found = importlib.import_module(f"kgenre.{first}") if first.islower() and rest else _member("kgenre", first)
        for part in rest:
            if first == "Trainer" and not hasattr(found, part):
                found = found(logger=False)  # a run's state is on the instance
            found = getattr(found, part)
    except (AttributeError, ImportError):
        return False
    return argument is None or argument in inspect.signature(found).parameters


def public() -> list[str]:
    """Return the public names, each of which needs a row."""
    packages = {"callbacks": callbacks, "loggers": loggers, "profilers": profilers, "tuning": tuning}
    names = [f"{name}.{member}" for name, package in packages.items() for member in package.__all__]
    names += [f"Trainer({name})" for name in inspect.signature(Trainer).parameters]
    for owner in (Trainer, Module, DataModule):
        names += [f"{owner.__name__}.{name}" for name in dir(owner) if not name.startswith("_")]
    return names


def _member(module: str, name: str) -> object:
    return getattr(importlib.import_module(module), name)


def markdown() -> str:
    """Return both tables, with the tests that show each row."""
    lines = []
    for section in dict.fromkeys(row.section for row in TABLE):
        lines += [f"\n## {section}\n", "| | | shown by |", "|---|---|---|"]
        for row in (row for row in TABLE if row.section == section):
            shown = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in row.tests)
            lines.append(f"| {row.what} | {row.level} | {shown} |")
    lines += ["\n## Lightning's own tests\n", "| its test | holds | shown by, or why not |", "|---|---|---|"]
    for one in SUITE:
        shown = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in one.tests)
        verdict = "yes" if not one.differs else "differs" if one.tests else "not ours"
        lines.append(f"| `{one.theirs}` | {verdict} | {'<br>'.join(filter(None, (one.differs, shown)))} |")
    return "\n".join(lines)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.what)
def test_names_and_tests_of_a_row_exist(row):
    assert row.tests, "a row needs a test that shows it"
    gone = [name for name in row.names if not is_there(name)]
    for test in row.tests:
        file, _, function = test.partition("::")
        if not (ROOT / file).is_file() or function not in functions_of(ROOT / file):
            gone.append(test)
    assert not gone


def test_every_public_name_has_a_row():
    promised = {name for row in TABLE for name in row.names}
    promised |= {name.partition("(")[0] for name in promised if not name.startswith("Trainer(")}
    assert [name for name in public() if name not in promised] == [], "give it a row with the tests that show it"


@pytest.mark.parametrize("one", SUITE, ids=lambda one: one.theirs)
def test_tests_for_lightnings_expectations_exist(one):
    assert one.tests or one.differs
    for test in one.tests:
        file, _, function = test.partition("::")
        assert function in functions_of(ROOT / file), test


@pytest.mark.parametrize("name", callbacks._OTHER_NAMES)
def test_lightning_names_of_callbacks_suggest_a_replacement(name):
    with pytest.raises(ImportError, match=rf"^kgenre.callbacks has no {name}: write \w+") as raised:
        exec(f"from kgenre.callbacks import {name}")
    assert re.search(r"write (\w+)", str(raised.value))[1] in callbacks.__all__


@pytest.mark.parametrize("name", ["LightningModule", "LightningDataModule", "LightningCLI"])
def test_lightning_names_of_the_package_suggest_a_replacement(name):
    with pytest.raises(ImportError, match=rf"^kgenre has no {name}: write kgenre"):
        exec(f"from kgenre import {name}")


def test_missing_names_and_tests_are_detected():
    assert not is_there("Trainer(max_epoch)")
    assert not is_there("callbacks.Tim")
    assert not is_there("Module.logg")
    assert "test_ctrl_c_ends_a_fit" not in functions_of(ROOT / "tests/training/test_fit.py")


if __name__ == "__main__":
    print(markdown())
