"""Whether one policy permits all that another does: the quick answer against the one with witnesses."""

import pytest

from aalearn.policy.ask.base import Subject
from aalearn.policy.compare import covered, extra
from aalearn.policy.compiler import Parser
from aalearn.policy.features import Features
from aalearn.policy.gate import Target

pytestmark = pytest.mark.parser

RULES = (
    "",
    "/a r,",
    "/a rw,",
    "owner /a rw,",
    "/* r,",
    "/** rw,",
    "/a ix,",
    "/a Px,",
    "/a Px -> b,",
    "/a l,",
    "link /a -> /b,",
    "link /* -> /**,",
    "capability kill,",
    "capability,",
    "network inet stream,",
    "network,",
    "signal send set=(term) peer=x,",
    "signal,",
    "ptrace read peer=y,",
    "ptrace,",
    "dbus send bus=system path=/a interface=b.c member=d,",
    "dbus,",
    "mount fstype=tmpfs -> /mnt/,",
    "mount,",
    "change_profile -> b,",
    'unix connect type=stream peer=(addr="@a"),',
    "unix connect type=stream peer=(label=a),",
    "unix,",
)
# What words can't tell apart, because sockets are told by family and type alone.
SOCKETS = {rule for rule in RULES if rule.startswith("unix") or rule == "network,"}


@pytest.fixture(scope="module")
def compiled() -> dict[str, Subject]:
    target = Target(Parser.find(), Features.of_abi("3.0", None))
    text = "abi <abi/3.0>,\n" + "".join(f"profile r{at} {{\n{rule}\n}}\n" for at, rule in enumerate(RULES))
    found = target.subjects(text)
    return {rule: found[f"r{at}".encode()] for at, rule in enumerate(RULES)}


@pytest.mark.parametrize("rule", RULES)
def test_it_agrees_with_the_witnesses(compiled: dict[str, Subject], rule: str) -> None:
    for other in RULES:
        said, witnesses = covered(compiled[rule], compiled[other]), extra(compiled[rule], compiled[other])
        if rule in SOCKETS and other in SOCKETS:
            assert not (said and witnesses)
        else:
            assert said == (not witnesses), (rule, other, witnesses)


@pytest.mark.parametrize(
    ("rule", "other", "expected"),
    [
        ("/a r,", "/a rw,", True),
        ("/a rw,", "owner /a rw,", False),
        ("/* r,", "/** rw,", True),
        ("capability kill,", "capability,", True),
        ("signal send set=(term) peer=x,", "signal,", True),
        (RULES[-3], "unix,", True),
        (RULES[-3], RULES[-2], False),
        ("unix,", RULES[-3], False),
        ("unix,", "network,", True),
        ("/a ix,", "/a Px,", False),
        ("/a Px,", "/a Px -> b,", False),
    ],
)
def test_known_answers(compiled: dict[str, Subject], rule: str, other: str, expected: bool) -> None:
    assert covered(compiled[rule], compiled[other]) is expected
