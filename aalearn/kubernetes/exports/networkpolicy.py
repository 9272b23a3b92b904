"""`networkpolicy`: a default-deny for the directions of traffic that were never needed. Only a suggestion."""

from collections.abc import Sequence
from typing import ClassVar

from aalearn.kubernetes.exports.base import Choice, Exported, Exporter, File, Outgoing, Report, register
from aalearn.kubernetes.exports.yaml import dump
from aalearn.kubernetes.naming import DIGITS
from aalearn.kubernetes.netpol import policy, traffic
from aalearn.model.errors import UsageError
from aalearn.model.event import Access


@register
class NetworkPolicy(Exporter):
    """One policy for the Pods of one selector, from all profiles of their containers together."""

    format: ClassVar[str] = "networkpolicy"
    help: ClassVar[str] = "a suggested default-deny NetworkPolicy"

    def export(self, profiles: Sequence[Outgoing], choice: Choice) -> Exported:
        if not choice.selector:
            raise UsageError("a NetworkPolicy needs the Pods' labels: --selector app=web")
        seen = traffic(access for one in profiles for access in _accesses(one))
        if seen.unknown:
            raise UsageError(f"nothing can be said of the network: {seen.unknown}")
        reports = tuple(Report(one.learned, one.name) for one in profiles)
        if not seen.closed:
            return Exported((), reports, "yaml", ("both directions are used, so there is nothing to deny by default",))
        name = f"{profiles[0].name[: -DIGITS - 1]}-network"
        made = policy(name, choice.namespace, choice.selector, [one.learned for one in profiles], seen)
        notes = [
            f"suggested: {' and '.join(seen.closed)} denied, as no learned event used that; read it before you apply it"
        ]
        if not seen.events:
            notes.append("no event of a network socket at all: a profile that already permits the network logs none")
        return Exported((File(f"{name}.yaml", dump([made])),), reports, "yaml", tuple(notes))


def _accesses(one: Outgoing) -> list[Access]:
    return list({learned.access.id: learned.access for learned in one.synthesis.learned}.values())
