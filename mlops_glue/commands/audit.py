"""`glue audit`: who moved which alias, when and why, and whether the record is intact."""

from __future__ import annotations

from mlops_glue import config as configs
from mlops_glue import console, files, layout
from mlops_glue.delivery import audit as record
from mlops_glue.delivery import audit_check
from mlops_glue.delivery.fetch import read_only


def audit(*, as_json: bool = False, env: str | None = None) -> int:
    """Print the record and its problems; return 1 if there are problems."""
    root = layout.find_root()
    config = configs.load(root, env, tables=False, needs=configs.A_MODEL)
    if config.audit.remote is not None:
        record.share(root, config.audit.remote)
    store, name, text = read_only(root, config), config.model_name, record.text(root)
    known = audit_check.registered(store, name, text) if store is not None else audit_check.Registered()
    entries = record.readable(text)
    problems = audit_check.problems(text, known, name, is_there=store is not None)
    ours = audit_check.of_registry(entries, name, known)
    moves = [entry.content for entry in entries]
    if as_json:
        console.result_json({"entries": moves, "problems": problems})
        return 1 if problems else 0
    for entry in entries:
        elsewhere = "" if entry in ours else ", in another registry" * (entry.content["model"] == name)
        console.result(f"{files.one_line(entry.content['model'])}  {record.described(entry.content)}{elsewhere}")
    for problem in problems:
        console.result(f"wrong: {problem}", bad="wrong")
    if not entries and not known.pinned and not problems:
        console.result(f"no entries, and no version of {name} in the registry: nothing to check yet")
    elif not problems:
        console.result(
            f"{'1 entry' if len(moves) == 1 else f'{len(moves)} entries'}, and the chain is intact", good="intact"
        )
    return 1 if problems else 0
