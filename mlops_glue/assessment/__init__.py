"""Assess the MLOps maturity of a repository from its files; no code runs, no link is followed, nothing changes.

`scan.collect` collects the evidence: it reads files and dependencies itself, Python through `python`, CI through `ci`
and glue's own projects through `glue_projects` (a key counts once a run has used it). The rows of `capabilities.toml`
define what counts as evidence. To add a tool, add a row to `python` (or `files`, `commands`, `actions`) and its
package to `hints`.

`evidence` keeps the sightings and ranks them. These are only hints: a package that is imported or required but not
used, a file name, code in an example, code in tests (except for tests, lint and data validation), and training,
endpoint, pipeline or container code that is only in a notebook. `judge` turns the answers into levels and next steps.
"""
