"""What follows the pipeline: a whole run, publish, promote, materialize, and what is known of a version afterwards.

`run` runs the pipeline and then `deliver`: `publish` (one version for each fingerprint, with its `provenance`),
`promote` (moves an alias), `materialize`.

Promotion: `conditions.judge` lists everything a candidate must meet, as `condition.Condition`s, which the report of a
pull request makes too; refusals are those that do not hold, and `history.keep` adds all to `promotion.json`. `contract`
says what breaks a caller, `shadow` reads what a shadow said. `compare` holds a candidate against the champion, by
`promote.metric` or the task's first metric, on the holdout without the rows that the champion was trained on (fewer
than 20 left: a run refuses, a person may promote). `paired.finding`: worse where the interval of the gain ends below
-slack or there is no value, better where it begins above 0, else no difference shown. Refused: what is worse than the
champion or than the anchor, and under `promote.rule: better` what is not better.

`history` keeps decisions, `audit` every move of an alias and every signature, which `adapters.mlflow.Store` asks to be
recorded; `audit_check` holds the record against the registry. `lineage` and `reproduce` read what was recorded.

`sides` says what the words of `glue compare` stand for, and what is recorded of each; `side_by_side` what differs, and
what one holdout shows of all of them, by `compare.measured`.
"""
