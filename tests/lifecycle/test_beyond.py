"""What a forged text has that no permission shows: a mode, an attachment, denials that nobody hears of."""

from pathlib import Path

import pytest

from aalearn.lifecycle.judge import Judge
from aalearn.lifecycle.proving import Beyond, beyond, unenforced
from aalearn.policy.cache import Cache
from aalearn.policy.compiler import Parser
from aalearn.policy.features import Features
from tests.conftest import require
from tests.policy import trixie

pytestmark = pytest.mark.parser

FRESH = """\
abi <abi/3.0>,
profile app /usr/bin/app {
  /etc/app.conf r,
  /srv/** rwl,
  capability chown,
  network inet stream,
  signal (send) peer=other,
}
"""


@pytest.fixture(scope="module")
def judge() -> Judge:
    features = Features.of_abi("3.0", None)
    parser = Parser.find()
    return Judge(parser, features, features.target(parser.version, "3.0"))


@pytest.fixture(scope="module")
def trixie_judge() -> Judge:
    """Debian 13's parser with its own base folder."""
    try:
        parser, base = Parser(trixie.parser(), Cache(None)), trixie.base()
    except trixie.TrixieError as error:
        require(f"Debian 13's AppArmor ({error})", None)
        raise
    features = Features.of_abi("3.0", base)
    return Judge(parser, features, features.target(parser.version, "3.0"), base)


def asked(judge: Judge, text: str, fresh: str = FRESH) -> Beyond:
    made = judge.compile(fresh, strict=False)
    assert made.compiled is not None
    return beyond(text, judge.compile(text, strict=False), fresh, made.compiled.blob)


def test_the_same_text_is_within(judge: Judge) -> None:
    assert asked(judge, FRESH) == Beyond((), within=True)
    less = FRESH.replace("  capability chown,\n", "").replace("  /etc/app.conf r,\n", "")
    assert asked(judge, less).within


@pytest.mark.parametrize("mode", ["unconfined", "kill", "complain"])
def test_a_mode_that_does_not_enforce(judge: Judge, mode: str) -> None:
    text = FRESH.replace("app {", f"app flags=({mode}) {{")
    found = asked(judge, text)
    assert not found.within
    assert f"app: {mode} mode" in found.more
    assert unenforced(judge.compile(text)) == (f"app is in {mode} mode",)
    assert unenforced(judge.compile(FRESH)) == ()


def test_the_mode_of_a_child(judge: Judge) -> None:
    def with_child(flags: str) -> str:
        return f"{FRESH.rstrip().removesuffix('}')}  profile child{flags} {{\n    /a r,\n  }}\n}}\n"

    assert asked(judge, with_child(""), with_child("")).within
    found = asked(judge, with_child(" flags=(unconfined)"), with_child(""))
    assert found.more == ("app//child: unconfined mode",)


def test_default_allow(trixie_judge: Judge) -> None:
    text = FRESH.replace("app {", "app flags=(default_allow) {")
    assert "app: unconfined mode" in asked(trixie_judge, text).more
    assert unenforced(trixie_judge.compile(text)) == ("app is in unconfined mode",)


@pytest.mark.parametrize(
    ("attachment", "loose"), [("", True), ("/usr/bin/other", False), ("/usr/bin/[b-z]pp", False), ("/nowhere", False)]
)
def test_an_attachment_that_was_taken_away(judge: Judge, attachment: str, *, loose: bool) -> None:
    found = asked(judge, FRESH.replace("app /usr/bin/app {", f"app {attachment} {{"))
    assert "app: it does not attach to /usr/bin/app any more" in found.more
    assert bool(found.loose) is loose
    assert not found.within


def test_a_wider_attachment(judge: Judge) -> None:
    found = asked(judge, FRESH.replace("app /usr/bin/app {", "app /usr/bin/a* {"))
    assert any(one.startswith("app: attachment /usr/bin/a") for one in found.more)
    assert (found.within, found.loose) == (False, ())


def test_a_profile_that_attaches_by_its_name(judge: Judge) -> None:
    fresh = FRESH.replace("profile app /usr/bin/app {", "profile /usr/bin/app {")
    assert asked(judge, fresh, fresh).within
    found = asked(judge, fresh.replace("/usr/bin/app {", "/usr/bin/app /nowhere {"), fresh)
    assert "/usr/bin/app: it does not attach to /usr/bin/app any more" in found.more


@pytest.mark.parametrize(
    "rule",
    [
        "deny /** wl,",
        "deny /etc/shadow r,",
        "deny owner /home/** r,",
        "deny /a l,",
        "deny link /a -> /b,",
        "deny /usr/bin/* x,",
        "deny capability sys_admin,",
        "deny network inet dgram,",
        "deny signal (receive),",
        "deny ptrace,",
        "deny mount,",
        "deny unix,",
        "deny dbus,",
        "deny /srv/** w,\n  allow /srv/** w,",
    ],
)
def test_denials_that_nobody_would_hear_of(judge: Judge, rule: str) -> None:
    text = f"{FRESH.rstrip().removesuffix('}')}  {rule}\n}}\n"
    found = asked(judge, text)
    assert not found.within, rule
    assert any("silent denial" in one or "without a record" in one for one in found.more), found.more
    assert asked(judge, text, text).within


def test_a_denial_that_is_logged_is_less_and_no_more(judge: Judge) -> None:
    assert asked(judge, f"{FRESH.rstrip().removesuffix('}')}  audit deny /srv/secret w,\n}}\n").within


@pytest.mark.parametrize("flag", ["attach_disconnected", "mediate_deleted", "chroot_relative"])
def test_flags(judge: Judge, flag: str) -> None:
    assert "app: flags that weaken it" in asked(judge, FRESH.replace("app {", f"app flags=({flag}) {{")).more


def test_extended_attributes(root: Path) -> None:
    judge = Judge.find(features=root / "tests/data/features/kernel-6.1.abi")
    text = FRESH.replace("app {", "app xattrs=(user.trusted=yes) {")
    assert "app: it attaches by other extended attributes" in asked(judge, text).more
