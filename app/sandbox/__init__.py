"""A server that speaks the upstream's language, with state, faults and a ledger: for demos and for tests."""

from app.sandbox.options import SandboxOptions
from app.sandbox.server import create_sandbox

__all__ = ["SandboxOptions", "create_sandbox"]
