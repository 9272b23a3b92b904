"""The mouth: sources through the grammar into the store, each event counted once, in one bounded loop."""

from aalearn.intake.engine import Intake, ingest
from aalearn.intake.summary import Limits, Options, Progress, Reporter, Summary

__all__ = ["Intake", "Limits", "Options", "Progress", "Reporter", "Summary", "ingest"]
