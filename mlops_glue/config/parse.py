"""The text of `glue.yaml` as plain values, with the line of each key.

Only what JSON has too is read: mappings, lists, text, numbers, booleans, nulls and, beyond JSON, dates. Aliases and
other tags are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_glue.errors import ConfigError, UsageError, first_line
from mlops_glue.layout import CONFIG

MAX_DEPTH = 50  # a section, its parameters, and what a search or an expectation takes
KEY_TYPES = {"str", "int", "float", "bool"}
SCALAR_TYPES = {*KEY_TYPES, "null", "timestamp", "value"}  # `value` is a lone =
YAML_TAG = "tag:yaml.org,2002:"

Location = tuple[Any, ...]  # the keys and list positions that lead to a value


@dataclass
class Document:
    """What a text of YAML holds, and where."""

    values: Any
    lines: dict[Location, int] = field(default_factory=dict)

    def line(self, location: Location) -> int:
        """The line of a value, or of the nearest section around it that is in the text."""
        return self.lines.get(location[: self.depth(location)], 1)

    def depth(self, location: Location) -> int:
        """How many keys of a location are in the text."""
        return next((n for n in range(len(location), 0, -1) if location[:n] in self.lines), 0)


def read(path: Path) -> str:
    """The text of `glue.yaml`.

    Raises:
        UsageError: the file does not exist.
        ConfigError: it cannot be read, or git left conflict markers in it.
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
    """Refuse the text of a file that holds both sides of an unfinished git merge.

    Raises:
        ConfigError: with the line of the first marker.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            hint = f"git checkout --ours {name}, or --theirs; then glue run"
            raise ConfigError([f"{name}:{number} holds both sides of a git merge"], hint=hint)


def parse(text: str) -> Document:
    """Parse a text whose top level is a mapping.

    Raises:
        ConfigError: it is not such YAML; the message has the line.
    """
    node = compose(text)
    reader = _Reader()
    document = Document(reader.read(node, ()) if node is not None else None, reader.lines)
    if not isinstance(document.values, dict):
        raise ConfigError([f"{CONFIG}:1 is empty or not a mapping"], hint="glue init shows what one looks like")
    return document


def compose(text: str) -> Any:
    """The root node of a YAML text, None where it is empty.

    Raises:
        ConfigError: the text is not YAML; the message has the line.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    version = re.search(r"^%YAML", text, re.M)
    if version is not None:
        line = text.count("\n", 0, version.start()) + 1
        raise ConfigError([f"{CONFIG}:{line} %YAML is not taken: it would change what yes and 010 mean"])
    try:
        return YAML(typ="safe", pure=True).compose(text)
    except RecursionError:
        raise ConfigError([f"{CONFIG}:1 is nested too deeply"]) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        if re.match(r" *\t", text.split("\n")[line - 1]):
            raise ConfigError([f"{CONFIG}:{line} a tab indents this line"], hint="indent with spaces") from None
        problem = (error.problem or str(error)).splitlines()[0]
        hint = "check the indent and quotes there"
        raise ConfigError([f"{CONFIG}:{line} is not YAML: {problem}"], hint=hint) from None
    except YAMLError as error:
        raise ConfigError([f"{CONFIG}:1 is not YAML: {first_line(error)}"]) from None


class _Reader:
    """Turns YAML nodes into built-ins and notes the line of each."""

    def __init__(self) -> None:
        from ruamel.yaml import YAML

        self.lines: dict[Location, int] = {}
        self._constructor = YAML(typ="safe", pure=True).constructor
        self._seen: set[int] = set()

    def read(self, node: Any, location: Location) -> Any:
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        if id(node) in self._seen:
            raise _refused(node, f"aliases (*{node.anchor}) are not taken")
        self._seen.add(id(node))
        if len(location) >= MAX_DEPTH:
            raise _refused(node, "is nested too deeply")
        if isinstance(node, MappingNode):
            self._check_tag(node, {"map"})
            return self._mapping(node, location)
        if isinstance(node, SequenceNode):
            self._check_tag(node, {"seq"})
            for at, item in enumerate(node.value):
                self.lines[*location, at] = item.start_mark.line + 1
            return [self.read(item, (*location, at)) for at, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: Any, location: Location) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node.value, str) or _tag(key_node) not in KEY_TYPES:
                raise _refused(key_node, "is not YAML: a key is a text or a number")
            key = self._scalar(key_node)
            if key in values:
                raise _refused(key_node, f"{key}: this key stands twice")
            self.lines[*location, key] = key_node.start_mark.line + 1
            values[key] = self.read(value_node, (*location, key))
        return values

    def _scalar(self, node: Any) -> Any:
        from ruamel.yaml.error import YAMLError

        self._check_tag(node, SCALAR_TYPES)
        if re.search("[\ud800-\udfff]", node.value):
            raise _refused(node, "holds half of a surrogate pair, which is no character")
        if _tag(node) == "value":
            return node.value
        try:
            return self._constructor.construct_object(node)
        except (YAMLError, ValueError, LookupError, TypeError, ArithmeticError) as error:  # 2024-02-30, !!int x
            raise _refused(node, f"is not YAML: {node.value[:40]!r}: {first_line(error)}") from None

    def _check_tag(self, node: Any, known: set[str]) -> None:
        if _tag(node) not in known:
            raise _refused(node, f"tag {node.tag} is not taken")


def _tag(node: Any) -> str:
    return str(node.tag).removeprefix(YAML_TAG)


def _refused(node: Any, problem: str) -> ConfigError:
    return ConfigError([f"{CONFIG}:{node.start_mark.line + 1} {problem}"])
