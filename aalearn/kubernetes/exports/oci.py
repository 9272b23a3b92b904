"""`oci`: the part of an OCI runtime's config.json that names the profile, and the profile.

Source: the runtime specification, config-linux.md, `process.apparmorProfile`.
"""

import json
from collections.abc import Sequence
from typing import ClassVar

from aalearn.kubernetes.exports.base import Choice, Exported, Exporter, File, Outgoing, register
from aalearn.kubernetes.exports.runtimes import report


@register
class Oci(Exporter):
    """A JSON fragment and a profile, a file each."""

    format: ClassVar[str] = "oci"
    help: ClassVar[str] = "the fragment of config.json that names the profile, and the profile"

    def export(self, profiles: Sequence[Outgoing], _choice: Choice) -> Exported:
        files = []
        for one in profiles:
            fragment = json.dumps({"process": {"apparmorProfile": one.name}}, indent=2) + "\n"
            files += [File(f"{one.name}.config.json", fragment), File(one.name, one.text)]
        how = "merge the fragment into the bundle's config.json; runc and crun refuse a profile that is not loaded"
        return Exported(tuple(files), tuple(report(one, how) for one in profiles))
