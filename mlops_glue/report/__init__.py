"""Reports for people: the project's pages, and the report on a pull request.

`facts` reads the results of the stages, the registry and the monitor; `project` and `pipeline` collect them, `profile`
describes the data, `site` builds the pages and `ui` serves them. `pull_request` builds the report on a change (`base`:
the commit to compare with), `card` the model card, `lineage` the origin of a version, `health` the findings of
`glue doctor`, and `side_by_side` the tables of `glue compare`.
"""
