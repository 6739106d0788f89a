"""rentgate: a REST gateway in front of SMSPVA's number rental API."""

__version__ = "0.1.0"
