"""What glue writes into a project: what it infers and plans, renders, records, merges and takes back.

`new_project` (init; its docstring lists the files) and `adopt` answer the questions (`infer`, `plan`; of a repository
that is there: `adopted_repository`, `script`, `choose`), `plan` says which files there will be, `merge.written` writes
them all and records them (`manifest`), and `undo.undone_on_failure` takes back whatever was written where anything
fails. `workflows` (ci), `upgrade` and `package` (with `package_folder`) say their files in the same way.
"""
