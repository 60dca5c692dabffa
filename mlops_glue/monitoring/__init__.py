"""What was served: the window of rows, drift, performance, alerts, retraining, and what is left of each run.

`run` goes through it: `window` (which rows of the log), `observe` (each version's rows against its reference), `drift`
(the limits; the distances themselves are in `mlops_glue.drift`, and the pull-request report uses both), `performance`
and `labels`, then the verdict. `alerts` sends it, by the channels of `alerts.channels`, which also serve
`--test-alert`. Retraining begins in `run`, where `monitor.on_alert` has it and the verdict alerts;
`retrain_limits.why_not` stops it; `retrain` does it.
"""
