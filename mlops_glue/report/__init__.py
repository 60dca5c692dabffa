"""Facts about a project, for a reader: its page, and what a pull request changes.

`facts` reads what the stages, the registry and the monitor left, once; `project` and `pipeline` collect it, `profile`
describes the data, `site` makes the pages of it and `ui` serves them,
`pull_request` the report on a change (`base`: the other commit), `card` the model card, `lineage` where a version
comes from, `health` what `glue doctor` finds, `side_by_side` the tables of `glue compare`.
"""
