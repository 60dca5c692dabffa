"""Reads a repository for signals: Python by its syntax trees, other files by `files`, and what runs what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from mlops_glue.assessment import files, python, shell, signals
from mlops_glue.assessment.evidence import Evidence, Run
from mlops_glue.assessment.tree import FILE_BYTES, printable, scan

DEEP = 8  # of make in make in a script in a workflow
METRIC = re.compile(
    r"(?i)(^|[\W_])(accuracy|auc|roc_auc|f1|rmse|mse|mae|r2|precision|recall|log_?loss|score|brier|pr_auc)($|[\W_\d])"
)
FEATURES = re.compile(r"(?i)(feature|transform|preprocess|encod|clean)")
WORTH = re.compile(  # a file without any of these has no signal
    "|".join(
        sorted({re.escape(lib) for libs in signals.CALLS.values() for group in libs for lib in group.split()})
    ).encode()
    + rb"|def test|random_state|seed|models:/|subprocess|os\.system|\bimport\b"
)


def collect(root: Path) -> Evidence:
    """Read a repository. Nothing in it is run, imported, followed or changed."""
    evidence = Evidence(scan(root))
    files.git(evidence, root)
    for path in evidence.tree.files:
        _look(evidence, path)
    _tests(evidence)
    _together(evidence)
    for run in evidence.runs:
        _carry_out(evidence, run)
    return evidence


def _look(evidence: Evidence, path: str) -> None:
    name = PurePosixPath(path).name
    for signal, names in signals.NAMES.items():
        if name in names or path in names:
            evidence.see(signal, path, 0, name)
    read = files.reader(path, name)
    if read is not None:
        text = evidence.tree.text(path)
        if text is not None:
            read(evidence, path, text.decode("utf-8", "replace"))
    elif name.endswith((".py", ".ipynb")):
        _python(evidence, path)


def _python(evidence: Evidence, path: str) -> None:
    if evidence.parsed_bytes > python.PARSE_BYTES:
        evidence.tree.left_out += 1
        return
    source = evidence.tree.text(path)
    if source is None or not WORTH.search(source):
        return
    evidence.parsed_bytes += min(len(source), FILE_BYTES)  # the outputs of a notebook are not parsed
    module = (python.notebook if path.endswith(".ipynb") else python.parse)(path, source)
    if module is None:
        evidence.note(f"{printable(path)} is no Python that can be read here: left out")
        return
    evidence.modules[path] = module
    own = evidence.of_module[path] = set()
    if is_test(path):
        return
    for signal, line, what in _signals(module):
        own.add(signal)
        inside = signal == "training" and path.endswith(".ipynb")
        evidence.see("notebook_training" if inside else signal, path, line, what)
    evidence.runs += [
        Run(command, path, line, frozenset({"script"}))
        for text, line in module.commands
        for command in shell.commands(text)
    ]


def is_test(path: str) -> bool:
    """Is it a test's file? What tests call is not what the project does."""
    pure = PurePosixPath(path)
    named = pure.name.startswith("test_") or pure.stem.endswith("_test") or pure.name == "conftest.py"
    return named or bool({"tests", "test"} & set(pure.parts[:-1]))


def _signals(module: python.Module) -> Iterator[tuple[str, int, str]]:
    """What the calls of a module show."""
    roots = {name.split(".")[0] for name in module.imports if not name.startswith(".")}
    for call in module.calls:
        first, last = call.name.partition(".")[0], call.name.rpartition(".")[2]
        for signal, keyword, libraries in BY_NAME.get(last, ()):
            resolved = first in roots
            of = first in libraries if resolved else bool(roots & libraries) and last not in signals.GENERIC
            if of and not call.name.startswith(".") and (not keyword or keyword in call.keywords):
                yield signal, call.line, call.name
    yield from (("seeded", line, "random seed") for line in module.seeds)
    yield from (("loaded_from_registry", line, "models:/…") for line in module.models)
    for line, words in module.asserts:
        if METRIC.search(words) and roots & BY_LIBRARY:
            yield "gate", line, "stops on a metric"
    if roots & SERVERS:
        yield from (("health", line, "a health endpoint") for line in module.health)


def _by_name() -> dict[str, list[tuple[str, str, frozenset[str]]]]:
    out: dict[str, list[tuple[str, str, frozenset[str]]]] = {}
    for signal, libraries in signals.CALLS.items():
        for group, names in libraries.items():
            for name in names.split():
                bare, _, keyword = name.rstrip(")").partition("(")
                out.setdefault(bare, []).append((signal, keyword, frozenset(group.split())))
    return out


BY_NAME = _by_name()
BY_LIBRARY = {lib for s in ("training", "measured", "tracked") for group in signals.CALLS[s] for lib in group.split()}
SERVERS_OF = {"uvicorn", "gunicorn", "hypercorn", "granian", "fastapi", "streamlit", "flask", "papermill"}
SERVERS = {lib for group in signals.CALLS["endpoint"] for lib in group.split()}


def _together(evidence: Evidence) -> None:
    """What a script does through the modules that it imports: train on checked data, run by a schedule of its own."""
    for path, own in evidence.of_module.items():
        if not own & {"training", "scheduled"}:
            continue
        behind = own.union(*(evidence.of_module[one] for one in closure(evidence, path)))
        if "training" in own and "expectations" in behind:
            evidence.see("training:expectations", path, 0, "trains on what it checked")
        for signal in sorted(behind) if "scheduled" in own else ():
            evidence.see(f"schedule:{signal}", path, 0, "by its own schedule")


def _tests(evidence: Evidence) -> None:
    """Which tests there are, and what of the project they import."""
    for path, module in evidence.modules.items():
        if not is_test(path) or not module.tests:
            continue
        name, line = module.tests[0]
        evidence.see("unit_tests", path, line, f"{len(module.tests)} tests, {name}")
        behind = closure(evidence, path)
        for signal in ("training", "endpoint", "expectations"):
            if any(signal in evidence.of_module[one] for one in behind):
                evidence.see(f"tests_of_{signal}", path, line, name)
        prepares = any("one_preprocessing" in evidence.of_module[one] for one in behind)
        if prepares or any(FEATURES.search(PurePosixPath(one).stem) for one in behind):
            evidence.see("tests_of_features", path, line, name)
        for at, words in module.asserts:
            if METRIC.search(words):
                evidence.see("gate_in_tests", path, at, "asserts a metric")
        for text, at in module.commands:
            if any(matches(tuple(text.split()), said) for said in signals.COMMANDS["pipeline"]):
                evidence.see("tests_of_pipeline", path, at, text)


def closure(evidence: Evidence, path: str) -> set[str]:
    """The files of the project that a module imports, transitively."""
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        here = waiting.pop()
        for name in evidence.modules[here].imports if here in evidence.modules else ():
            for file in of_import(evidence, name, here):
                if file not in seen and file != path:
                    seen.add(file)
                    waiting.append(file)
    return {one for one in seen if one in evidence.modules}


def of_import(evidence: Evidence, name: str, at: str = "") -> list[str]:
    """The file behind a dotted name: from the top, from `src`, or beside the file that imports it."""
    dots = len(name) - len(name.lstrip("."))
    folder = PurePosixPath(at).parent
    starts = [PurePosixPath(), PurePosixPath("src"), folder]
    if dots:
        starts = [folder, *folder.parents][dots - 1 : dots]
    parts = [part for part in name.lstrip(".").split(".") if part]
    for start in starts:
        for depth in range(len(parts), 0, -1):
            base = start.joinpath(*parts[:depth])
            for file in (f"{base}.py", f"{base}/__init__.py"):
                if file in evidence.modules:
                    return [file]
    return []


def _carry_out(evidence: Evidence, run: Run) -> None:
    """What a command does, taken down under each of the places that run it."""
    if run.command.swallowed:
        effects = {s for s, _ in effects_of(evidence, run.command, run.path)}
        if effects & {"tests", "training", "expectations", "gate"} and "change" in run.where:
            evidence.note(f"{printable(run.path)}:{run.line} cannot fail: what it finds counts for nothing")
        return
    for signal, what in effects_of(evidence, run.command, run.path):
        for where in sorted(run.where):
            evidence.see(f"{where}:{signal}", run.path, run.line, what)
        if run.where & {"change", "schedule", "ci", "make", "stage", "project"} and signal in ("training", "pipeline"):
            evidence.see("one_command", run.path, run.line, what)
        if signal in ("deploy", "endpoint", "promoted", "rollback", "features_served", "data_pull", "monitoring"):
            evidence.see(signal, run.path, run.line, what)


def effects_of(evidence: Evidence, command: shell.Command, path: str, depth: int = 0) -> set[tuple[str, str]]:
    """The signals that a command carries out, with what to call it."""
    words, out = command.words, set[tuple[str, str]]()
    if depth > DEEP or not words:
        return out
    for signal, said in signals.COMMANDS.items():
        out |= {(signal, one) for one in said if matches(words, one)}
    for file in scripts_of(evidence, words, path):
        does = set(evidence.of_module.get(file, ()))
        does |= {s for one in closure(evidence, file) for s in evidence.of_module[one]}
        out |= {(signal, f"runs {printable(file)}") for signal in does}
        out |= {pair for inner in _inside(evidence, file) for pair in effects_of(evidence, inner, file, depth + 1)}
    if words[0] == "make":
        for target in words[1:] or ("",):
            for inner in _recipe(evidence, target):
                out |= effects_of(evidence, inner, path, depth + 1) if not inner.swallowed else set()
    if any(signal == "pipeline" for signal, _ in out) and depth < DEEP:
        for other in evidence.runs:
            if other.where == frozenset({"stage"}) and other.command.words != words:
                out |= {(s, "the pipeline") for s, _ in effects_of(evidence, other.command, other.path, DEEP)}
        if words[0] == "glue":
            out |= {(s.partition(":")[2], "the pipeline") for s in evidence.found if s.startswith("stage:")}
    return out


def _inside(evidence: Evidence, file: str) -> Iterable[shell.Command]:
    return [c for c in shell.commands(evidence.scripts.get(file, "")) if not c.swallowed]


def matches(words: tuple[str, ...], said: str) -> bool:
    """Does a command begin with these words, options aside?"""
    want = said.split()
    plain = [word for word in words if not word.startswith("-")]
    return plain[: len(want)] == want


def scripts_of(evidence: Evidence, words: tuple[str, ...], path: str) -> list[str]:
    """The project's own files that a command runs: `python train.py`, `-m pkg.train`, `bash x.sh`, `uvicorn app:a`."""
    if words[0] == "-m" and len(words) > 1:
        return of_import(evidence, words[1])
    if words[0] in SERVERS_OF:
        named = [word.partition(":")[0] for word in words[1:] if not word.startswith("-")]
        found = [file for name in named for file in of_import(evidence, name.removesuffix(".py").replace("/", "."))]
        return found or [file for name in named for file in _at(evidence, name, path)]
    if words[0] in ("python", "bash", "sh", "source", ".") and len(words) > 1:
        return _at(evidence, next((w for w in words[1:] if not w.startswith("-")), ""), path)
    return _at(evidence, words[0], path) if "/" in words[0] or words[0].endswith((".sh", ".py")) else []


def _at(evidence: Evidence, name: str, path: str) -> list[str]:
    known = evidence.modules.keys() | evidence.scripts.keys()
    for start in ("", str(PurePosixPath(path).parent)):
        file = str(PurePosixPath(start, name.removeprefix("./")))
        if file in known:
            return [file]
    return []


def _recipe(evidence: Evidence, target: str, seen: frozenset[str] = frozenset()) -> list[shell.Command]:
    out: list[shell.Command] = []
    for targets in evidence.makefiles.values():
        name = target or next(iter(targets), "")
        if name in targets and name not in seen:
            for need in targets[name][0]:
                out += _recipe(evidence, need, seen | {name})
            out += [c for line, _ in targets[name][1] for c in shell.commands(line.lstrip("@-"))]
    return out
