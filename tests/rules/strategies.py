"""One hypothesis strategy a rule kind. A kind without one fails the laws."""

from hypothesis import strategies as st

from aalearn.model.data import words
from aalearn.model.pattern import Literal, Pattern, Star
from aalearn.rules.base import Rule
from aalearn.rules.capability import CapabilityRule
from aalearn.rules.change_profile import ChangeProfileRule
from aalearn.rules.dbus import DbusRule
from aalearn.rules.file import FileRule
from aalearn.rules.io_uring import IoUringRule
from aalearn.rules.link import LinkRule
from aalearn.rules.mount import MountRule, acts, consistent
from aalearn.rules.mqueue import MqueueRule
from aalearn.rules.network import NetworkRule
from aalearn.rules.pivot_root import PivotRootRule
from aalearn.rules.ptrace import PtraceRule
from aalearn.rules.remount import RemountRule
from aalearn.rules.signal import SignalRule
from aalearn.rules.umount import UmountRule
from aalearn.rules.unix import UnixRule
from aalearn.rules.userns import UsernsRule
from tests.model.strategies import paths, patterns

# Few values each, so that two generated rules often have something in common; and hostile bytes of any kind.
HOSTILE = [
    b"/x y",
    b'/x" rw,\n/etc/shadow rw,',
    b"/x\\",
    b"/x\\\\",
    b'/x\\"',
    b"/x,",
    b"/x#c",
    b"/@{HOME}/*",
    b"/\xff{a",
    b"/a r",
]
foreign = st.one_of(
    st.sampled_from([b"/a", b"/b", b"/a/b", *HOSTILE]),
    st.binary(min_size=1, max_size=12).filter(lambda value: 0 not in value),
)
literal_paths = foreign.map(lambda value: Pattern.literal(b"/" + value.lstrip(b"/").replace(b"//", b"/x")))
some_paths = st.one_of(literal_paths, paths, st.just(Pattern.of(Literal(b"/"), Star())))
# Variables are for paths: the parser expands them in few other places.
wild = patterns.filter(lambda pattern: not pattern.variables())
some_labels = st.one_of(
    st.sampled_from([b"a", b"unconfined", b":ns:a", b"a//&b", b"a//null-/x"]).map(Pattern.literal),
    foreign.map(Pattern.literal),
    wild,
)
any_label = st.one_of(st.none(), some_labels)
addresses = st.one_of(
    st.just(Pattern.literal(b"none")),
    foreign.map(lambda value: Pattern.literal(b"@" + value)),
    wild.map(lambda pattern: Pattern.of(Literal(b"@"), *pattern.tokens)),
)


def subset(names: list[str], least: int = 1) -> st.SearchStrategy[frozenset[str]]:
    """Some of the words, at least so many."""
    return st.frozensets(st.sampled_from(names), min_size=least, max_size=len(names))


_MASKS = words("masks")
_PEERED = _MASKS["peered"]["words"]
_MODES = _MASKS["exec"]
_OPTIONS = sorted(words("mount")["options"])
_ports = st.one_of(st.none(), st.sampled_from([53, 80, 443]))
_words = st.one_of(st.none(), st.sampled_from([b"org.x", b"org.y", *HOSTILE]).map(Pattern.literal))
_dbus_paths = st.one_of(st.none(), literal_paths)


def _mount(
    options: frozenset[str], fstype: Pattern | None, source: Pattern | None, target: Pattern | None
) -> MountRule:
    moving, propagation = acts(options)
    typed = None if moving or propagation else fstype
    return MountRule(options, typed, None if propagation else source, target)


def _file(pattern: Pattern, perms: frozenset[str], owner: bool, mode: str, target: str | None) -> FileRule:
    mode = mode or ("" if perms else "ix")
    return FileRule(pattern, perms, owner, mode, target if mode in _MODES["named"] else None)


def _dbus_talk(*fields: Pattern | None, access: frozenset[str]) -> DbusRule:
    return DbusRule(access, *fields)


STRATEGIES: dict[str, st.SearchStrategy[Rule]] = {
    "capability": st.builds(CapabilityRule, subset(words("capabilities")["names"])),
    "change_profile": st.builds(ChangeProfileRule, some_labels, st.booleans()),
    "dbus": st.one_of(
        st.builds(DbusRule, subset(["send", "receive"]), _words, _dbus_paths, _words, _words, _words, any_label),
        st.builds(lambda bus, name: DbusRule(frozenset({"bind"}), bus, name=name), _words, _words),
        st.builds(lambda bus: DbusRule(frozenset({"eavesdrop"}), bus), _words),
    ),
    "file": st.builds(
        _file,
        some_paths,
        subset(list("rwakm"), 0),
        st.booleans(),
        st.sampled_from(["", "", *_MODES["modes"]]),
        st.sampled_from([None, "child", "/usr/bin/x"]),
    ),
    "io_uring": st.one_of(st.just(IoUringRule("sqpoll")), st.builds(IoUringRule, st.just("override_creds"), any_label)),
    "link": st.builds(LinkRule, some_paths, some_paths, st.booleans()),
    "mount": st.builds(
        _mount,
        st.one_of(subset(["ro", "nosuid", "bind"]), subset(["rw", "rslave"]), subset(_OPTIONS).filter(consistent)),
        st.one_of(st.none(), foreign.map(Pattern.literal)),
        st.one_of(st.none(), foreign.map(Pattern.literal)),
        st.one_of(st.none(), some_paths),
    ),
    "mqueue": st.one_of(
        st.builds(
            MqueueRule,
            subset(sorted(set(_MASKS["mqueue"].values()))),
            st.just("posix"),
            st.one_of(st.none(), literal_paths),
        ),
        st.builds(
            MqueueRule,
            subset(sorted(set(_MASKS["mqueue"].values()))),
            st.just("sysv"),
            st.integers(0, 99).map(lambda key: Pattern.literal(b"%d" % key)),
        ),
    ),
    "network": st.one_of(
        st.builds(
            NetworkRule, st.sampled_from(words("families")["families"]), st.sampled_from(words("families")["types"])
        ),
        st.builds(
            NetworkRule,
            st.sampled_from(["inet", "inet6"]),
            st.sampled_from(["stream", "dgram"]),
            subset(_PEERED),
            st.sampled_from([None, "127.0.0.1"]),
            _ports,
            st.sampled_from([None, "10.0.0.1"]),
            _ports,
        ),
    ),
    "pivot_root": st.builds(PivotRootRule, some_paths, some_paths),
    "ptrace": st.builds(PtraceRule, subset(sorted(_MASKS["ptrace"])), any_label),
    "remount": st.builds(RemountRule, subset(_OPTIONS).filter(lambda some: not {"ro", "rw"} <= some), some_paths),
    "signal": st.builds(
        SignalRule,
        subset(["send", "receive"]),
        st.one_of(st.none(), subset(["term", "kill", "hup", "rtmin+8", "exists"])),
        any_label,
    ),
    "umount": st.builds(UmountRule, some_paths),
    "unix": st.one_of(
        st.builds(
            UnixRule,
            subset(_PEERED),
            st.sampled_from(["stream", "dgram"]),
            st.one_of(st.none(), addresses),
            st.one_of(st.none(), addresses),
            any_label,
        ),
        st.builds(
            UnixRule,
            subset(sorted(set(_MASKS["network"].values()))),
            st.just("stream"),
            st.one_of(st.none(), addresses),
        ),
    ),
    "userns": st.builds(UsernsRule, st.just(frozenset({"create"}))),
}

rules = st.one_of(*STRATEGIES.values())
