"""`raw`: each profile as a text file of its own, for apparmor_parser or any other way of distribution."""

from collections.abc import Sequence
from typing import ClassVar

from aalearn.kubernetes.exports.base import Choice, Exported, Exporter, File, Outgoing, Report, register


@register
class Raw(Exporter):
    """Files named as their profiles."""

    format: ClassVar[str] = "raw"
    help: ClassVar[str] = "the profile's text, a file each"

    def export(self, profiles: Sequence[Outgoing], _choice: Choice) -> Exported:
        files = tuple(File(one.name, one.text) for one in profiles)
        return Exported(files, tuple(Report(one.learned, one.name) for one in profiles))
