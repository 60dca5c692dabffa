"""One third-party tool a file; they do not know each other."""
