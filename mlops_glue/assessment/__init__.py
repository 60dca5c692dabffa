"""Where a repository stands, from what is in it: nothing is run, followed or changed."""
