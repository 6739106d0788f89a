"""Measurements, never asserted: what the gateway's routes cost on this machine."""
