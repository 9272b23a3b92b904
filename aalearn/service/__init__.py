"""The service: sources that never end, through intake into the store, for months."""

from aalearn.service.follower import Follower
from aalearn.service.loop import Choose, run
from aalearn.service.options import ServiceOptions

__all__ = ["Choose", "Follower", "ServiceOptions", "run"]
