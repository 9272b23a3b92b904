"""The check of sources: which ones the service would use here."""

from collections.abc import Iterator
from pathlib import Path

from aalearn.doctor.finding import Ask, Finding, Level, check
from aalearn.doctor.host import Host
from aalearn.model.errors import AalearnError
from aalearn.sources.auto import choose


@check("sources")
def sources(host: Host, ask: Ask) -> Iterator[Finding]:
    """Ask the very choice that the service makes, with the rights of this user."""
    if host.root != Path("/"):
        return
    try:
        found = choose(ask.sources, "")
    except AalearnError as error:
        yield Finding("sources", Level.PROBLEM, str(error), "sudo apt-get install auditd; run as root or in group adm")
        return
    for line in found.told:
        yield Finding("sources", Level.OK, line)
