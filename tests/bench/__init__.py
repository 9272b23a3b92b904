"""Measurements: speed and memory, beside our peers."""
