"""What was served: the window of rows, drift, and what is left of each run."""
