"""Everything after the pipeline: a complete run, publish, promote, materialize, and the records of a version.

`run` runs the pipeline and then `deliver`: `publish` (one version for each fingerprint, with its `provenance`),
`promote` (moves an alias), `materialize`.

Promotion: `conditions.judge` checks all conditions for a candidate, as `condition.Condition`s, which the pull request
report also uses. The conditions that are not met are the refusals, and `history.keep` adds all conditions to
`promotion.json`. `contract` finds changes that break callers, and `shadow` reads the predictions of a shadow. `compare`
compares a candidate with the champion by `promote.metric` or the task's first metric, on the holdout without the rows
that the champion was trained on (if fewer than 20 are left, a run refuses, and a person may promote).
`paired.finding`: worse if the interval of the gain ends below -slack or the score is undefined, better if it begins
above 0, else no difference shown. A candidate is refused if it is worse than the champion or the anchor, and under
`promote.rule: better` if it is not better.

`history` stores decisions. `audit` records every alias move and every signature, called by `adapters.mlflow.Store`;
`audit_check` compares the record with the registry. `lineage` and `reproduce` read the records.

`sides` resolves the arguments of `glue compare` and reads their records; `side_by_side` finds the differences, and
compares all models on one holdout with `compare.measured`.
"""
