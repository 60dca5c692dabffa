"""Reads a repository for evidence. Nothing in it is run, imported, followed or changed."""

from __future__ import annotations

import configparser
import re
from pathlib import Path, PurePosixPath

from mlops_glue import source
from mlops_glue.assessment import ci, deeds, uses
from mlops_glue.assessment.capabilities import CI_FILES, FILES, HINTS, NAMED, SERVES
from mlops_glue.assessment.evidence import Evidence
from mlops_glue.assessment.tree import is_test, printable, scan

LONG, WIDE = 5_000, 1_000  # lines of a file and characters of a line that are looked at; Python aside
DEPENDENCIES = re.compile(
    r"(.*/)?([\w.-]*requirements[\w.-]*\.(txt|in)|requirements/[^/]+\.txt|(environment|conda)[\w.-]*\.ya?ml"
    r"|pyproject\.toml|setup\.(py|cfg)|Pipfile)"
)
SHELL = re.compile(r"(.*/)?([^/]*\.(sh|bash|ps1|mk)|Makefile|justfile|tox\.ini|action\.ya?ml|MLproject|dvc\.ya?ml)")
DOCKERFILE = re.compile(r"(.*/)?(Dockerfile[^/]*|[^/]*\.[Dd]ockerfile|Containerfile)")
ANY_FILE = re.compile(
    "|".join(f"(?:{path})" for path in sorted({path for _, path, _, _ in FILES} | {CI_FILES})), re.IGNORECASE
)
BY_PATH = [(name, re.compile(path, re.I), re.compile(line, re.I), what) for name, path, line, what in FILES]
HINTED = [(name, re.compile(pattern)) for name, pattern in NAMED]


def collect(root: Path) -> Evidence:
    """Read the files below a folder."""
    evidence = Evidence(scan(root, apart=frozenset({"docs", "doc", "site"})))
    index = _git(evidence, root)
    for path in evidence.tree.files:
        plain = ci.inner(path)
        if plain.endswith((".py", ".ipynb")):
            _python(evidence, path, plain)
        _text(evidence, path, plain)
    _counts(evidence)
    ci.scan(evidence, index)
    deeds.of_glue(evidence)
    return evidence


def _python(evidence: Evidence, path: str, plain: str) -> None:
    if evidence.parsed > uses.PARSE_BYTES:
        evidence.tree.left_out += 1
        return
    text = evidence.tree.text(path)
    module = uses.read(plain, text) if text is not None else None
    if text is None:
        return
    if module is None:
        evidence.notes.append(f"{printable(path)} is no Python that can be read here: left out")
        return
    evidence.parsed += sum(map(len, module.lines))
    if re.fullmatch(r"(.*/)?(tasks(/\w+)?|noxfile)\.py", plain):  # of invoke or nox: the commands, each in its place
        ran = (re.search(r"""\.run\(\s*f?["'](.*?)["']\s*[,)]""", line) for line in module.lines)
        evidence.texts[path] = "\n".join(found[1] if found else "" for found in ran)
    evidence.modules[path] = module
    shows = evidence.shows[path] = set()
    lines = text.decode("utf-8", "replace").splitlines() if plain.endswith(".ipynb") else []
    for capability, line, name in uses.shown(module):
        if capability not in shows:  # the first place of each
            shows.add(capability)
            evidence.see(capability, path, _place(lines, module, line), name, _unsure(capability, text))
    if plain.endswith(".ipynb"):
        for number, typed in enumerate(module.lines, 1):
            if re.match(r"\s*[!%].*\bfeast materialize", typed):
                evidence.see("online_features", path, _place(lines, module, number), "feast materialize")
    for name, line in module.imports.items():
        hint = HINTS.get(name.partition(".")[0].replace("_", "-"))
        if hint and hint not in shows:
            evidence.see(hint, path, _place(lines, module, line), name, "only imported")
    stem = PurePosixPath(plain).stem.lower()
    for capability, pattern in HINTED:
        if pattern.fullmatch(stem) and not is_test(path) and len(text) > 200:
            evidence.see(capability, path, 0, "its name", "by its name")


def _unsure(capability: str, text: bytes) -> str:
    return "a schedule, not plainly of a training" if capability == "retraining" and b"train" not in text else ""


def _place(lines: list[str], module: uses.Module, line: int) -> int:
    """The line of the file; of a notebook, where the line of the cell stands in it."""
    return source.line_of(lines, module.lines[line - 1]) if lines else line


def without_comments(text: str) -> list[str]:
    """The lines, as far as people write them, with those that are a comment left empty."""
    lines = (line[:WIDE] for line in text.splitlines()[:LONG])
    return ["" if line.lstrip().startswith(("#", "//", "REM ")) else line for line in lines]


def _text(evidence: Evidence, path: str, plain: str) -> None:
    shell, image, needs = SHELL.fullmatch(plain), DOCKERFILE.fullmatch(plain), DEPENDENCIES.fullmatch(plain)
    if not (shell or image or needs or ANY_FILE.fullmatch(plain)):
        return
    found = evidence.tree.text(path)
    if found is None:
        return
    text = found.decode("utf-8", "replace")
    lines = text.splitlines() if plain.endswith(".md") else without_comments(text)
    for capability, pattern, wanted, what in BY_PATH:
        if pattern.fullmatch(plain):
            number = next((n for n, line in enumerate(lines, 1) if wanted.match(line)), 0)
            if number:
                evidence.see(capability, path, number, what, _unsure(capability, found))
    if shell or image or re.fullmatch(CI_FILES, plain) or plain.endswith((".yml", ".yaml")):
        evidence.texts[path] = "\n".join(lines)
    if image:
        _image(evidence, path, lines)
    if shell or image:
        for number, command in ci.commands(plain, "\n".join(lines)):
            if re.match(SERVES, command):
                evidence.see("endpoint", path, number, command.split()[0])
    if needs:
        _dependencies(evidence, path, lines)


def _image(evidence: Evidence, path: str, lines: list[str]) -> None:
    """An image that starts something; one of CI or of an editor is only what people work in."""
    number = next((n for n, line in enumerate(lines, 1) if re.match(r"(?i)\s*(CMD|ENTRYPOINT)\s", line)), 0)
    work = re.search(r"(?i)(^|[/._-])(devcontainer|ci|\.github|\.circleci|gitpod)([/._-]|$)", path)
    why = "an image to work in" if work else "" if number else "an image that starts nothing"
    evidence.see("container", path, number or 1, "an image", why)


def _dependencies(evidence: Evidence, path: str, lines: list[str]) -> None:
    needed = [(n, line) for n, line in enumerate(lines, 1) if re.match(r"""\s*(- )?["']?[A-Za-z][\w.-]*""", line)]
    for number, line in needed:
        found = re.match(r"""\s*(?:- )?["']?([A-Za-z][\w.-]*)""", line)
        hint = HINTS.get(found[1].lower().replace("_", "-")) if found else None
        if hint:
            evidence.see(hint, path, number, f"needs {found[1] if found else ''}", "only required")
    if path.endswith((".txt", ".yml", ".yaml")) and needed:
        of_conda = not path.endswith(".txt")
        entries = [(n, line) for n, line in needed if not of_conda or line.lstrip().startswith("- ")]
        fixed = [
            n for n, line in entries if re.search(r"===?\s*\d[\w.+!-]*\s*([;#\\].*)?$|@ \S+|[\w\]]=\d[\w.]*$", line)
        ]
        said = f"{len(fixed)} of {len(entries)} packages"
        if fixed and len(fixed) >= 0.8 * len(entries):
            evidence.see("pins", path, fixed[0], said)
        elif fixed:
            evidence.see("pins", path, fixed[0], said, f"{said} are pinned")
        evidence.facts.setdefault("pins", f"{said} of {printable(path)} pinned")


def _counts(evidence: Evidence) -> None:
    tests = {path: module.tests for path, module in evidence.modules.items() if is_test(path) and module.tests}
    if tests:
        evidence.facts["tests"] = f"{sum(tests.values())} tests in {len(tests)} files"
    for path, count in tests.items():
        if "tests" not in evidence.found:
            evidence.see("tests", path, 0, f"{count} tests")
    trains = [path for path, shows in evidence.shows.items() if "training" in shows and not is_test(path)]
    notebooks = sum(path.endswith(".ipynb") for path in trains)
    if trains:
        evidence.facts["training"] = f"{len(trains) - notebooks} scripts and {notebooks} notebooks train"


def _git(evidence: Evidence, root: Path) -> bytes | None:
    """Is there a commit? Returns git's index, which names the files that are in it; None outside git."""
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    if top is None:
        return None
    folder = top / ".git"
    try:
        if folder.is_file():  # a worktree or submodule names its folder
            folder = (top / folder.read_text(encoding="utf-8").removeprefix("gitdir:").strip()).resolve()
        shared = folder / "commondir"
        shared = folder / shared.read_text(encoding="utf-8").strip() if shared.is_file() else folder
        head = (folder / "HEAD").read_text(encoding="utf-8").strip()
        named = head.removeprefix("ref:").strip()
        packed = shared / "packed-refs"
        if not head.startswith("ref:") or (shared / named).is_file() or (
            packed.is_file() and f" {named}\n" in packed.read_text(encoding="utf-8", errors="replace")
        ):  # fmt: skip
            evidence.see("version_control", ".git/HEAD", 1, "a commit")
        else:
            evidence.see("version_control", ".git/HEAD", 1, "git", "no commit yet")
        settings = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
        settings.read(shared / "config", encoding="utf-8")
        if any(section.startswith("remote ") for section in settings.sections()):
            evidence.facts["version_control"] = "a remote is set"
        return (folder / "index").read_bytes() if (folder / "index").is_file() else b""
    except (OSError, UnicodeDecodeError, configparser.Error):
        evidence.tree.unreadable.append(".git")
        return b""
