"""The site's own search answers every question of `questions.toml` among its first three pages; else the build fails.

The site searches in the browser by lunr.js. Here the same index is made by lunr.py, with what Material for MkDocs 9
adds: a word finds whatever begins with it, and a whole page, and one that has more of the words, counts more.
"""

from __future__ import annotations

import html
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from lunr.builder import Builder
from lunr.stop_word_filter import WORDS, stop_word_filter

FIRST = 3  # pages


def on_post_build(config: Any, **_: Any) -> None:
    """Ask every question.

    Raises:
        ValueError: names the questions that are not answered, with the pages that were found instead.
    """
    index = json.loads(Path(config["site_dir"], "search/search_index.json").read_text(encoding="utf-8"))
    asked = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    pages = {document["location"].partition("#")[0] for document in index["docs"]}
    search, wrong = Search(index), list[str]()
    for question, wanted in asked.items():
        found = search.pages(question)[:FIRST]
        if not set(found) & set(wanted):
            missing = "" if set(wanted) <= pages else " (there is no such page)"
            wrong.append(f"{question!r} finds {', '.join(found) or 'nothing'}, and not {' or '.join(wanted)}{missing}")
    if wrong:
        raise ValueError("the site's search does not answer:\n" + "\n".join(wrong))


class Search:
    """The search of a site, of what its search plugin wrote."""

    def __init__(self, written: dict[str, Any]) -> None:
        self.separator = re.compile(written["config"]["separator"])
        builder = Builder()
        builder.pipeline.add(stop_word_filter)  # what the plugin sets: no stemmer, no trimmer
        builder.b(0)
        builder.ref("location")
        for name, settings in written["config"]["fields"].items():
            builder.field(name, settings["boost"], lambda document, name=name: self._words(document.get(name, "")))
        for document in written["docs"]:
            builder.add(document, {"boost": document.get("boost", 1)})
        self.index = builder.build()

    def _words(self, text: str | list[str]) -> list[str]:
        plain = html.unescape(re.sub(r"<[^>]*>", "", text if isinstance(text, str) else " ".join(text)))
        return [word for word in self.separator.split(plain.lower()) if word]

    def pages(self, question: str) -> list[str]:
        """The pages that are found, the best first."""
        terms = self._words(question)
        scores: dict[str, float] = {}
        for hit in self.index.search(" ".join(f"{re.sub(r'[*+:^~]', '', term)}*" for term in terms)):
            matched = hit["match_data"].metadata
            has = {term: any(found.startswith(term) for found in matched) for term in terms}
            has = {term: found for term, found in has.items() if found or term not in WORDS}
            page, _, section = hit["ref"].partition("#")
            share = (not section) + sum(has.values()) / max(len(has), 1)
            scores[page] = max(scores.get(page, 0.0), hit["score"] * (1 + share**2))
        return sorted(scores, key=lambda page: -scores[page])
