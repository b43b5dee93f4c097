"""``python -m kgenre`` is ``kgenre``."""

import contextlib
import os
import sys
from pathlib import Path

# Python looks for modules in the working directory first: a file of the user's there named random.py or keras.py would
# be taken for the library's. What options may name from there, `only_allowed_imports` lets in.
with contextlib.suppress(OSError):  # it was removed
    if sys.path[0] == os.getcwd() and not sys.flags.safe_path and Path(__file__).parents[1] != Path.cwd():
        del sys.path[0]

from kgenre.cli.main import main

sys.exit(main())
