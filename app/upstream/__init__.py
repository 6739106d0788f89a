"""The provider, and nobody else knows it: its transport, its payloads, its calls, its refusals."""
