"""Serves the model in this folder: `python FOLDER --host 0.0.0.0`; `--check` only loads it and scores its example."""

import shlex
import sys
from pathlib import Path


def run(folder: Path) -> int:
    if not (folder / "bundle").is_dir():  # a clone: git does not have what is built
        hint = f"glue package {shlex.quote(str(folder))}"
        sys.stderr.write(f"error: {folder / 'bundle'}: is not there\nhint: {hint}, in the project\n")
        return 4
    from mlops_glue.commands.packaged import main

    return main(folder, sys.argv[1:])


sys.exit(run(Path(__file__).parent))
