"""Monitoring of served predictions: the window of rows, drift, performance, alerts, retraining, and run records.

`run` performs the steps: `window` (selects rows of the log), `observe` (compares each version's rows with its
reference), `drift`, `performance` and `labels`, then the verdict.

Drift: `mlops_glue.drift` measures distances (for categories the Jensen-Shannon distance, with rare values in one bucket
and nulls apart). `monitoring.drift.compare` reports drift above the configured limit, or above the noise if that is
larger. The pull request report uses the same rule, but compares with the base commit's table and with equal weights, so
its numbers are different (`tables.compared`).

Alerts: `alerts.channels` builds every channel of `config.monitoring.Alerts`; `alerts.notify` and `--test-alert` use
them to send.

Retraining: `run` starts it if `monitor.on_alert` contains retrain and the verdict is drift or performance for a version
that still answers requests. `retrain_limits.why_not` prevents it after a number of consecutive refusals (`max_refused`,
3), within the `cooldown` (24h), with fewer than `min_labelled` (500) new labelled rows, and with `append` fewer than
100. So does another retraining in progress. `retrain` trains; a job on GitHub only requests train.yml.
"""
