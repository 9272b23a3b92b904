"""Checks of the store: can it be read, does it hold, and what is known to be lost."""

from collections.abc import Iterator

from aalearn.doctor.finding import Ask, Finding, Level, check
from aalearn.doctor.host import Host
from aalearn.model.errors import AalearnError
from aalearn.model.text import shown
from aalearn.sources.remedies import remedy
from aalearn.store import Store


@check("store")
def store(_: Host, ask: Ask) -> Iterator[Finding]:
    """Can the store be read."""
    if ask.store is None:
        return
    name = shown(str(ask.store))
    if not ask.store.exists():
        yield Finding("store", Level.NOTE, f"there is no store at {name} yet", "aalearn ingest LOG…")
        return
    try:
        with Store.open(f"sqlite:///{ask.store}", readonly=True) as opened:
            losses = opened.losses()
            profiles = len(opened.profiles())
    except AalearnError as error:
        yield Finding("store", Level.PROBLEM, str(error), "sudo aalearn db check")
        return
    yield Finding("store", Level.OK, f"the store {name} holds {profiles:,} profiles")
    sums: dict[str, tuple[int, int]] = {}
    for loss in losses:
        times, amount = sums.get(loss.kind, (0, 0))
        sums[loss.kind] = (times + 1, amount + loss.amount)
    for kind, (times, amount) in sorted(sums.items()):
        text = f"records were lost by {shown(kind)}: {times:,} times, at least {amount:,} records"
        yield Finding("store", Level.PROBLEM, text, remedy(kind))
