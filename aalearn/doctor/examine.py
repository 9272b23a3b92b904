"""All checks, one after the other."""

from collections.abc import Iterable

from aalearn.doctor import ears, kernel, logs, memory, places  # noqa: F401 - each registers its checks
from aalearn.doctor.finding import CHECKS, Ask, Finding, Level
from aalearn.doctor.host import Host

ORDER = (
    *("kernel", "apparmor", "parser", "features", "audit", "rate limits", "permissions", "sources"),
    *("disk", "clock", "store", "service", "containers", "kubelet"),
)


def examine(host: Host, ask: Ask) -> tuple[Finding, ...]:
    """Return what all checks find, in their fixed order."""
    return tuple(finding for name in ORDER for finding in CHECKS[name](host, ask))


def healthy(findings: Iterable[Finding]) -> bool:
    """Return whether nothing has to be mended."""
    return all(finding.level is not Level.PROBLEM for finding in findings)
