"""One module or package per third-party tool; none imports another."""
