"""Idempotency keys: the same request again gets the same answer, and nothing happens twice."""
