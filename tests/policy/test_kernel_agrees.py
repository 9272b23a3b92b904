"""The oracle against real kernels: what 6.1, 6.12 and 7.2 logged of a profile is what the oracle says of it.

Each ALLOWED record of complain mode, and each DENIED one, tells that the kernel found no permission; each AUDIT record
that it found one. The profiles stand beside the logs.
"""

import lzma
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from aalearn.grammar.lines import Lines, Sighting
from aalearn.model.errors import PolicyError
from aalearn.model.event import Event, Verdict
from aalearn.policy.compiler import Parser
from aalearn.policy.features import Features
from aalearn.policy.gate import subjects
from aalearn.policy.oracle import Oracle
from tests.conftest import ROOT

LOGS = ROOT / "tests" / "data" / "logs"
FOLDERS = sorted(
    path.parent for path in LOGS.glob("*/*/learning-profile.aa") if (path.parent / "audit.log.xz").is_file()
)
KERNELS = sorted({folder.parent.name for folder in FOLDERS})
# What records alone, or this policy alone, can't decide; each reason is expected by its words.
UNKNOWABLE = ("does not mediate", "does not name the file", "whether it is loaded")


def records(folder: Path) -> Iterator[tuple[Event, bool | None]]:
    """Yield the different events of a folder's log, each once."""
    lines, seen = Lines(), set()
    for line in lzma.decompress((folder / "audit.log.xz").read_bytes()).split(b"\n"):
        found = lines.read(line)
        if isinstance(found, Sighting):
            event, owner = found.entry.need, found.entry.owner
            if (event, owner) not in seen:
                seen.add((event, owner))
                yield event, owner


@pytest.mark.real
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_decision_of_the_kernel(parser: Parser, trixie_base: Path, kernel: str) -> None:
    base = trixie_base if parser.version >= (4, 0) else Path("/etc/apparmor.d")
    features = Features.of_file(base / "abi" / ("4.0" if parser.version >= (4, 0) else "3.0"))
    agreed: Counter[str] = Counter()
    wrong = []
    for folder in (one for one in FOLDERS if one.parent.name == kernel):
        try:
            text = folder / "learning-profile.aa"
            oracles = {
                name: Oracle.of(subject)
                for name, subject in subjects(
                    parser.compile(text, features=features, base=base, strict=False).blob
                ).items()
            }
        except PolicyError as error:  # a flag that the older parser does not know
            assert parser.version < (4, 0) and "default_allow" in str(error)
            continue
        for event, owner in records(folder):
            oracle = oracles.get(event.profile)
            if oracle is None or event.verdict not in (Verdict.ALLOWED, Verdict.DENIED, Verdict.AUDIT):
                continue
            answer = oracle.ask(event, owner)
            expected = "allowed" if event.verdict is Verdict.AUDIT else "denied"
            if answer.verdict == expected:
                agreed[expected] += 1
            elif answer.verdict != "unproved" or not any(words in answer.why for words in UNKNOWABLE):
                wrong.append(f"{folder.name}: {event.verdict} {event.operation} {event.fields}: {answer}")
    assert not wrong, "\n".join(wrong[:20])
    assert agreed["denied"] > 20
