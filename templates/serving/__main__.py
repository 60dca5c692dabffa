"""Serves the model in this folder: `python FOLDER --host 0.0.0.0`; `--check` only loads it and scores its example."""

import sys
from pathlib import Path

from mlops_glue.commands.packaged import main

sys.exit(main(Path(__file__).parent, sys.argv[1:]))
