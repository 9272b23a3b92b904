"""Tests of aalearn.sources."""
