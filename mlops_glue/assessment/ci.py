"""What CI does: the commands in its files, and in the repository's scripts, make targets and actions that they call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from mlops_glue.assessment.capabilities import ACTIONS, CI_FILES, COMMANDS
from mlops_glue.assessment.evidence import Evidence

MAX_DEPTH = 6  # of nested calls: make in a script in a job in a workflow
MAX_FILES = 40  # files and targets that one CI file leads to
RUN_KEYS = {  # keys of YAML whose values are commands
    *("run", "script", "before_script", "after_script", "command", "commands", "cmd", "entrypoint", "inlineScript"),
    *("bash", "sh", "pwsh", "powershell", "install", "before_install", "build_command"),
}
USE_KEYS = {"uses", "task", "template", "local", "include"}
START = re.compile(  # the prefix that Docker, Jenkins and others put before a command
    r"""[\s@+-]*(?:(?:sh|bat|bash|commands?)\s*[=(]?\s*(?=["'\[]))?(?:RUN|CMD|ENTRYPOINT)?\s*["'\[]*"""
)
PREFIX = re.compile(  # a command that only starts another
    r"(?:sudo|time|exec|env|(?:poetry|pipenv|pdm|hatch|rye|pixi) run|uvx"
    r"|uv run(?: --(?:with|extra|group|python|package)[= ]\S+| -[\w-]+)*"
    r"|conda run(?: -n \S+)?|xvfb-run|\w+=\S*|\$[({]\w+[)}]|python[\d.]*(?=\s+-m)|-m)\s+"
)
IN_CONTAINER = re.compile(r"docker(?:-compose| compose)? (?:run|exec)\b.*?\s((?:pytest|python3?|dvc|kedro|ruff)\b.*)")
AUTOMATIC = r"\b(push|pull_request|pull_request_target|schedule|merge_group|release|workflow_run|repository_dispatch)\b"
OFF = re.compile(  # a step or job that cannot fail, never runs, or is started by hand
    r"(continue-on-error|continueOnError|allow_failure): true"
    r"|if: [$ {]*(false|github.event_name == 'workflow_dispatch')"
)
Action = tuple[str, str, int, str]  # name in COMMANDS, file, line, description


def scan(evidence: Evidence, tracked: set[str] | None) -> None:
    """Record what CI does.

    Args:
        evidence: the sightings, to which these are added.
        tracked: the files that git tracks, as no other file runs in CI; None: the repository is not in git.
    """
    started = 0
    for path, text in evidence.texts.items():
        is_automatic = _starts(path, text) if CI_FILES.fullmatch(inner(path)) else None
        if is_automatic is None:
            continue
        hint = "" if is_automatic else "started by hand"
        if tracked is not None and path not in tracked:
            hint = "not committed"
        started += not hint
        evidence.see("ci", path, 0, "CI", hint)
        scheduled = re.search(r"(?m)^\s*-?\s*(cron|schedules?):", text)
        for what, where, line, name in _does(evidence, path, 0, set()):
            if what == "approval":
                evidence.see(what, where, line, name, "the file does not show whether it requires approval")
                continue
            evidence.see(f"ci_{what}", where, line, name, hint)
            if what == "lint":
                evidence.see(what, where, line, name, hint)
            if what == "trains" and scheduled:
                evidence.see("retraining", path, text.count("\n", 0, scheduled.start()) + 1, "a schedule", hint)
    if started:
        evidence.facts["ci"] = f"{started} CI files"


def inner(path: str) -> str:
    """Return the path that a template's file has in the projects made from it."""
    return re.sub(r"\.(tmpl|template|jinja2?|j2)$", "", path).rpartition("}}/")[2]


def _starts(path: str, text: str) -> bool | None:
    """Return whether an event starts the file; None if only another file does."""
    if "workflows/" in path:
        events = re.search(r"(?ms)^['\"]?on['\"]?:(.*?)(?=^\S|\Z)", text)
        if events is None or re.search(AUTOMATIC, events[1]):
            return events is not None
        return False if "workflow_dispatch" in events[1] else None
    if re.search(r"(?i)azure|pipelines/", path):
        found = re.findall(r"(?m)^(?:(?:trigger|pr|schedules)|\s+trigger):[ \t]*(\S*)", text)
        if found:
            return any(value != "none" for value in found)
        return True if path.endswith("azure-pipelines.yml") else None
    return True


def commands(path: str, text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each command in a script, a makefile or a job's YAML, except those that only print."""
    until, whole, first = "", "", 0
    is_yaml = inner(path).endswith((".yml", ".yaml"))
    for number, line in _of_yaml(text) if is_yaml else enumerate(text.splitlines(), 1):
        if until:  # the text of a here-document
            until = "" if line.strip() == until else until
            continue
        if here := re.search(r"<<-?\s*['\"\\]?(\w+)", line):
            until = here[1]
        first = first or number
        if line.endswith("\\"):
            whole += line[:-1] + " "
            continue
        at, line, whole, first = first, whole + line, "", 0
        if line.partition(":")[0] in (*USE_KEYS, "environment"):
            yield at, line
            continue
        for part in re.split(r"&&|;|\$\(|(?<!\|)\|(?!\|)", START.sub("", line, count=1)):
            part, _, otherwise = part.partition("||")
            if otherwise.strip().startswith(("true", ":", "exit 0")):
                continue
            part = re.sub(r"""["'], *["']""", " ", part).strip(" \t\"'[]()`,{}")
            while found := PREFIX.match(part):
                part = part[found.end() :]
            if found := IN_CONTAINER.match(part):
                part = found[1]
            if part and not re.match(r"(?:echo|printf|Write-Host|rem)\b", part):
                yield at, part


def _of_yaml(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that YAML runs, and those that name an action, a template or an environment."""
    plain = re.sub(r"(?m)^[ \t]*\{[{%].*[}%]\}[ \t]*$", "", text)  # without its tags, a workflow template is YAML
    plain = re.sub(r"\$?\{\{.*?\}\}", "x", plain)
    try:
        documents = list(YAML(typ="safe").compose_all(plain + "\n"))
        yield from (found for node in documents for found in _run(node, "", text.splitlines(), set()))
    except (YAMLError, ValueError, RecursionError):
        return


def _run(node: Node, key: str, lines: list[str], seen: set[int]) -> Iterator[tuple[int, str]]:
    """Yield what a node below a key runs; an alias counts at its anchor's line."""
    if id(node) in seen:
        return
    seen.add(id(node))
    line = node.start_mark.line + 1
    if isinstance(node, MappingNode):
        entries = [(str(name.value), value) for name, value in node.value]
        if any(OFF.match(f"{name}: {value.value}") for name, value in entries):
            return
        for name, value in entries:
            if name == "environment" and key:
                yield value.start_mark.line + 1, "environment:"
            yield from _run(value, name, lines, seen)
    elif isinstance(node, SequenceNode):
        for item in node.value:
            yield from _run(item, key if key in RUN_KEYS else "-", lines, seen)
    elif key in USE_KEYS and node.value:
        yield line, f"{key}: {node.value}"
    elif key in RUN_KEYS and getattr(node, "style", "") in ("|", ">"):
        yield from ((n + 1, lines[n].strip()) for n in range(line, min(node.end_mark.line, len(lines))))
    elif key in RUN_KEYS:
        yield line, node.value


def _does(evidence: Evidence, path: str, depth: int, seen: set[str], text: str | None = None) -> Iterator[Action]:
    """Yield what the commands of a file do, and the commands of the files that they name."""
    text = evidence.texts.get(path, "") if text is None else text
    for line, command in commands(path, text) if depth <= MAX_DEPTH else ():
        for what, pattern in COMMANDS:
            if pattern.match(command) and "--dry-run" not in command:
                yield what, path, line, " ".join(command.split()[:2])
        if command.startswith(("uses:", "task:")):
            yield from _used(text, path, line, command)
        if len(seen) > MAX_FILES:
            continue
        if re.match(r"(\$\()?make\b", command):
            for file in evidence.texts:
                if file.endswith("akefile") and f"{file} {command}" not in seen:
                    seen.add(f"{file} {command}")
                    recipes = _recipes(evidence.texts[file].splitlines(), command.split()[1:])
                    yield from _does(evidence, file, depth + 1, seen, recipes)
        for file in _named(evidence, path, command):
            if file not in seen:
                seen.add(file)
                if file in evidence.texts:
                    yield from _does(evidence, file, depth + 1, seen)
                else:
                    yield from ((what, path, line, f"runs {file}") for what in _of_python(evidence, file))


def _used(text: str, path: str, line: int, command: str) -> Iterator[Action]:
    """Yield what a step does through a published action or task."""
    name = command.partition(":")[2].strip(" '\"").partition("@")[0]
    yield from ((what, path, line, name) for what, pattern in ACTIONS if pattern.match(name))
    step = re.split(r"\n\s*- (?:name|uses|task|run):", "\n".join(text.splitlines()[line : line + 15]))[0]
    pushes = re.search(r"push:\s*['\"]?(true|\$\{\{)|command:\s*['\"]?(buildAndPush|push)", step)
    if pushes and re.match(r"docker/build-push-action|Docker$", name):
        yield "deploys", path, line, name


def _recipes(lines: list[str], words: list[str]) -> str:
    """Return the recipes that `make WORDS` runs, each on its own line of the file."""
    rules = [(n, found) for n, line in enumerate(lines) if (found := re.match(r"([\w./ -]+?)\s*:(?!=)([^=]*)$", line))]
    targets = [word for word in words if not word.startswith("-") and "=" not in word]
    targets = targets or [found[1] for _, found in rules if not found[1].startswith(".")][:1]
    out, done = [""] * len(lines), set[int]()
    while targets:
        target = targets.pop()
        for at, found in rules:
            if target in found[1].split() and at not in done:
                done.add(at)
                targets += found[2].split()
                for n in range(at + 1, len(lines)):
                    if lines[n] and not lines[n].startswith(("\t", " ")):
                        break
                    out[n] = lines[n]
    return "\n".join(out)


def _named(evidence: Evidence, path: str, command: str) -> Iterator[str]:
    """Yield the files of the repository that a command names."""
    words = [word.strip("\"'`,;()[]") for word in command.split()]
    if words[:2] == ["dvc", "repro"] or words[:3] == ["dvc", "exp", "run"]:
        words.append("dvc.yaml")
    words += {"tox": ["tox.ini"], "nox": ["noxfile.py"]}.get(words[0], [])
    if words[0] in ("invoke", "inv"):
        yield from (file for file in evidence.texts if re.fullmatch(r"tasks(/\w+)?\.py", file))
    if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", words[0]):  # of `python -m`
        words[0] = words[0].replace(".", "/") + ".py"
    known = evidence.texts.keys() | evidence.shows.keys()
    for word in words:
        word = re.sub(r"^(\$[({]?[\w. ]+[)}]?|\$\{\{[^}]*\}\}|@|\.)/", "", word.rpartition("=")[2]).rstrip("/")
        if not re.search(r"[./]", word) or word.startswith(("/", "-", "http", "..")):
            continue
        places = [word, str(PurePosixPath(path).parent / word), f"{word}/action.yml", f"{word}/action.yaml"]
        exact = [file for file in places if file in known]
        ends = [file for file in known if file.endswith(f"/{word}")] if not exact and "." in word.lstrip(".") else []
        yield from exact[:1] or (ends if len(ends) == 1 else [])
        if not exact and "/" in word and words[0] in ("pytest", "py.test"):  # a folder of tests
            yield from (file for file in sorted(evidence.shows) if file.startswith(f"{word}/"))


def _of_python(evidence: Evidence, file: str) -> set[str]:
    """Return what a script does in CI, itself or through the repository's modules that it imports."""
    shows, seen, waiting = set[str](), {file}, [file]
    while waiting:
        here = waiting.pop()
        shows |= evidence.shows[here]
        folder = PurePosixPath(here).parent
        for name in evidence.modules[here].imports:
            bare = name.lstrip(".").replace(".", "/")
            top = PurePosixPath()
            for start in (folder, *folder.parents) if name.startswith(".") else (top, top / "src", folder):
                places = (str(start / (bare + ending)) for ending in (".py", "/__init__.py"))
                found = [place for place in places if place in evidence.shows and place not in seen]
                seen |= {*found}
                waiting += found
    stem = PurePosixPath(file).stem
    trains = shows & {"training", "pipeline"} and not re.search(r"test|scor|infer|predict|serv|deploy", stem)
    out = {"trains"} if trains else set()
    out |= {"validation"} if "data_validation" in shows else set()
    return out | ({"deploys"} if "deploy" in stem and "endpoint" in evidence.shows[file] else set())
