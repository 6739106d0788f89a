"""The running gateway and the sandbox, as the acceptance tests have them."""

from tests.acceptance.conftest import gateway, sandbox, served_sandbox, settings

__all__ = ["gateway", "sandbox", "served_sandbox", "settings"]
