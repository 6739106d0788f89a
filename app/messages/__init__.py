"""Messages: every SMS that the upstream has shown once, kept, once."""
