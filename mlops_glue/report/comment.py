"""Text for a comment on GitHub: short enough, and without markup from data or config."""

from __future__ import annotations

import re
from typing import Any

MOST = 65_000  # characters that GitHub accepts in a comment
LONGEST = 240  # characters of a text from data or config


def shortened(text: str) -> str:
    """Cut a text to the length that GitHub accepts, at the end of a line."""
    if len(text) <= MOST:
        return text
    head = text[: MOST - 60].rpartition("\n")[0]
    close = "\n</details>" if head.count("<details>") > head.count("</details>") else ""
    return f"{head}\n{close}\n\n… the rest of the report is too long for a comment.\n"


def as_text(value: Any) -> str:
    """Escape a text from data or config for Markdown: no markup, no mentions, no line breaks."""
    text = " ".join(str(value).split())
    text = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#!|~])", r"\\\1", text).replace("@", "@\u200b").replace("://", ":\u200b//")
