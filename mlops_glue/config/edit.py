"""`--set KEY=VALUE`: edit a value in the text of `glue.yaml`, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

from mlops_glue.config.parse import COLON, parse, read
from mlops_glue.errors import ConfigError, UsageError
from mlops_glue.layout import CONFIG


def overridden(root: Path, overrides: Mapping[str, str]) -> str:
    """Return the text of `glue.yaml` with dotted keys set; every other character stays the same.

    Raises:
        UsageError: a value cannot be set, or only with a change elsewhere.
    """
    text = read(root / CONFIG)
    for key, value in overrides.items():
        expected = parse(text).values
        text = _splice(text, key.split("."), _set_key(expected, key, value))
        if parse(text).values != expected:
            raise UsageError(f"--set {key}: cannot be set in the text of {CONFIG}", hint=f"edit {CONFIG}")
    return text


def _set_key(values: dict[str, Any], key: str, text: str) -> Any:
    """Set a dotted key to the value that YAML reads from a text; return the value.

    Raises:
        UsageError: the text is not YAML, or a parent of the key is not a section.
    """
    try:
        value = parse("value:\n" + indent(text, " ")).values["value"]
    except (ConfigError, KeyError):
        hint = "quote it: --set 'a.key=\"text\"'"
        raise UsageError(f"--set {key}={text}: the value is not YAML", hint=hint) from None
    *sections, last = key.split(".")
    section: Any = values
    for name in sections:
        if section.get(name) is None:
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise UsageError(f"--set {key}: {name!r} is not a section of {CONFIG}")
    section[last] = value
    return value


def _splice(text: str, path: list[str], value: Any) -> str:
    """Replace the old value, or add the key after the last key of its section."""
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import MappingNode

    key_node: Any = None
    node, depth = YAML(typ="safe", pure=True).compose(text), 0  # how many parts of the path are in the text
    for part in path:
        found = [pair for pair in node.value if pair[0].value == part] if isinstance(node, MappingNode) else []
        if not found:
            break
        (key_node, node), depth = found[0], depth + 1
    for part in reversed(path[depth:]):
        value = {part: value}
    new = one_line(value)
    is_new_key = depth < len(path) and isinstance(node, MappingNode) and bool(node.value)
    if is_new_key and node.flow_style:
        end = node.end_mark.index - 1
        before = text[:end].rstrip()
        comma = "" if before.endswith(",") else ", "
        return before + comma + new[1:-1] + text[end:]
    end = _end(node, text)
    if is_new_key:
        line = text.find("\n", end) if "\n" in text[end:] else len(text)
        return f"{text[:line]}\n{' ' * node.start_mark.column}{new[1:-1]}{text[line:]}"
    start = node.start_mark.index
    if key_node is None or (end > start and getattr(node, "flow_style", True)):
        return f"{text[:start]}{new}{text[end:]}"
    colon = text.index(":", key_node.end_mark.index) + 1  # the old value is empty, or a block below its key
    return f"{text[:colon]} {new}{text[colon:start].rstrip() if end > start else text[colon:start]}{text[end:]}"


def _end(node: Any, text: str) -> int:
    """Return the position after a node's last character, without the blank lines and comments that follow."""
    if getattr(node, "flow_style", True) or not node.value:
        start: int = node.start_mark.index
        return start + len(text[start : node.end_mark.index].rstrip())
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last, text)


def one_line(value: Any) -> str:
    """Return a value in YAML's flow style, quoted if necessary."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import SafeRepresenter

    class Quoting(SafeRepresenter):
        def represent_str(self, data: str) -> Any:
            return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if COLON.search(data) else None)

    Quoting.add_representer(str, Quoting.represent_str)
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.Representer = Quoting
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = True, 1 << 16, True
    yaml.sort_base_mapping_type_on_output = False
    return dumped(yaml, {"_": value}).strip().removeprefix("{_: ").removesuffix("}")


def dumped(yaml: Any, tree: Any) -> str:
    """Return a ruamel tree as text."""
    from io import StringIO

    out = StringIO()
    yaml.dump(tree, out)
    return out.getvalue()
