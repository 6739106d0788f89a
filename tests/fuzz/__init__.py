"""Fuzzing: what an OpenAPI document promises, held against the running gateway by thousands of requests."""
