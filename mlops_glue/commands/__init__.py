"""One user action a file; each composes what is below and returns an exit code."""
