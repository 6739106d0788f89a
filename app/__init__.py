"""rentgate: a REST gateway in front of SMSPVA's number rental API."""
