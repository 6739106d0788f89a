"""The kinds of operations: one file for each, with all that is said of that kind alone."""
