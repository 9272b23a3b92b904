"""Outcomes: from what was learned to a proposal with its proof, and what a profile on disk lacks or over-grants."""
