"""Foreign values that look like policy: in each place they stay values, as a fully escaped spelling of them does."""

import pytest

from aalearn.model.pattern import Pattern
from aalearn.rules.base import Rule
from aalearn.rules.change_profile import ChangeProfileRule
from aalearn.rules.dbus import DbusRule
from aalearn.rules.file import FileRule
from aalearn.rules.link import LinkRule
from aalearn.rules.mount import MountRule
from aalearn.rules.pivot_root import PivotRootRule
from aalearn.rules.ptrace import PtraceRule
from aalearn.rules.remount import RemountRule
from aalearn.rules.signal import SignalRule
from aalearn.rules.umount import UmountRule
from aalearn.rules.unix import UnixRule
from tests.rules.compiling import Compiler

_TEXT = r"""in set peer label options option fstype type addr none all auto name bus path interface member fstype=x
options=rw LABEL=x peer=x a=b = x= - -> audit deny owner allow include if else file network safe unsafe send read bind
=x ~ % + += a+=b abi profile hat subset to link unconfined 0 1.2 : :x x: set= in= error rw r ix mount oldroot=x lt and
defined true #include include<x> {} {a,b} * ** ? [a] ^x @{HOME} ${x} , ,, x, "x \ \\ x\ x\" """
WORDS = _TEXT.split()
RW = frozenset({"rw"})
A = Pattern.literal(b"/a")


def _rule(place: str, value: Pattern) -> Rule:
    path = Pattern.literal(b"/" + value.literal_bytes)
    talk = frozenset({"send"})
    rules: dict[str, Rule] = {
        "file": FileRule(path, frozenset("r")),
        "owner": FileRule(path, frozenset("r"), owner=True),
        "exec": FileRule(path, exec="ix"),
        "link name": LinkRule(path, A),
        "link target": LinkRule(A, path),
        "umount": UmountRule(path),
        "remount": RemountRule(RW, path),
        "new root": PivotRootRule(path, A),
        "old root": PivotRootRule(A, path),
        "mount target": MountRule(RW, target=path),
        "mount source": MountRule(RW, source=value, target=A),
        "mount source with a type": MountRule(RW, A, value, A),
        "fstype": MountRule(RW, value, A, A),
        "signal": SignalRule(talk, None, value),
        "ptrace": PtraceRule(frozenset({"read"}), value),
        "change_profile": ChangeProfileRule(value),
        "stack": ChangeProfileRule(value, stack=True),
        "bus": DbusRule(talk, bus=value),
        "dbus path": DbusRule(talk, path=path),
        "interface": DbusRule(talk, interface=value),
        "member": DbusRule(talk, member=value),
        "dbus name": DbusRule(talk, name=value),
        "dbus peer": DbusRule(talk, peer=value),
        "bound name": DbusRule(frozenset({"bind"}), name=value),
        "address": UnixRule(frozenset({"bind"}), "stream", Pattern.literal(b"@" + value.literal_bytes)),
        "peer address": UnixRule(frozenset({"connect"}), "stream", None, Pattern.literal(b"@" + value.literal_bytes)),
        "unix peer": UnixRule(frozenset({"connect"}), "stream", peer=value),
    }
    return rules[place]


PLACES = [
    *("file", "owner", "exec", "link name", "link target", "umount", "remount", "new root", "old root", "mount target"),
    *("mount source", "mount source with a type", "fstype", "signal", "ptrace", "change_profile", "stack", "bus"),
    *(
        "dbus path",
        "interface",
        "member",
        "dbus name",
        "dbus peer",
        "bound name",
        "address",
        "peer address",
        "unix peer",
    ),
]


@pytest.mark.parser
@pytest.mark.parametrize("place", PLACES)
def test_words_stay_values(place: str, compiler: Compiler) -> None:
    """The text with the foreign value compiles to what the same text with the value all in octal compiles to."""
    texts, references = [], []
    for word in WORDS:
        text = _rule(place, Pattern.literal(word.encode())).text()
        plain = _rule(place, Pattern.literal(b"zZz")).text()
        octal = "".join(f"\\{byte:03o}" for byte in word.encode())
        before, after = plain.split("zZz")
        start = max(before.rfind(" "), before.rfind("="), before.rfind("(")) + 1
        ends = [at for at in (after.find(" "), after.find(","), after.find(")")) if at >= 0]
        stop = min(ends)
        reference = f'{before[:start]}"{before[start:]}{octal}{after[:stop]}"{after[stop:]}'
        texts.append(text)
        references.append(reference)
    assert compiler.blob(texts) == compiler.blob(references)
