"""What was served: the window of rows, drift, performance, alerts, retraining, and what is left of each run.

`run` goes through it: `window` (which rows of the log), `observe` (each version's rows against its reference),
`drift`, `performance` and `labels`, then the verdict.

Drift: `mlops_glue.drift` measures (a category by the Jensen-Shannon distance, rare values in one bucket, nulls apart);
`monitoring.drift.compare` calls it drift from the larger of the configured limit and what chance gives. A pull
request's report has the same rule, against the base commit's table and with equal weights, so other numbers
(`tables.compared`).

Alerts: `alerts.channels` makes every channel of `config.monitoring.Alerts`; `alerts.notify` and `--test-alert` both
send by them.

Retraining: `run` begins it where `monitor.on_alert` has retrain and the verdict is drift or performance of a version
that still answers. `retrain_limits.why_not` stops it: so many refused in a row (`max_refused`, 3), `cooldown` (24h),
fewer than `min_labelled` (500) new labelled rows, with `append` fewer than 100. So does another retraining at work.
`retrain` does it; a job on GitHub only asks for train.yml.
"""
