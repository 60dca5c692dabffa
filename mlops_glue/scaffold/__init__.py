"""What `glue adopt` reads of a repository that is there, to write a `glue.yaml` for it."""
