"""Every way `glue` can end badly, as a table: the class, its exit code, what it means.

Exit codes: 0 done, 1 a check said no, 2 config or usage, 3 a bug in glue, 4 a tool or stage could not do its work,
130 interrupted.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlops_glue.secrets import redacted

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

interrupted = False  # a ^C came


def whole_traceback(error: BaseException) -> str:
    """What Python prints of an exception and of those that it came from."""
    return redacted("".join(traceback.format_exception(error)))


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, then what it came from, as Python would show it."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def interrupt(*_: object) -> None:
    """For SIGINT. It is noted as well: on its way out another error may take its place, or a library may swallow it."""
    global interrupted
    interrupted = True
    sys.unraisablehook = lambda _: None  # what was being made may complain when it is thrown away
    raise KeyboardInterrupt


def check_interrupted() -> None:
    """The ^C that was swallowed, once more."""
    if interrupted:
        raise KeyboardInterrupt


class GlueError(Exception):
    """Something the user can put right. `hint` is what to type or edit. No secret stays in the message."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = redacted(message)
        super().__init__(self.message)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """As pickled between processes: the constructors of the subclasses take other arguments."""
        return _again, (type(self), self.__dict__)


def _again(kind: type[GlueError], state: dict[str, Any]) -> GlueError:
    made = kind.__new__(kind)
    Exception.__init__(made, state["message"])
    made.__dict__ |= state
    return made


class CheckFailed(GlueError):
    """A check ran and said no: invalid data, a missed threshold, a worse candidate."""

    exit_code = 1


class UsageError(GlueError):
    """The command line asks for something that is not there."""

    exit_code = 2


class ConfigError(GlueError):
    """`glue.yaml` is wrong; `problems` holds every finding, in file order."""

    exit_code = 2

    def __init__(self, problems: list[str], *, hint: str | None = None) -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems = [redacted(problem) for problem in problems]


class DataError(GlueError):
    """A table cannot be read or does not have what the config says."""

    exit_code = 4


def together(refused: Sequence[DataError], most: int = 10) -> DataError:
    """What is wrong with several tables, as one error; of one it is that itself."""
    if len(refused) == 1:
        return refused[0]
    more = [f"and {len(refused) - most} more"] if len(refused) > most else []
    hints = {one.hint for one in refused}
    said = "\n".join([one.message for one in refused[:most]] + more)
    return DataError(said, hint=hints.pop() if len(hints) == 1 else None)


class DamagedError(DataError, ValueError):
    """A file that glue or a stage wrote is not JSON; who can do without it takes it for any other wrong value."""


class ToolError(GlueError):
    """One of the composed tools failed; the cause is chained."""

    exit_code = 4


class StageError(GlueError):
    """A stage (or the user's code in it) raised."""

    exit_code = 4


class MissingExtra(GlueError):
    """A package that this step needs is not installed."""

    exit_code = 4

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", hint=f'pip install "mlops-glue[{extra}]"')


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of what an exception says, without secrets, or its type where it says nothing."""
    return (redacted(str(error)).strip() or type(error).__name__).splitlines()[0][:most]  # a cut secret is one still


def brief(error: BaseException, most: int = 300) -> str:
    """The type of an exception, and the first line of what it says, without secrets."""
    return f"{type(error).__name__}: {(redacted(str(error)).strip() or 'no message').splitlines()[0][:most]}"


def own_lines(error: BaseException, root: Path) -> str:
    """The places of a traceback that are in the project's own code, one a line, each after a line break."""
    places = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno, "", error.text))
    out = ""
    for file, line, function, text in places:
        path = Path(file)
        if path.is_relative_to(root) and ".venv" not in path.parts and "site-packages" not in path.parts:
            where = f" in {function}" if function and not function.startswith("<") else ""
            out += f"\n  {path.relative_to(root).as_posix()}:{line}{where}: {(text or '').strip()}"
    return out


def of_system(error: OSError) -> GlueError:
    """What the operating system refused, as one line: full disk, read-only folder and the like."""
    full = error.errno in FULL
    denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    hint = "make room, then again" if full else "may you write there? see: ls -ld" if denied else None
    place = f": {error.filename}" if error.filename else ""
    return GlueError(f"{error.strerror or error}{place}", hint=hint)


def of_memory(error: BaseException) -> GlueError | None:
    """Where an exception comes from too little memory, that as one line; it shows in many ways, an import for one."""
    said = ("failed to map segment", "cannot allocate memory", "can't start new thread", "bad_alloc")
    for one in causes(error):
        if isinstance(one, MemoryError) or any(words in str(one).lower() for words in said):
            what = f" ({first_line(error)})" if isinstance(error, GlueError) else ""
            return GlueError(f"there is not enough memory{what}", hint="free memory, or raise the limit: ulimit -v")
    return None


def of_locale(error: BaseException) -> GlueError | None:
    """Where an exception comes from names that the encoding of the locale does not have, that as one line."""
    if sys.getfilesystemencoding() == "utf-8" or not any(isinstance(one, UnicodeError) for one in causes(error)):
        return None
    return _other_locale()


def check_names(words: Sequence[str]) -> None:
    """Can the working folder and what was typed be told to any other program?

    Raises:
        UsageError: they hold bytes that are no text in the encoding of the locale.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return
    if any("\udc80" <= sign <= "\udcff" for name in (str(Path.cwd()), *words) for sign in name):
        raise _other_locale()


def _other_locale() -> UsageError:
    told = f"the locale's encoding is {sys.getfilesystemencoding()}, and the name of a folder or a file is not in it"
    return UsageError(told, hint="export LC_ALL=C.UTF-8 PYTHONUTF8=1, then again")


# Cyrillic and Greek letters, and the Latin ones that look the same
ALIKE = str.maketrans("АВЕЅІЈКМНОРСТУХаеорсухѕіјΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABESIJKMHOPCTYXaeopcyxsijABEZHIKMNOPTYXo")


def _look(name: str) -> str:
    """What is seen of a name: letters of whatever form and case, without what is blank."""
    import unicodedata

    seen = unicodedata.normalize("NFKC", name).translate(ALIKE)
    return "".join(c for c in seen if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")).lower()


def near(name: str, known: list[str]) -> str | None:
    """The known name closest to a misspelt one, or None."""
    import difflib

    seen = {look: k for k in known if (look := _look(k))}
    found = difflib.get_close_matches(_look(name), seen, n=1, cutoff=0.6)
    return seen[found[0]] if found else None


def _unseen(name: str, other: str) -> str:
    """What another name has that nobody sees beside the first: code points; nothing where it is seen."""
    import difflib
    import re
    import unicodedata

    def told(signs: str) -> str:
        called = [f"U+{ord(one):04X}" + ("" if same else f" {unicodedata.name(one, '')}".rstrip()) for one in signs]
        return " ".join(called[:6]) + " …" * (len(called) > 6)

    same = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
    mine, its = (re.findall("(?s).[\u0300-\u036f]*", word) for word in (name, other))  # letters with their accents
    lower = [[one.lower() if one.isascii() else one for one in word] for word in (mine, its)]
    out: list[str] = []
    for what, a, b, c, d in difflib.SequenceMatcher(a=lower[0], b=lower[1], autojunk=False).get_opcodes():
        one, two = "".join(mine[a:b]), "".join(its[c:d])
        if what != "equal" and _look(one) == _look(two) and one.swapcase() != two and two.swapcase() != one:
            pair = f"{told(two)} for {told(one)}"
            out.append(pair if one and two else f"{told(one)} less" if one else f"{told(two)} more")
    return ", ".join(out[:3]) + (": the same letters in another Unicode form" if same and out else "")


def suggestion(name: str, known: list[str]) -> str | None:
    """`did you mean 'x'?`, with what differs where that cannot be seen; None where no name is near."""
    guess = near(name, known)
    if guess is None:
        return None
    unseen = _unseen(name, guess)
    return f"did you mean {guess!r}, which has {unseen}?" if unseen else f"did you mean {guess!r}?"


def did_you_mean(name: str, known: list[str]) -> str:
    """A suggestion, or the list of what there is."""
    shown = ", ".join(map(repr, known[:12])) + (f", … ({len(known)} in all)" if len(known) > 12 else "")
    return suggestion(name, known) or (f"there are: {shown}" if known else "there is none")
