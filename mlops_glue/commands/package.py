"""`glue package`: what serves one version, in a folder: to run anywhere without glue, or to build an image of."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_glue import config as configs
from mlops_glue import console, files, layout
from mlops_glue.adapters import git
from mlops_glue.delivery import fetch
from mlops_glue.errors import MissingExtra, ToolError, UsageError
from mlops_glue.scaffold import manifest, replace, undo

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NEEDS = (
    *("fastapi", "fastapi-offline", "uvicorn", "httptools", "uvloop"),
    *("onnxruntime", "numpy", "msgspec", "orjson", "prometheus-client"),
)
LOG_NEEDS = ("pyarrow", "fsspec")  # the prediction log becomes Parquet, here or at a URL
STORE_NEEDS = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}  # by the scheme of where it is kept
SKOPS_NEEDS = ("scikit-learn", "pandas", "skops", "pyarrow")  # of a model that ONNX cannot express
MOST_NAME = 40
KEPT = ("serve.json", "requirements.txt", layout.GENERATED)  # by git, beside what is merged
LEFT_OUT = ("templates", "__pycache__")


def package(target: str, *, version: int | None = None, wheels: bool = False, env: str | None = None) -> int:
    """Write the folder: a new one whole or not at all, one that is there file by file. Returns 1 on a conflict.

    Args:
        target: a folder that is not there, or one that this wrote.
        version: a model version; default the champion.
        wheels: put the packages that it needs beside it, so that no network is needed to install them.
        env: an entry of `environments`.
    """
    root, out = layout.find_root(), Path(target).resolve()
    env = env or os.environ.get("GLUE_ENV")
    config = configs.load(root, env, tables=False, needs=configs.A_MODEL)
    if out.exists() and not (out / "serve.json").is_file():
        raise UsageError(f"{target}: is there, and not a package of glue's", hint="glue package serving")
    with replace.workplace(out) as scratch:
        made = scratch / "package"
        about = _fill(made, root, config, env, version)
        size, texts = _requirements(made, root, config, about, wheels)
        for path, text in texts.items():
            files.write_text(made / path, text)
        _check_committed(out, [*texts, *KEPT])
        conflicts = replace.replace(out, made, texts)
    console.result(f"{target}: {about['name']} v{about['version']}, {size} packages to install")
    folder, tag = shlex.quote(target), f"{_deployed(config, about)['image']}:v{about['version']}"
    console.result(f"next     python {folder} --check    docker build --tag {tag} {folder}")
    for path in conflicts:
        console.progress(f"{target}/{path}: both sides are there, between <<<<<<< and >>>>>>>: choose")
    return 1 if conflicts else 0


def _check_committed(out: Path, paths: list[str]) -> None:
    """Git would take what a clone needs to make the package anew, unless it is to take nothing of the folder.

    Raises:
        UsageError: it ignores some of it.
    """
    if len(git.ignored(out, paths)) < len(paths):
        undo.check_committed(out, paths)


def _fill(made: Path, root: Path, config: configs.Config, env: str | None, version: int | None) -> dict[str, Any]:
    """The bundle, the code that serves it, and `serve.json`, which says how."""
    with tempfile.TemporaryDirectory() as scratch:
        store, chosen = fetch.chosen_version(fetch.read_only(root, config), root, config, version)
        found = fetch.fetch(store, root, config, env, chosen, Path(scratch))
    if found.lookup is not None and found.lookup["type"] != "packed":
        raise UsageError(
            f"{config.model_name} v{chosen} looks features up through Feast, which needs the project beside it",
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
    }
    files.write_json(made / "serve.json", about)
    return about


def _requirements(
    made: Path, root: Path, config: configs.Config, about: dict[str, Any], wheels: bool
) -> tuple[int, dict[str, str]]:
    """The packages with their versions, hashes where the project's lock file has them.

    Returns:
        How many packages, and the text of each file that uses them.
    """
    log = configs.resolve_scheme(config.serve.prediction_log or "", "serve.prediction_log")
    names = [*NEEDS, *(LOG_NEEDS if log else ())]
    names += [need for scheme, need in STORE_NEEDS.items() if log.startswith(f"{scheme}://")]
    if (kept := made / "bundle" / "model.skops").is_file():
        from mlops_glue.adapters import skops

        names += [*SKOPS_NEEDS, *skops.packages(kept)]
    pins = dict(sorted(_closure(list(names))))
    lock = root / config.ci.requirements
    hashes = _hashes(lock.read_text(encoding="utf-8")) if lock.is_file() else {}
    hashed = all((name, pin) in hashes for name, pin in pins.items())
    lines = [hashes[name, pin] if hashed else f"{name}=={pin}" for name, pin in pins.items()]
    files.write_text(made / "requirements.txt", "\n".join(lines) + "\n")
    (made / "wheels").mkdir()
    files.write_text(
        made / "wheels" / "README", "Wheels for requirements.txt, where glue package was called with --wheels.\n"
    )
    if wheels:
        words = [
            "--requirement",
            str(made / "requirements.txt"),
            "--dest",
            str(made / "wheels"),
            "--only-binary",
            ":all:",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ToolError(f"pip download: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
    values = {
        **_deployed(config, about),
        "hashed": hashed,
        "wheels": wheels,
        "online": (made / "online_store.db").is_file(),
    }
    folder = layout.templates() / "serving"
    found = sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return len(pins), {
        manifest.dotted(p.relative_to(folder).as_posix()): files.render(p, values, ("<<", ">>")) for p in found
    }


def _deployed(config: configs.Config, about: dict[str, Any]) -> dict[str, Any]:
    """What the templates say of the image and of where it runs."""
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
        "grace": round(config.serve.drain_s + config.serve.shutdown_s) + 10,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "mlflow": distribution("mlflow").version,
        "requirements": config.ci.requirements,
        "jobs": jobs,
        # somebody else while it serves
        "asks": "://" in configs.resolve_scheme(config.serve.prediction_log or "", "serve.prediction_log"),
    }


def dns_name(name: str) -> str:
    """A name of Kubernetes' (RFC 1035: it begins with a letter), of compose's and of an image's, for any model's.

    A CronJob's has 52 characters at most, and `-materialize` stands behind it. Where something of the name is lost, so
    that another one might become the same, four digits of its hash stand behind it.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    made = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    made = made if made[:1].isalpha() else f"model-{made}".strip("-")
    if len(made) > MOST_NAME or not name.isascii():
        made = f"{made[: MOST_NAME - 5].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"
    return made


def _closure(names: list[str]) -> Iterator[tuple[str, str]]:
    """Each installed package that the names need, and its version."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    todo, done = [Requirement(name) for name in names], set()
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        if (name, frozenset(one.extras)) in done:
            continue
        done.add((name, frozenset(one.extras)))
        try:
            found = distribution(name)
        except PackageNotFoundError as error:
            raise MissingExtra(name, "serving") from error
        yield name, found.version
        todo += [r for r in map(Requirement, found.requires or []) if _applies(r, one.extras)]


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _hashes(text: str) -> dict[tuple[str, str], str]:
    """What a lock file says of each package, by name and version."""
    out = {}
    for block in re.findall(r"^[A-Za-z0-9].*?(?=^[A-Za-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL):
        kept = [line.strip().rstrip("\\").strip() for line in block.splitlines() if not line.strip().startswith("#")]
        named = re.match(r"([A-Za-z0-9._-]+)==([^ ;\\]+)", kept[0])
        shas = [line for line in kept[1:] if line.startswith("--hash=")]
        if named and shas:
            out[named.group(1).lower(), named.group(2)] = " \\\n    ".join(
                [f"{named.group(1)}=={named.group(2)}", *shas]
            )
    return out
