"""What a misspelt name was meant to be."""

from __future__ import annotations

# Cyrillic and Greek letters, and the Latin ones that look the same
ALIKE = str.maketrans("АВЕЅІЈКМНОРСТУХаеорсухѕіјΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABESIJKMHOPCTYXaeopcyxsijABEZHIKMNOPTYXo")


def _look(name: str) -> str:
    """How a name looks: its letters in one form and case, without blanks and control characters."""
    import unicodedata

    text = unicodedata.normalize("NFKC", name).translate(ALIKE)
    return "".join(c for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")).lower()


def closest(name: str, known: list[str]) -> str | None:
    """The known name closest to a misspelt one, or None."""
    import difflib

    by_look = {look: other for other in known if (look := _look(other))}
    matches = difflib.get_close_matches(_look(name), by_look, n=1, cutoff=0.6)
    return by_look[matches[0]] if matches else None


def suggestion(name: str, known: list[str]) -> str | None:
    """`did you mean 'x'?`, in escapes too where both look the same; None where no name is near."""
    guess = closest(name, known)
    if guess is None:
        return None
    looks_same = _look(name) == _look(guess) and ascii(name).lower() != ascii(guess).lower()
    return f"did you mean {guess!r}{f', which is {guess!a} and not {name!a}' if looks_same else ''}?"


def did_you_mean(name: str, known: list[str]) -> str:
    """A suggestion, or the list of the names that exist."""
    shown = ", ".join(map(repr, known[:12])) + (f", … ({len(known)} in all)" if len(known) > 12 else "")
    return suggestion(name, known) or (f"there are: {shown}" if known else "there is none")
