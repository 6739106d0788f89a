"""The clock comes in here: looking at accounts, settling what is unknown, closing what was left behind."""
