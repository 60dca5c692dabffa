"""What CI does: the commands of its files, and of the scripts, targets and actions of the repository that they call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from mlops_glue.assessment.capabilities import ACTIONS, CI_FILES, COMMANDS
from mlops_glue.assessment.evidence import Evidence

DEEP = 6  # of make in a script in a job in a workflow
MANY = 40  # files and targets that one CI file leads to
NEAR = 300  # lines of a step or job
KEYS = {  # of YAML, whose values are commands
    *("run", "script", "before_script", "after_script", "command", "commands", "cmd", "entrypoint", "inlineScript"),
    *("bash", "sh", "pwsh", "powershell", "install", "before_install", "build_command"),
}
USES = {"uses", "task", "template", "local", "include"}
KEY = re.compile(r"""(\s*)((?:- )?)["']?([\w.-]+)["']?:(?:\s+(.*?))?\s*$""")
START = re.compile(  # of a line: what Docker, Jenkins and others write before a command
    r"""[\s@+-]*(?:(?:sh|bat|bash|commands?)\s*[=(]?\s*(?=["'\[]))?(?:RUN|CMD|ENTRYPOINT)?\s*["'\[]*"""
)
PREFIX = re.compile(  # of a command: what only starts it
    r"(?:sudo|time|exec|env|(?:poetry|pipenv|pdm|hatch|rye|pixi) run|uvx"
    r"|uv run(?: --(?:with|extra|group|python|package)[= ]\S+| -[\w-]+)*"
    r"|conda run(?: -n \S+)?|xvfb-run|\w+=\S*|\$[({]\w+[)}]|python[\d.]*(?=\s+-m)|-m)\s+"
)
IN_CONTAINER = re.compile(r"docker(?:-compose| compose)? (?:run|exec)\b.*?\s((?:pytest|python3?|dvc|kedro|ruff)\b.*)")
AUTOMATIC = r"\b(push|pull_request|pull_request_target|schedule|merge_group|release|workflow_run|repository_dispatch)\b"
OFF = re.compile(  # what cannot fail, never runs, or is started by hand
    r"""\s+(?:(?:continue-on-error|continueOnError|allow_failure):\s*true"""
    r"""|(?:- )?if:\s*["'$ {]*(?:false|github.event_name == 'workflow_dispatch'))"""
)
Deed = tuple[str, str, int, str]  # a row of COMMANDS, the file and line, what to call it


def scan(evidence: Evidence, index: bytes | None) -> None:
    """Take down what CI does; `index` is git's, and a file that is not in it runs nowhere."""
    started = 0
    for path, text in evidence.texts.items():
        how = _starts(path, text) if re.fullmatch(CI_FILES, inner(path)) else None
        if how is None:
            continue
        hint = "" if how else "started by hand"
        known = index is None or (index[:4] == b"DIRC" and index[7] > 3)  # version 4 shortens the paths
        if not known and "/".join(path.split("/")[-2:]).encode() + b"\0" not in (index or b""):
            hint = "not committed"
        started += not hint
        evidence.see("ci", path, 0, "CI", hint)
        scheduled = re.search(r"(?m)^\s*-?\s*(cron|schedules?):", text)
        for what, where, line, name in _does(evidence, path, 0, set()):
            if what == "approval":
                evidence.see(what, where, line, name, "whether it asks is not in the file")
                continue
            evidence.see(f"ci_{what}", where, line, name, hint)
            if what == "lint":
                evidence.see(what, where, line, name, hint)
            if what == "trains" and scheduled:
                evidence.see("retraining", path, text.count("\n", 0, scheduled.start()) + 1, "a schedule", hint)
    if started:
        evidence.facts["ci"] = f"{started} CI files"


def inner(path: str) -> str:
    """Of a template, the path in what is made of it."""
    return re.sub(r"\.(tmpl|template|jinja2?|j2)$", "", path).rpartition("}}/")[2]


def _starts(path: str, text: str) -> bool | None:
    """Does something start it by itself? None: only another file does."""
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
    """The commands in a script, a makefile or the YAML of a job, with their lines; what only prints is none."""
    lines = text.splitlines()
    off, until, whole, first = _switched_off(lines), "", "", 0
    for number, line in _of_yaml(lines) if inner(path).endswith((".yml", ".yaml")) else enumerate(lines, 1):
        if until:
            until = "" if line.strip() == until else until
            continue
        if here := re.search(r"<<-?\s*['\"\\]?(\w+)", line):
            until = here[1]
        first = first or number
        if line.endswith("\\"):
            whole += line[:-1] + " "
            continue
        at, line, whole, first = first, whole + line, "", 0
        if at in off:
            continue
        if line.partition(":")[0] in (*USES, "environment"):
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


def _of_yaml(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The lines that are the value of a key that is run, and those that name an action or a template."""
    above: list[tuple[int, str]] = []  # the keys that the line is in, with their columns
    block: int | None = None  # column of the key whose text the lines are
    for number, line in enumerate(lines, 1):
        column, item = _indent(line), line.lstrip().startswith("- ")
        if not line.strip():
            continue
        if block is not None and column > block:
            if above[-1][1] in KEYS:
                yield number, line.strip()
            continue
        block = None
        while above and (above[-1][0] > column or (above[-1][0] == column and not item)):
            above.pop()
        found = KEY.fullmatch(line)
        if found is None:
            if item and above and above[-1][1] in KEYS:
                yield number, line.strip()[2:]
            continue
        key, value = found[3], found[4] or ""
        above.append((column + len(found[2]), key))
        if re.fullmatch(r"[|>][+-]?\d?", value):
            block = above[-1][0]
        elif key in KEYS and value:
            yield number, value
        elif (key in USES and value) or (key == "environment" and len(above) > 1):
            yield number, f"{key}: {value}"


def _switched_off(lines: list[str]) -> set[int]:
    """The lines of steps and jobs that count for nothing."""
    out: set[int] = set()
    for at, line in enumerate(lines):
        if OFF.match(line):
            if not line.lstrip().startswith("- "):
                above = range(at - 1, max(-1, at - NEAR), -1)
                at = next((n for n in above if lines[n].strip() and _indent(lines[n]) < _indent(line)), 0)
            below = range(at + 1, min(len(lines), at + NEAR))
            ends = (n for n in below if lines[n].strip() and _indent(lines[n]) <= _indent(lines[at]))
            out |= set(range(at + 1, next(ends, below.stop) + 1))
    return out


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _does(evidence: Evidence, path: str, deep: int, seen: set[str], text: str | None = None) -> Iterator[Deed]:
    """What the commands of a file do, and of the files that they name."""
    text = evidence.texts.get(path, "") if text is None else text
    for line, command in commands(path, text) if deep <= DEEP else ():
        for what, pattern in COMMANDS:
            if re.match(pattern, command) and "--dry-run" not in command:
                yield what, path, line, " ".join(command.split()[:2])
        if command.startswith(("uses:", "task:")):
            yield from _used(text, path, line, command)
        if len(seen) > MANY:
            continue
        if re.match(r"(\$\()?make\b", command):
            for file in evidence.texts:
                if file.endswith("akefile") and f"{file} {command}" not in seen:
                    seen.add(f"{file} {command}")
                    recipes = _recipes(evidence.texts[file].splitlines(), command.split()[1:])
                    yield from _does(evidence, file, deep + 1, seen, recipes)
        for file in _named(evidence, path, command):
            if file not in seen:
                seen.add(file)
                if file in evidence.texts:
                    yield from _does(evidence, file, deep + 1, seen)
                else:
                    yield from ((what, path, line, f"runs {file}") for what in _of_python(evidence, file))


def _used(text: str, path: str, line: int, command: str) -> Iterator[Deed]:
    """What a step does that uses somebody's action or task."""
    name = command.partition(":")[2].strip(" '\"").partition("@")[0]
    for what, pattern in ACTIONS:
        if re.match(pattern, name):
            yield what, path, line, name
    step = re.split(r"\n\s*- (?:name|uses|task|run):", "\n".join(text.splitlines()[line : line + 15]))[0]
    pushes = re.search(r"push:\s*['\"]?(true|\$\{\{)|command:\s*['\"]?(buildAndPush|push)", step)
    if pushes and re.match(r"docker/build-push-action|Docker$", name):
        yield "deploys", path, line, name


def _recipes(lines: list[str], words: list[str]) -> str:
    """What `make` with these words runs, each line in its place."""
    rules = [(n, found) for n, line in enumerate(lines) if (found := re.match(r"([\w./ -]+?)\s*:(?!=)([^=]*)$", line))]
    wanted = [word for word in words if not word.startswith("-") and "=" not in word]
    wanted = wanted or [found[1] for _, found in rules if not found[1].startswith(".")][:1]
    out, done = [""] * len(lines), set[int]()
    while wanted:
        target = wanted.pop()
        for at, found in rules:
            if target in found[1].split() and at not in done:
                done.add(at)
                wanted += found[2].split()
                for n in range(at + 1, len(lines)):
                    if lines[n] and not lines[n].startswith(("\t", " ")):
                        break
                    out[n] = lines[n]
    return "\n".join(out)


def _named(evidence: Evidence, path: str, command: str) -> Iterator[str]:
    """The files of the repository that a command names."""
    words = [word.strip("\"'`,;()[]") for word in command.split()]
    words += ["dvc.yaml"] if words[:2] == ["dvc", "repro"] or words[:3] == ["dvc", "exp", "run"] else []
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
    """What a script does in CI, itself or by the modules of the project that it imports."""
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
