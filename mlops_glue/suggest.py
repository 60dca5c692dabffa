"""Suggestions for misspelt names."""

from __future__ import annotations

# Cyrillic and Greek letters, and the Latin letters that look the same
ALIKE = str.maketrans("АВЕЅІЈКМНОРСТУХаеорсухѕіјΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABESIJKMHOPCTYXaeopcyxsijABEZHIKMNOPTYXo")


def _look(name: str) -> str:
    """Normalize a name by its looks: one form and case of letters, without blanks and control characters."""
    import unicodedata

    text = unicodedata.normalize("NFKC", name).translate(ALIKE)
    return "".join(c for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")).lower()


def closest(name: str, known: list[str]) -> str | None:
    """Return the known name closest to a misspelt name, or None."""
    import difflib

    by_look = {look: other for other in known if (look := _look(other))}
    matches = difflib.get_close_matches(_look(name), by_look, n=1, cutoff=0.6)
    return by_look[matches[0]] if matches else None


def suggestion(name: str, known: list[str]) -> str | None:
    """Return `did you mean 'x'?`, with escapes if both names look the same; None if no name is close."""
    guess = closest(name, known)
    if guess is None:
        return None
    looks_same = _look(name) == _look(guess) and ascii(name).lower() != ascii(guess).lower()
    return f"did you mean {guess!r}{f', which is {guess!a} and not {name!a}' if looks_same else ''}?"


def did_you_mean(name: str, known: list[str]) -> str:
    """Return a suggestion, or the list of existing names."""
    shown = ", ".join(map(repr, known[:12])) + (f", … ({len(known)} in total)" if len(known) > 12 else "")
    return suggestion(name, known) or (f"there are: {shown}" if known else "there are none")
