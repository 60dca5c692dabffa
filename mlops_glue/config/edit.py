"""Setting keys of `glue.yaml`: in the loaded tree, and in the text without a change elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

from mlops_glue.config.parse import parse, plain, read, round_trip
from mlops_glue.errors import ConfigError, UsageError
from mlops_glue.layout import CONFIG


def set_key(tree: Any, key: str, value: str) -> None:
    *path, last = key.split(".")
    node = tree
    for part in path:
        if isinstance(node, dict) and node.get(part) is None:
            node[part] = {}
        node = node[part] if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise UsageError(f"--set {key}: {part!r} is not a section of {CONFIG}")
    node[last] = _value(key, value)


def _value(key: str, text: str) -> Any:
    """What `--set key=text` gives."""
    try:
        return plain(parse("it:\n" + indent(text, " "))["it"])
    except (ConfigError, KeyError):
        raise UsageError(
            f"--set {key}={text}: the value is not YAML", hint="quote it: --set 'a.key=\"text\"'"
        ) from None


def overridden(root: Path, overrides: Mapping[str, str]) -> str:
    """The text of `glue.yaml` with dotted keys set; every other character stays."""
    text = read(root / CONFIG)
    tree = parse(text)
    for key, value in overrides.items():
        set_key(tree, key, value)
        text = _spliced(text, key.split("."), _value(key, value))
    if plain(parse(text)) == plain(tree):
        return text
    yaml = round_trip()  # what stands there is of no form that is edited in place
    yaml.indent(mapping=2, sequence=4, offset=2)
    return dumped(yaml, tree)


def _spliced(text: str, path: list[str], value: Any) -> str:
    """The text with a value put in the place of the old one, or behind what its section has."""
    from ruamel.yaml.nodes import MappingNode

    key: Any = None
    node, there = round_trip().compose(text), 0  # how much of the path is there
    for part in path:
        found = [pair for pair in node.value if pair[0].value == part] if isinstance(node, MappingNode) else []
        if not found:
            break
        (key, node), there = found[0], there + 1
    for part in reversed(path[there:]):
        value = {part: value}
    inside = there < len(path) and isinstance(node, MappingNode) and bool(node.value)
    shown = _flow(value)
    if inside and node.flow_style:
        end = node.end_mark.index - 1
        comma = "" if text[:end].rstrip().endswith(",") else ", "
        return text[:end].rstrip() + comma + shown[1:-1] + text[end:]
    end = _end(node, text)
    if inside:
        line = text.find("\n", end) if "\n" in text[end:] else len(text)
        return f"{text[:line]}\n{' ' * node.start_mark.column}{shown[1:-1]}{text[line:]}"
    start = node.start_mark.index
    if key is None or (end > start and getattr(node, "flow_style", True)):
        return f"{text[:start]}{shown}{text[end:]}"
    colon = text.index(":", key.end_mark.index) + 1  # of nothing, or of a block, which stands below its key
    return f"{text[:colon]} {shown}{text[colon:start].rstrip() if end > start else text[colon:start]}{text[end:]}"


def _end(node: Any, text: str) -> int:
    """Where the last character of a node is, without the blank lines and comments behind it."""
    if getattr(node, "flow_style", True) or not node.value:
        start: int = node.start_mark.index
        return start + len(text[start : node.end_mark.index].rstrip())
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last, text)


def _flow(value: Any) -> str:
    """A value on one line, quoted where it must be."""
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = True, 1 << 16, True
    yaml.sort_base_mapping_type_on_output = False
    return dumped(yaml, {"_": value}).strip().removeprefix("{_: ").removesuffix("}")


def dumped(yaml: Any, tree: Any) -> str:
    """A ruamel tree as text."""
    from io import StringIO

    out = StringIO()
    yaml.dump(tree, out)
    return out.getvalue()
