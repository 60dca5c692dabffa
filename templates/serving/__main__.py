"""Serve the model in this folder, as `glue serve --folder FOLDER` does: `python FOLDER --host 0.0.0.0`."""

import shlex
import sys
from pathlib import Path


def run(folder: Path) -> int:
    if not (folder / "bundle").is_dir():  # a clone: built files are not in git
        hint = f"glue package {shlex.quote(str(folder))}"
        sys.stderr.write(f"error: {folder / 'bundle'}: does not exist\nhint: {hint}, in the project\n")
        return 4
    try:
        from mlops_glue.cli import main
    except ImportError as error:
        from mlops_glue.serving.install_hint import install_hint

        sys.stderr.write(f"error: {error}\nhint: {install_hint(folder)}\n")
        return 4
    main(["serve", "--folder", str(folder), *sys.argv[1:]])
    return 0


sys.exit(run(Path(__file__).parent))
