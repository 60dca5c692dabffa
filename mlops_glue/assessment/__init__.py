"""Where a repository stands, from what is in it: nothing is run, followed or changed.

`scan.collect` finds: Python by `python`, files and dependencies itself, CI by `ci`, glue's own projects by
`glue_projects` (a key counts once it was exercised). What counts is rows of `capabilities.toml`. To add a tool, add a
row there: in `python` (or `files`, `commands`, `actions`), and its package in `hints`.

`evidence` keeps the sightings and ranks them. Only a hint is what is imported or required and not used, a file's name,
what stands in an example, in tests (but for tests, lint and data validation), or in a notebook alone (training,
endpoint, pipeline, container). `judge` makes levels and next steps of the answers.
"""
