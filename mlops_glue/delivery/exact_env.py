"""The environment that a version was trained in: its differences from this one, and rebuilding it with uv."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from mlops_glue.errors import ToolError
from mlops_glue.modules import COMPUTES
from mlops_glue.version import __version__

log = logging.getLogger(__name__)


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the differences from the recorded environment that can affect results."""
    out = [f"{key} {then[key]}, here {now[key]}" for key in ("python", "glue", "machine") if then[key] != now[key]]
    for package in sorted({*then.get("computes", COMPUTES), *now.get("computes", [])}):
        versions = then["packages"].get(package), now["packages"].get(package)
        if versions[0] != versions[1]:
            out.append(f"{package} {versions[0] or 'absent'}, here {versions[1] or 'absent'}")
    kernels = [
        {library["internal_api"]: library["architecture"] for library in found["libraries"] if library["architecture"]}
        for found in (then, now)
    ]
    out += [
        f"{api} kernel {kernel}, here {kernels[1][api]}"
        for api, kernel in kernels[0].items()
        if api in kernels[1] and kernels[1][api] != kernel
    ]
    return out


def pins(environment: dict[str, Any]) -> list[str]:
    """Return the recorded packages, without glue itself, as pip requirements."""
    return [f"{name}=={version}" for name, version in environment["packages"].items() if name != "mlops-glue"]


def build(environment: dict[str, Any], folder: Path) -> Path:
    """Build the recorded environment with uv. glue is the recorded release, or this checkout if it is that release.

    Args:
        environment: as recorded by `provenance.environment`.
        folder: the folder to create.

    Returns:
        The folder with its commands.

    Raises:
        ToolError: uv is not installed, or Python or a package cannot be installed.
    """
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}") or shutil.which("uv")
    if uv is None:
        raise ToolError("--exact-env needs uv", hint="pip install uv")
    requirements = folder.with_suffix(".txt")
    requirements.write_text("".join(f"{pin}\n" for pin in pins(environment)), encoding="utf-8")
    source, release = Path(__file__).parents[2], environment["glue"]
    is_this = release == __version__ and (source / "pyproject.toml").is_file()
    glue = str(source) if is_this else f"mlops-glue=={release}"
    version, python = environment["python"], str(folder / "bin" / "python")
    log.info("building the recorded environment: Python %s, %d packages", version, len(pins(environment)))
    install = ["pip", "install", "--quiet", "--python", python, "--no-deps"]
    near = "or run without --exact-env, to reproduce it in this environment"
    _run(
        [uv, "venv", "--quiet", "--python", version, str(folder)],
        f"Python {version}",
        f"uv python install {version}, {near}",
    )
    _run([uv, *install, "-r", str(requirements)], "its packages", f"check whether uv's index has them, {near}")
    _run([uv, *install, glue], "glue", f"check whether uv's index has it, {near}")
    return folder / "bin"


def _run(words: list[str], what: str, hint: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        why = " ".join(line.strip(" │├╰─▶×╭·") for line in done.stderr.split("hint:")[0].splitlines())
        why = " ".join(why.removeprefix("error:").split())[:400]
        raise ToolError(f"the recorded environment cannot be built: {what}: {why}", hint=hint)
