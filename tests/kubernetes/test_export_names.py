"""Names with versions: other rules are another name, and the profile, its children and its peers carry it."""

from dataclasses import replace

import pytest

from aalearn.kubernetes.naming import DIGITS, base_of, checked_base, relabel
from aalearn.model.errors import UsageError
from tests.kubernetes.exported import made
from tests.learn.accesses import Made


@pytest.mark.parametrize(
    ("name", "base"),
    [
        (b"web", "web"),
        (b"wl_ct_ix", "wl-ct-ix"),
        (b"/usr/sbin/nginx", "usr-sbin-nginx"),
        (b"Web--App__", "web-app"),
        (b"...", "profile"),
        (b"a" * 100, "a" * 40),
    ],
)
def test_bases(name: bytes, base: str) -> None:
    assert base_of(name) == base


def test_a_chosen_base_is_checked() -> None:
    assert checked_base("shop.web-1") == "shop.web-1"
    for wrong in ("Web", "-web", "web_1", "../x", "a b", "", "a\n", "x" * 201):
        with pytest.raises(UsageError):
            checked_base(wrong)


def test_labels() -> None:
    old = [b"p", b":ns:p"]
    assert relabel(b"p", old, "web-1") == b"web-1"
    assert relabel(b"p//child", old, "web-1") == b"web-1//child"
    assert relabel(b"p//child", old, "web-1", flat=True) == b"web-1"
    assert relabel(b"p//&unconfined", old, "web-1") == b"web-1//&unconfined"
    assert relabel(b"pq", old, "web-1") == b"pq"
    assert relabel(b":other:p", old, "web-1") == b":other:p"


def _log() -> Made:
    log = Made()
    log.file("/etc/hosts")
    log.exec("/usr/bin/tool")
    log.add("capable", profile="p//null-/usr/bin/tool", class_="cap", capname="chown", capability="0")
    for mask in ("send", "receive"):
        log.add("signal", class_="signal", requested_mask=mask, denied_mask=mask, signal="term", peer="p")
    log.add("signal", class_="signal", requested_mask="send", denied_mask="send", signal="hup", peer="other")
    log.add("ptrace", class_="ptrace", requested_mask="read", denied_mask="read", peer="p//null-/usr/bin/tool")
    log.add("change_profile", class_="file", target="p//other", requested_mask="", name="p//other")
    return log


@pytest.mark.parser
@pytest.mark.parametrize("container", [True, False])
def test_the_text_carries_the_name_everywhere_and_is_proved_again(apparmor_parser: str, container: bool) -> None:
    one = made(_log().all, apparmor_parser, container=container)
    assert one.name.startswith("p-")
    assert len(one.name) == DIGITS + 2
    assert one.proof.proved, one.proof.failures
    assert one.proof.blocks[0] == one.name
    assert f"peer={one.name}," in one.text
    assert "peer=p," not in one.text
    assert "peer=other," in one.text
    assert f"profile {one.name} flags=(complain" in one.text
    if not container:
        assert f"peer={one.name}//tool," in one.text
        assert "/usr/bin/tool Cx -> tool," in one.text


@pytest.mark.parser
def test_the_name_changes_with_the_rules_alone(apparmor_parser: str) -> None:
    first = made(_log().all, apparmor_parser)
    assert made(_log().all, apparmor_parser, enforce=True).name == first.name
    more = [replace(access, count=access.count + 5, last=access.last + 1) for access in _log().all]
    again = made(more, apparmor_parser)
    assert again.text != first.text  # the header tells the number of events
    assert again.name == first.name
    log = _log()
    log.file("/etc/passwd")
    assert made(log.all, apparmor_parser).name != first.name
