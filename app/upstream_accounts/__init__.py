"""A tenant's accounts at the upstream: added, changed, verified and deleted, whoever asks for it."""
