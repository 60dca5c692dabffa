"""Infer, plan, render, record, merge and undo what glue writes into a project.

`new_project` (`glue init`; its docstring lists the files) and `adopt` infer the answers that the templates take
(`infer`, `plan`; for an existing repository also `adopted_repository`, `script` and `choose`). `merge.written` writes
and records all files (`manifest`), and `undo.undone_on_failure` removes or restores them if anything fails.
`workflows` (`glue ci`), `upgrade` and `package` (with `package_folder`) work in the same way.
"""
