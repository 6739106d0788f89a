"""Proof by destruction: random journeys while everything fails, and a checker of what is left of it."""
