"""``python -m kgenre`` is ``kgenre``."""

import sys

from kgenre.cli.main import main

sys.exit(main())
