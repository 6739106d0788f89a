"""Jobs: work that a transaction defers, and that any background process does once it is committed."""
