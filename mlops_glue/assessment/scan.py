"""Read a repository for evidence. No code is run or imported, no link is followed, no file is changed."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from mlops_glue import source
from mlops_glue.adapters import git
from mlops_glue.assessment import ci, glue_projects, python
from mlops_glue.assessment.capabilities import CI_FILES, FILES, HINTS, NAMED, SERVES
from mlops_glue.assessment.evidence import Evidence
from mlops_glue.assessment.tree import is_test, printable, scan

MAX_LINES, MAX_WIDTH = 5_000, 1_000  # of a text file
DEPENDENCIES = re.compile(
    r"(.*/)?([\w.-]*requirements[\w.-]*\.(txt|in)|requirements/[^/]+\.txt|(environment|conda)[\w.-]*\.ya?ml"
    r"|pyproject\.toml|setup\.(py|cfg)|Pipfile)"
)
SHELL = re.compile(r"(.*/)?([^/]*\.(sh|bash|ps1|mk)|Makefile|justfile|tox\.ini|action\.ya?ml|MLproject|dvc\.ya?ml)")
DOCKERFILE = re.compile(r"(.*/)?(Dockerfile[^/]*|[^/]*\.[Dd]ockerfile|Containerfile)")
PACKAGE = re.compile(r"""\s*(?:- )?["']?([A-Za-z][\w.-]*)""")
PINNED = re.compile(r"===?\s*\d[\w.+!-]*\s*([;#\\].*)?$|@ \S+|[\w\]]=\d[\w.]*$")
TASKS = re.compile(r"(.*/)?(tasks(/\w+)?|noxfile)\.py")  # tasks of invoke or nox
TASK_RUNS = re.compile(r"""\.run\(\s*f?["'](.*?)["']\s*[,)]""")


def collect(root: Path) -> Evidence:
    """Read the files in a folder and its subfolders."""
    evidence = Evidence(scan(root, apart=frozenset({"docs", "doc", "site"})))
    if git.is_work_tree(root):
        evidence.see("version_control", ".git/HEAD", 1, "git", "" if git.commit_hash(root, "HEAD") else "no commit yet")
    read = 0  # characters of Python
    for path in evidence.tree.files:
        plain = ci.inner(path)
        if plain.endswith((".py", ".ipynb")) and read > python.MAX_CHARACTERS:
            evidence.tree.left_out += 1
        elif plain.endswith((".py", ".ipynb")):
            read += _python(evidence, path, plain)
        _text(evidence, path, plain)
    _count(evidence)
    ci.scan(evidence, git.tracked_files(root))
    glue_projects.collect(evidence)
    return evidence


def _python(evidence: Evidence, path: str, plain: str) -> int:
    """Read a script or a notebook; return its number of characters."""
    text = evidence.tree.text(path)
    if text is None:
        return 0
    module = python.read(plain, text)
    if module is None:
        evidence.unread.append(path)
        return 0
    is_notebook = plain.endswith(".ipynb")
    lines = text.decode("utf-8", "replace").splitlines() if is_notebook else []

    def place(line: int) -> int:
        """Return the line in the file, also for a line of a notebook's cell."""
        return source.line_of(lines, module.lines[line - 1]) if is_notebook else line

    evidence.modules[path] = module
    shows = evidence.shows[path] = set()
    for capability, line, name in python.shown(module):
        if capability not in shows:  # only the first place of each capability
            shows.add(capability)
            evidence.see(capability, path, place(line), name, _doubt(capability, text))
    for name, line in module.imports.items():
        hint = HINTS.get(name.partition(".")[0].replace("_", "-"))
        if hint and hint not in shows:
            evidence.see(hint, path, place(line), name, "only imported")
    for number, typed in enumerate(module.lines if is_notebook else (), 1):
        if re.match(r"\s*[!%].*\bfeast materialize", typed):
            evidence.see("online_features", path, place(number), "feast materialize")
    for capability, pattern in NAMED:
        if pattern.fullmatch(PurePosixPath(plain).stem.lower()) and not is_test(path) and len(text) > 200:
            evidence.see(capability, path, 0, "its name", "by its name only")
    if TASKS.fullmatch(plain):
        runs = (TASK_RUNS.search(line) for line in module.lines)
        evidence.texts[path] = "\n".join(found[1] if found else "" for found in runs)
    return sum(map(len, module.lines))


def _doubt(capability: str, text: bytes) -> str:
    return "a schedule, perhaps not of training" if capability == "retraining" and b"train" not in text else ""


def _text(evidence: Evidence, path: str, plain: str) -> None:
    """Read a file that has settings, commands, an image or dependencies."""
    rules = [rule for rule in FILES if rule.path.fullmatch(plain)]
    shell, image, needs = SHELL.fullmatch(plain), DOCKERFILE.fullmatch(plain), DEPENDENCIES.fullmatch(plain)
    is_yaml = plain.endswith((".yml", ".yaml"))
    if not (rules or shell or image or needs or is_yaml or CI_FILES.fullmatch(plain)):
        return
    found = evidence.tree.text(path)
    if found is None:
        return
    lines = [line[:MAX_WIDTH] for line in found.decode("utf-8", "replace").splitlines()[:MAX_LINES]]
    if not plain.endswith(".md"):
        lines = ["" if line.lstrip().startswith(("#", "//", "REM ")) else line for line in lines]
    for rule in rules:
        number = next((n for n, line in enumerate(lines, 1) if rule.line.match(line)), 0)
        if number:
            evidence.see(rule.capability, path, number, rule.what, _doubt(rule.capability, found))
    if shell or image or is_yaml or CI_FILES.fullmatch(plain):
        evidence.texts[path] = "\n".join(lines)
    if image:
        _image(evidence, path, lines)
    if shell or image:
        for number, command in ci.commands(plain, "\n".join(lines)):
            if SERVES.match(command):
                evidence.see("endpoint", path, number, command.split()[0])
    if needs:
        _dependencies(evidence, path, lines)


def _image(evidence: Evidence, path: str, lines: list[str]) -> None:
    """Record an image; a CI image, an editor's image or an image that starts nothing is only a hint."""
    number = next((n for n, line in enumerate(lines, 1) if re.match(r"(?i)\s*(CMD|ENTRYPOINT)\s", line)), 0)
    is_for_work = re.search(r"(?i)(^|[/._-])(devcontainer|ci|\.github|\.circleci|gitpod)([/._-]|$)", path)
    hint = "a development image" if is_for_work else "" if number else "an image that starts nothing"
    evidence.see("container", path, number or 1, "an image", hint)


def _dependencies(evidence: Evidence, path: str, lines: list[str]) -> None:
    """Record the packages that a file requires, and how many of them are pinned."""
    needed = [(n, line, found[1]) for n, line in enumerate(lines, 1) if (found := PACKAGE.match(line))]
    for number, _, package in needed:
        if hint := HINTS.get(package.lower().replace("_", "-")):
            evidence.see(hint, path, number, f"needs {package}", "only required")
    if path.endswith((".txt", ".yml", ".yaml")) and needed:
        entries = [(n, line) for n, line, _ in needed if path.endswith(".txt") or line.lstrip().startswith("- ")]
        pinned = [n for n, line in entries if PINNED.search(line)]
        count = f"{len(pinned)} of {len(entries)} packages"
        if pinned:
            hint = "" if len(pinned) >= 0.8 * len(entries) else f"{count} are pinned"
            evidence.see("pins", path, pinned[0], count, hint)
        evidence.facts.setdefault("pins", f"{count} of {printable(path)} pinned")


def _count(evidence: Evidence) -> None:
    tests = {path: module.tests for path, module in evidence.modules.items() if is_test(path) and module.tests}
    if tests:
        evidence.facts["tests"] = f"{sum(tests.values())} tests in {len(tests)} files"
    if tests and "tests" not in evidence.found:
        for path, count in tests.items():
            evidence.see("tests", path, 0, f"{count} tests")
    trains = [path for path, shows in evidence.shows.items() if "training" in shows and not is_test(path)]
    notebooks = sum(path.endswith(".ipynb") for path in trains)
    if trains:
        evidence.facts["training"] = f"{len(trains) - notebooks} scripts and {notebooks} notebooks train"
