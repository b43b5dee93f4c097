"""``python -m kgenre`` is ``kgenre``."""

import contextlib
import os
import sys
from pathlib import Path

# `python -m` searches the working directory first: a user's random.py or keras.py there would shadow the library.
# Where options may name files in it, `only_allowed_imports` adds it again.
with contextlib.suppress(OSError):  # the working directory has been removed
    if sys.path[0] == os.getcwd() and not sys.flags.safe_path and Path(__file__).parents[1] != Path.cwd():
        del sys.path[0]

from kgenre.cli.main import main

sys.exit(main())
