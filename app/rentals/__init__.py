"""Rentals: one number, of one upstream account, for one time."""
