"""``kgenre export``: a trained classifier as TensorFlow, ONNX or Keras files."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from kgenre.cli.usage import writing_below
from kgenre.quoted_path import quoted_path


def run(arguments: Sequence[str]) -> int:
    """Write the model, what is needed to use it, and a script that classifies with it."""
    from kgenre.cli.parser import Parser

    parser = Parser(
        prog="kgenre export",
        description="Write a trained classifier into a new folder: the model from pixels and token ids to "
        "probabilities, its genres, thresholds and vocabulary, and classify.py, which classifies films with it.",
    )
    parser.add_argument("run", type=str, help="the folder of a run (its best checkpoint) or of a checkpoint")
    parser.add_argument("folder", type=str, help="the new folder")
    parser.add_argument(
        "--format",
        choices=["saved_model", "onnx", "keras"],
        default="saved_model",
        help="TensorFlow SavedModel, ONNX (needs tf2onnx), or a Keras file (needs kgenre; trainable)",
    )
    options = parser.parse_args(list(arguments))
    if options.format != "keras" and "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"  # which writes both formats, whatever backend the run was trained on
    from kgenre.cli.quiet_backend import import_backend
    from kgenre.engines.native_output import without_native_output

    import_backend(data=False, extras=False)
    from kgenre.models.export import export_classifier

    with without_native_output(), writing_below(options.folder, "choose a folder elsewhere"):
        folder = export_classifier(options.run, options.folder, options.format)
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    print(f"Try it: python {quoted_path(folder / 'classify.py')} --help")
    return 0
