"""Commands in shell text: recipes, workflow steps, Dockerfiles. What is commented out, echoed or swallowed is none."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

RUNNERS = {"uv", "poetry", "pipenv", "hatch", "pdm", "rye", "pixi"}
BEFORE = {"sudo", "time", "exec", "nohup", "nice", "command", "if", "then", "do", "else", "!", "(", "{", "xvfb-run"}
QUIET = {"true", ":", "echo", "exit 0", "printf"}


@dataclass(frozen=True)
class Command:
    """One command: its words, in front of which nothing stands any more, and whether its failure counts for nothing."""

    words: tuple[str, ...]
    line: int  # within the text, from 1
    swallowed: bool = False

    @property
    def said(self) -> str:
        """The words in one line."""
        return " ".join(self.words)


def commands(text: str) -> Iterator[Command]:
    """Every command of a shell text, in order."""
    for line, whole in _lines(text):
        parts, ends = _parts(whole)
        for at, words in enumerate(parts):
            bare = _bare(words)
            after = _bare(parts[at + 1]) if at + 1 < len(parts) else []
            quiet = ends[at] == "||" and (after[:1] and (after[0] in QUIET or " ".join(after[:2]) in QUIET))
            if bare:
                yield Command(tuple(bare), line, bool(quiet))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their continuations joined; the bodies of here-documents are left out."""
    held, start, until = "", 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if until:
            until = "" if line.strip() == until else until
            continue
        start = start or number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        whole = held + line
        here = re.search(r"<<-?\s*['\"]?(\w+)", whole)
        until = here.group(1) if here else ""
        yield start, whole
        held, start = "", 0
    if held:
        yield start, held


def _parts(line: str) -> tuple[list[list[str]], list[str]]:
    """The commands of a line as words, and what stands behind each."""
    line = re.sub(r"\$\{\{.*?\}\}", "…", line)  # an expression of GitHub's
    line = re.sub(r"\$[({](\w+)[)}]", r"\1", line)  # a variable of make's or the shell's
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    parts: list[list[str]] = [[]]
    ends: list[str] = []
    try:
        for token in lexer:
            if token and set(token) <= set("|&;()"):
                ends.append(token)
                parts.append([])
            else:
                parts[-1].append(token)
    except ValueError:  # a quote that goes on in the next line
        parts[-1] += line.partition("#")[0].split() if parts == [[]] else []
    return parts, [*ends, ""]


def _bare(words: list[str]) -> list[str]:
    """The words from the program on: `CI=1 poetry run python -m pytest -q` is `pytest -q`."""
    words = list(words)
    while words:
        first = (words[0].rpartition("/")[2] if "bin/" in words[0].lower() else words[0]).lstrip("@-+")
        if re.fullmatch(r"[A-Za-z_]\w*\+?=.*", words[0]) or first in BEFORE:
            words.pop(0)
        elif first in RUNNERS and words[1:2] == ["run"]:
            words = words[2:]
            while words and words[0].startswith("-"):
                words.pop(0)
        elif re.fullmatch(r"python[\d.]*|py", first, re.IGNORECASE):
            rest = words[1:]
            while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c", "-"):
                rest = rest[1:]
            if rest[:1] == ["-m"]:
                return ["-m", *rest[1:]] if len(rest) > 1 and not _is_tool(rest[1]) else rest[1:]
            return ["python", *rest]
        else:
            return [first, *words[1:]]
    return []


def _is_tool(module: str) -> bool:
    return module.split(".")[0] in {"pytest", "unittest", "tox", "nox", "dvc", "mlflow", "uvicorn", "build", "pip"}


def recipes(text: str) -> dict[str, tuple[list[str], list[tuple[str, int]]]]:
    """The targets of a Makefile: what each needs first, and its recipe lines with their numbers."""
    out: dict[str, tuple[list[str], list[tuple[str, int]]]] = {}
    now: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("\t"):
            for target in now:
                out[target][1].append((line.strip(), number))
            continue
        found = re.match(r"^([\w./ -]+?)\s*::?(?!=)\s*([^#;]*)(?:;(.*))?", line)
        if found and not line.startswith((" ", "#", ".")):
            now = found.group(1).split()
            for target in now:
                entry = out.setdefault(target, ([], []))
                entry[0].extend(found.group(2).split())
                if found.group(3):
                    entry[1].append((found.group(3), number))
        elif line.strip() and not line.startswith("#"):
            now = []
    return out
