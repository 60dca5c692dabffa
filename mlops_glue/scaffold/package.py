"""Write the folder that serves one version: its bundle, glue's own code, its requirements and deployment files."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from math import ceil
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mlops_glue import config as configs
from mlops_glue import files, layout, modules, trusted
from mlops_glue.adapters import git, skops
from mlops_glue.delivery import fetch
from mlops_glue.errors import MissingExtra, ToolError, UsageError
from mlops_glue.scaffold import manifest, package_folder, undo
from mlops_glue.trusted import Trusted

NEEDS = (
    *("click", "fastapi", "fastapi-offline", "uvicorn", "httptools", "uvloop"),
    *("onnxruntime", "numpy", "msgspec", "orjson", "prometheus-client"),
)
LOG_NEEDS = ("pyarrow", "fsspec")  # the prediction log is written as Parquet, here or to a URL
STORE_NEEDS = {  # by the scheme of the prediction log's URL
    **{"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "az": "adlfs"},
    **dict.fromkeys(("postgresql", "postgres"), "adbc-driver-postgresql"),
}
SKOPS_NEEDS = ("scikit-learn", "pandas", "skops", "pyarrow")  # for a model that ONNX cannot express
MOST_NAME = 40
SHIPS_S = 35  # how long a stopping server may take to ship its prediction log
BUILT = ("serve.json", "requirements.txt", layout.GENERATED)  # committed to git, in addition to the merged files
LEFT_OUT = ("templates", "__pycache__")
# one package of a lock file: its name, version and hashes
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)[^\n]*\\\n((?:[ \t]+--hash=\S+[ \t\\]*\n?)+)", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """The package that was written."""

    name: str
    version: int
    image: str
    requirements: int  # number of packages to install
    conflicts: list[str]  # files that contain both sides of a merge


def write(
    out: Path, root: Path, config: configs.Config, env: str | None, version: int | None, *, wheels: bool
) -> Package:
    """Write the folder: a new folder completely or not at all, an existing folder file by file.

    Raises:
        UsageError: the folder was not written by glue, or git ignores a file that a clone needs.
    """
    if out.exists() and not (out / "serve.json").is_file():
        raise UsageError(f"{out}: exists, and was not written by glue package", hint="glue package serving")
    with package_folder.workplace(out) as scratch:
        made = scratch / "package"
        about = _fill(made, root, config, env, version)
        requirements, hashed = pinned(requirement_names(made, config), root / config.ci.requirements)
        files.write_text(made / "requirements.txt", "\n".join(requirements) + "\n")
        _add_wheels(made, download=wheels)
        online = (made / "online_store.db").is_file()
        values = {**deployment(config, about), "hashed": hashed, "wheels": wheels, "online": online}
        texts = manifest.rendered(layout.templates() / "serving", values, ("<<", ">>"))  # users may edit these
        if config.compute.engine != "ray":
            del texts["deploy/ray.yml"]
        elif values["ray"] is None:
            raise MissingExtra("ray", "ray")
        for path, text in texts.items():
            files.write_text(made / path, text)
        paths = [*texts, *BUILT]
        if len(git.ignored(out, paths)) < len(paths):  # git tracks part of the folder, so it must track all of it
            undo.check_committed(out, paths)
        conflicts = package_folder.replace(out, made, texts)
    return Package(about["name"], about["version"], values["image"], len(requirements), conflicts)


def _fill(made: Path, root: Path, config: configs.Config, env: str | None, version: int | None) -> dict[str, Any]:
    """Write the bundle, the code that serves it, and `serve.json` with the settings."""
    with tempfile.TemporaryDirectory() as scratch:
        store, chosen = fetch.chosen_version(fetch.read_only(root, config), root, config, version)
        found = fetch.fetch(store, root, config, chosen, Path(scratch))
    if found.lookup is not None and found.lookup["type"] != "embedded":
        raise UsageError(
            f"{config.model_name} v{chosen} looks up features through Feast, which needs the project's files",
            hint="glue serve, in the project",
        )
    shutil.copytree(found.folder, made / "bundle")
    shutil.copytree(Path(__file__).parents[1], made / "mlops_glue", ignore=shutil.ignore_patterns(*LEFT_OUT))
    online = None
    if found.lookup is not None:
        online = dict(found.lookup["options"])
        if Path(online["path"]).is_file():
            shutil.copy(online["path"], made / "online_store.db")
    about = {
        "name": config.model_name,
        "version": chosen,
        "env": env,
        "digest": found.digest,
        "fingerprint": found.fingerprint,
        "online_store": online and {"project": online["project"]},
        "serve": config.serve.model_dump(),
        "trust": config.package.trust,
    }
    files.write_json(made / "serve.json", about)
    return about


def requirement_names(made: Path, config: configs.Config) -> list[str]:
    """Return the packages that the server in the folder imports."""
    log = _log_place(config)
    names = [*NEEDS, *(LOG_NEEDS if log else ()), *(("pyarrow",) if config.serve.explain else ())]
    names += [need for scheme, need in STORE_NEEDS.items() if log.startswith(f"{scheme}://")]
    if (model := made / "bundle" / "model.skops").is_file():
        brought = model.with_name(trusted.FILE)
        own = Trusted.from_dict(files.read_json(brought)).imports() if brought.is_file() else set()
        names += [*SKOPS_NEEDS, *skops.packages(model), *skops.distributions(own)]
    return names


def pinned(names: list[str], lock: Path) -> tuple[list[str], bool]:
    """Return the lines of a requirements file for packages and their dependencies, in the versions installed here.

    The second value is whether the lines have hashes: all have them if the lock file has the hash of each, else none.

    Raises:
        MissingExtra: a package is not installed.
    """
    versions = dict(sorted(_closure(names)))
    hashes = _hashes(lock.read_text(encoding="utf-8")) if lock.is_file() else {}
    hashed = all(pin in hashes for pin in versions.items())
    return [hashes[pin] if hashed else "==".join(pin) for pin in versions.items()], hashed


def _closure(names: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each installed package that the names need, and its version."""
    todo, done = [Requirement(name) for name in names], set()
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in done:
            continue
        done.add((name, extras))
        try:
            found = distribution(name)
        except PackageNotFoundError as error:
            raise MissingExtra(name, "serving") from error
        yield name, found.version
        for other in map(Requirement, found.requires or []):
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                todo.append(other)


def _hashes(text: str) -> dict[tuple[str, str], str]:
    """Return the line of each package in a lock file, by name and version."""
    return {
        (name.lower(), version): " \\\n    ".join([f"{name}=={version}", *re.findall(r"--hash=\S+", hashes)])
        for name, version, hashes in ENTRY.findall(text)
    }


def _add_wheels(made: Path, *, download: bool) -> None:
    wheels = made / "wheels"
    wheels.mkdir()
    files.write_text(wheels / "README", "Wheels for requirements.txt, if glue package was run with --wheels.\n")
    if download:
        words = ["--requirement", str(made / "requirements.txt"), "--dest", str(wheels), "--only-binary", ":all:"]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", *words]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError(f"pip download: {(done.stderr.strip() or 'failed').splitlines()[-1]}")


def _log_place(config: configs.Config) -> str:
    """Return the place of the prediction log, or ""; a leading variable is resolved, as it may contain the scheme."""
    place = config.serve.prediction_log or ""
    return configs.resolve(place, "serve.prediction_log") if place.startswith("${") else place


def deployment(config: configs.Config, about: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the templates: the image, and where it runs."""
    dns = dns_name(about["name"])
    jobs = [("monitor", config.ci.schedule, ["monitor"])] if config.ci.schedule else []
    jobs += [("materialize", "0 * * * *", ["materialize"])] if config.features.use else []
    return {
        "name": " ".join(about["name"].split()),  # on one line, in comments and titles
        "version": about["version"],
        "env": about["env"],
        "dns": dns,
        "image": config.ci.image or dns,
        "port": config.serve.port,
        "keys": [key[2:-1] for key in config.serve.api_keys],
        "grace": round(config.serve.drain_s + config.serve.shutdown_s) + SHIPS_S,
        "max_body": config.serve.max_body_bytes,
        "read_timeout": ceil(config.serve.timeout_s) + 2,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "mlflow": distribution("mlflow").version,
        "ray": modules.installed("ray"),
        "requirements": config.ci.requirements,
        "jobs": jobs,
        "asks": "://" in _log_place(config),  # another service, while it serves
    }


def dns_name(name: str) -> str:
    """Return a name that Kubernetes (RFC 1035: the first character is a letter), compose and images allow.

    A CronJob's name has at most 52 characters, including `-materialize` at its end. If the conversion loses part of
    the model's name, so that another name could give the same result, four digits of the name's hash are appended.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    dns = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")
    dns = dns if dns[:1].isalpha() else f"model-{dns}".strip("-")
    if len(dns) > MOST_NAME or not name.isascii():
        dns = f"{dns[: MOST_NAME - 5].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"
    return dns
