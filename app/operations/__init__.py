"""The money ledger: every paid or changing upstream call as an operation with a settled outcome."""
