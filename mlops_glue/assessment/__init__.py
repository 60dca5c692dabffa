"""Where a repository stands, from what is in it: nothing is run, followed or changed.

`scan.collect` finds: Python by `python`, files and dependencies itself, CI by `ci`, glue's own projects by
`glue_projects` (a key counts once it was exercised). What counts is rows of `capabilities.toml`: add a tool there.
`evidence` keeps the sightings, says which are only a hint (imported, required, by a name, in tests, in an example, in
a notebook alone) and ranks them; `judge` makes levels and next steps of the answers.
"""
