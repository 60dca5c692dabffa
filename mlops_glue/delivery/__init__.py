"""Effects, each idempotent and keyed by the fingerprint of the pipeline result."""
