"""The text of `glue.yaml` as a tree of values that knows the line of each."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_glue.errors import ConfigError, UsageError, first_line
from mlops_glue.layout import CONFIG


def read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"no {CONFIG} in {path.parent}", hint="glue init") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{CONFIG}:1 cannot be read: {error}"]) from error
    refuse_both_sides(CONFIG, text)
    return text


def refuse_both_sides(name: str, text: str) -> None:
    """The text of a file that tells what to do is not that of an unfinished git merge.

    Raises:
        ConfigError: it is.
    """
    lines = text.splitlines()
    at = next((n for n, line in enumerate(lines, 1) if line.startswith(("<<<<<<< ", ">>>>>>> "))), None)
    if at is not None:
        raise ConfigError(
            [f"{name}:{at} holds both sides of a git merge"],
            hint=f"git checkout --ours {name}, or --theirs; then glue run",
        )


def parse(text: str) -> Any:
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

    yaml, depth = round_trip(), 0
    try:
        for event in yaml.parse(text):
            _refuse(event)
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MOST_NESTED:
                raise ConfigError([f"{CONFIG}:{event.start_mark.line + 1} is nested too deeply"])
        tree = yaml.load(text)
    except DuplicateKeyError as error:
        key = re.search(r'found duplicate key "(.*?)"', str(error))
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([f"{CONFIG}:{line} {key.group(1) if key else '?'}: this key stands twice"]) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        if re.match(r" *\t", text.split("\n")[line - 1]):
            raise ConfigError([f"{CONFIG}:{line} a tab indents this line"], hint="indent with spaces") from None
        what = (error.problem or str(error)).splitlines()[0]
        raise ConfigError([f"{CONFIG}:{line} is not YAML: {what}"], hint="check the indent and quotes there") from None
    except YAMLError as error:
        raise ConfigError([f"{CONFIG}:1 is not YAML: {first_line(error)}"]) from None
    if not isinstance(tree, dict):
        raise ConfigError([f"{CONFIG}:1 is empty or not a mapping"], hint="glue init shows what one looks like")
    return tree


def round_trip() -> Any:
    """A YAML reader and writer that keeps comments, quotes and nulls, and says where a value stands that is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
    from ruamel.yaml.error import MarkedYAMLError

    class Constructor(RoundTripConstructor):  # type: ignore[misc]
        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep=deep)
            except MarkedYAMLError:
                raise
            except (ValueError, LookupError, TypeError, ArithmeticError) as error:  # 2024-02-30, !!int x
                said = f"{str(node.value)[:40]!r}: {first_line(error)}"
                raise ConstructorError(None, None, said, node.start_mark) from None

        def construct_mapping(self, node: Any, *args: Any, **named: Any) -> Any:
            for key, _ in node.value:
                if str(key.tag).rpartition(":")[2] not in ("str", "int", "float", "bool"):
                    raise ConstructorError(None, None, "a key is a text or a number", key.start_mark)
            return super().construct_mapping(node, *args, **named)

    yaml = YAML(typ="rt")
    yaml.Constructor = Constructor
    yaml.width = 1 << 16  # no line of the user's is broken
    return yaml


MOST_NESTED = 50  # a section, a parameter, and what a search or an expectation takes
TAGS = {"str", "int", "float", "bool", "null", "map", "seq"}  # of YAML's own: what JSON has too


def _refuse(event: Any) -> None:
    """What a plain tree of values has no place for: aliases, tags, text that is no Unicode."""
    from ruamel.yaml.events import AliasEvent, DocumentStartEvent

    mark = getattr(event, "start_mark", None)
    where = f"{CONFIG}:{mark.line + 1 if mark is not None else 1}"
    if isinstance(event, AliasEvent):
        raise ConfigError([f"{where} aliases (*{event.anchor}) are not taken"])
    if isinstance(event, DocumentStartEvent) and event.version is not None:
        raise ConfigError([f"{where} %YAML is not taken: it would change what yes and 010 mean"])
    tag = str(getattr(event, "tag", None) or getattr(event, "ctag", None) or "!")
    if tag != "!" and tag.removeprefix("tag:yaml.org,2002:") not in TAGS:
        raise ConfigError([f"{where} tag {tag} is not taken"])
    if re.search("[\ud800-\udfff]", str(getattr(event, "value", ""))):
        raise ConfigError([f"{where} holds half of a surrogate pair, which is no character"])


def plain(node: Any) -> Any:
    """ruamel's round-trip types as built-ins."""
    from ruamel.yaml.comments import TaggedScalar
    from ruamel.yaml.scalarbool import ScalarBoolean
    from ruamel.yaml.timestamp import TimeStamp

    if isinstance(node, dict):
        return {plain(k): plain(v) for k, v in node.items()}
    if isinstance(node, list):
        return [plain(v) for v in node]
    if isinstance(node, ScalarBoolean):  # of `&x false`; it is an int to Python
        return bool(node)
    if isinstance(node, TaggedScalar):  # a lone `=`
        return str(node.value)
    if isinstance(node, TimeStamp):
        return datetime.fromisoformat(node.isoformat())
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def line_of(tree: Any, loc: tuple[Any, ...]) -> int:
    node: Any = tree
    line = 1
    for part in loc:
        try:
            marks: Any = getattr(node, "lc")  # noqa: B009 - ruamel's own attribute, unknown to dict
            here = marks.key(part) if isinstance(node, dict) else marks.item(part)
            node = node[part]
            line = here[0] + 1
        except (KeyError, AttributeError, TypeError, IndexError):
            break
    return line
