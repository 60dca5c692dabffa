"""Facts about a project, for a reader: its page, and what a pull request changes."""
