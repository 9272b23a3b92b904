"""Each kind of loss is told with a mend."""

import re
from pathlib import Path

from aalearn.grammar.words import record_words
from aalearn.sources.remedies import remedies, remedy


def test_every_kind_has_a_mend(root: Path) -> None:
    told = {sign.name for sign in record_words().losses} | {"truncated"}
    for source in (root / "aalearn/sources").glob("*.py"):
        text = source.read_text()
        told |= set(re.findall(r'_lose\(\s*"([a-z-]+)"', text))
        told |= set(re.findall(r'_joint = "([a-z-]+)"', text))
        told |= set(re.findall(r'"(copytruncate|rotated-away)"', text))
    assert told <= set(remedies())
    for kind in told:
        assert remedies()[kind].mend
        assert "\n" not in remedy(kind)


def test_an_unknown_kind() -> None:
    assert remedy("new\x1b[31m") == "records were lost (new\\x1b[31m)"
