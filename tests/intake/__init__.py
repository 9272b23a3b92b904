"""Tests of aalearn.intake."""
