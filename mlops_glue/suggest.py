"""What a misspelt name was meant to be."""

from __future__ import annotations

FORM_DIFFERS = ": the same letters in another Unicode form"
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


def _invisible_difference(name: str, other: str) -> str:
    """The code points by which two names that look the same differ; empty where the difference can be seen."""
    import difflib
    import re
    import unicodedata

    def code_points(text: str) -> str:
        named = [f"U+{ord(c):04X}" + ("" if is_same_text else f" {unicodedata.name(c, '')}".rstrip()) for c in text]
        return " ".join(named[:6]) + " …" * (len(named) > 6)

    is_same_text = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
    mine, its = (re.findall("(?s).[\u0300-\u036f]*", word) for word in (name, other))  # letters with their accents
    lower = [[letter.lower() if letter.isascii() else letter for letter in word] for word in (mine, its)]
    differences: list[str] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(a=lower[0], b=lower[1], autojunk=False).get_opcodes():
        old, new = "".join(mine[a:b]), "".join(its[c:d])
        if kind != "equal" and _look(old) == _look(new) and old.swapcase() != new and new.swapcase() != old:
            swapped = f"{code_points(new)} for {code_points(old)}"
            less_or_more = f"{code_points(old)} less" if old else f"{code_points(new)} more"
            differences.append(swapped if old and new else less_or_more)
    return ", ".join(differences[:3]) + (FORM_DIFFERS if is_same_text and differences else "")


def suggestion(name: str, known: list[str]) -> str | None:
    """`did you mean 'x'?`, with the code points where the difference is invisible; None where no name is near."""
    guess = closest(name, known)
    if guess is None:
        return None
    difference = _invisible_difference(name, guess)
    return f"did you mean {guess!r}, which has {difference}?" if difference else f"did you mean {guess!r}?"


def did_you_mean(name: str, known: list[str]) -> str:
    """A suggestion, or the list of the names that exist."""
    shown = ", ".join(map(repr, known[:12])) + (f", … ({len(known)} in all)" if len(known) > 12 else "")
    return suggestion(name, known) or (f"there are: {shown}" if known else "there is none")
