"""What follows the pipeline: a whole run, publish, promote, materialize, and what is known of a version afterwards.

`run` runs the pipeline and then `deliver`: `publish` (one version for each fingerprint, with its `provenance`),
`promote` (moves an alias), `materialize`. `conditions.judge` lists everything a candidate must meet; `compare` holds
it against the champion and the anchor on the rows of the holdout that these were not trained on, and `paired` says how
sure a difference is; `history` keeps decisions, `audit` every move of an alias, which `adapters.mlflow.Store` asks to
be recorded. `lineage` and `reproduce` read what was recorded.
"""
