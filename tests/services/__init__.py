"""Tests with further real servers and tools: Node.js, PgBouncer, Redis. Run by `make test-services`."""
