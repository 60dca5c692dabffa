"""Parse the text of `glue.yaml` into plain values, with the line of each key.

Only JSON's types are read (mappings, lists, text, numbers, booleans, nulls), and dates. Aliases and other tags are
refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_glue.errors import ConfigError, UsageError, first_line
from mlops_glue.layout import CONFIG

KEY_TYPES = {"str", "int", "float", "bool"}
TYPES = {*KEY_TYPES, "null", "timestamp", "map", "seq"}
COLON = re.compile(r":(?![\s,\[\]{}])|:$")  # libyaml, which DVC uses, refuses it unquoted in [..] or {..}
NOT_OF_TYPE = (ValueError, LookupError, TypeError, ArithmeticError)  # raised for 2024-02-30, !!int x

Location = tuple[Any, ...]  # the keys and list positions that lead to a value
Problem = tuple[Location, str]  # the location, and what is wrong there


@dataclass
class Document:
    """The values of a YAML text, and their lines."""

    values: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    strict: bool = False  # refuse what DVC cannot read

    def line(self, location: Location) -> int:
        """Return the line of a value, or of the nearest enclosing section that is in the text."""
        around = (location[:depth] for depth in range(len(location), 0, -1))
        return next((self.lines[place] for place in around if place in self.lines), 1)

    def note_lines(
        self, node: Any, location: Location, constructor: Any, seen: set[int], *, in_flow: bool = False
    ) -> None:
        """Record the line of everything below a node of the YAML tree; `in_flow`: the node is inside [..] or {..}.

        Raises:
            ConfigError: the tree contains types that JSON does not have, or a malformed value.
        """
        if id(node) in seen:
            raise _refused(node, f"uses an alias (*{node.anchor}), which is not supported")
        if _type(node) not in TYPES:
            raise _refused(node, f"uses the tag {node.tag}, which is not supported")
        seen.add(id(node))
        in_flow = in_flow or bool(getattr(node, "flow_style", False))
        items: list[tuple[Any, Any, Any]] = []  # key or position, the node where it begins, the node of its value
        if _type(node) == "map":
            items = [(key.value, key, value) for key, value in node.value]
        elif _type(node) == "seq":
            items = [(at, item, item) for at, item in enumerate(node.value)]
        else:
            try:
                constructor.construct_object(node)
            except NOT_OF_TYPE as error:
                raise _refused(node, f"is not YAML: {node.value[:40]!r}: {first_line(error)}") from None
        for part, start, value in items:
            if start is not value and _type(start) not in KEY_TYPES:
                raise _refused(start, "is not YAML: a key must be text or a number")
            for scalar in (start, value):
                if in_flow and self.strict and getattr(scalar, "style", "") is None and COLON.search(scalar.value):
                    problem = f"has {scalar.value} without quotes in [..] or {{..}}, which DVC cannot read"
                    raise _refused(scalar, problem, f'write "{scalar.value}"')
            self._note((*location, part), start)
            self.note_lines(value, (*location, part), constructor, seen, in_flow=in_flow)

    def _note(self, place: Location, node: Any) -> None:
        if (first := self.lines.get(place)) is not None:
            raise _refused(node, f"repeats the key {place[-1]} of line {first}", "remove one of the two")
        self.lines[place] = node.start_mark.line + 1


def _type(node: Any) -> str:
    return str(node.tag).removeprefix("tag:yaml.org,2002:")


def _refused(node: Any, problem: str, hint: str | None = None) -> ConfigError:
    return ConfigError([f"{CONFIG}:{node.start_mark.line + 1} {problem}"], hint=hint)


def read(path: Path) -> str:
    """Return the text of `glue.yaml`.

    Raises:
        UsageError: the file does not exist.
        ConfigError: the file cannot be read, or contains git's conflict markers.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"no {CONFIG} in {path.parent}", hint="glue init") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{CONFIG}:1 cannot be read: {error}"]) from error
    refuse_conflict_markers(CONFIG, text)
    return text


def refuse_conflict_markers(name: str, text: str) -> None:
    """Refuse the text of a file that contains both sides of an unfinished git merge.

    Raises:
        ConfigError: with the line of the first marker.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            hint = f"git checkout --ours {name}, or --theirs; then glue run"
            raise ConfigError([f"{name}:{number} contains both sides of a git merge"], hint=hint)


def parse(text: str, *, strict: bool = False) -> Document:
    """Parse a text whose top level is a mapping; `strict` if DVC must be able to read it too.

    Raises:
        ConfigError: the text is not such YAML; the message contains the line.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml, document = YAML(typ="safe", pure=True), Document(strict=strict)
    try:
        root = yaml.compose(text)
        if root is not None:
            document.note_lines(root, (), yaml.constructor, set())
            document.values = yaml.constructor.construct_document(root)
    except RecursionError:
        raise ConfigError([f"{CONFIG}:1 is nested too deeply"]) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem, hint = (error.problem or str(error)).splitlines()[0], "check the quotes there; indent with spaces"
        raise ConfigError([f"{CONFIG}:{mark.line + 1 if mark else 1} is not YAML: {problem}"], hint=hint) from None
    except (YAMLError, *NOT_OF_TYPE) as error:
        raise ConfigError([f"{CONFIG}:1 is not YAML: {first_line(error)}"]) from None
    if not isinstance(document.values, dict):
        raise ConfigError([f"{CONFIG}:1 is empty or not a mapping"], hint="glue init writes a complete example")
    return document
