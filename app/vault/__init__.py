"""The vault: tenants' upstream keys, encrypted; they go in and never come out through any answer."""
