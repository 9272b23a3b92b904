"""Ears: where records come from. Each source yields chunks of whole lines, a position, and what is known of trust."""

from aalearn.sources.base import Chunk, Missing, Origin, Source
from aalearn.sources.plan import Plan, plan

__all__ = ["Chunk", "Missing", "Origin", "Plan", "Source", "plan"]
