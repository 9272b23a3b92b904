"""From learned rules to SPO's abstract form: what fits into its lists, what has to be widened, and what is lost."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from aalearn.kubernetes.spo.abstract import Abstract, Remark, Shaped
from aalearn.kubernetes.spo.paths import spelled
from aalearn.kubernetes.spo.split import Wanted, lists
from aalearn.learn.places import overlong
from aalearn.learn.review import Judged
from aalearn.learn.sensitive import never
from aalearn.model.profile import State
from aalearn.rules.capability import CapabilityRule
from aalearn.rules.file import FileRule
from aalearn.rules.link import LinkRule
from aalearn.rules.network import NetworkRule

_PROTOCOLS: Final = {"stream": "tcp", "dgram": "udp", "raw": "raw"}
_KINDS: Final = {word: kind for kind, word in _PROTOCOLS.items()}
_INTERNET: Final = ("inet", "inet6")
_NO_WORD: Final = "SPO has no word for it"


def shaped(judged: Sequence[Judged]) -> Shaped:
    """Return the abstract form of a profile's standing rules; those of its children are taken together with its own."""
    standing = [one for one in judged if one.state in (State.ACTIVE, State.REVIEW)]
    lost: list[Remark] = []
    widened: list[Remark] = []
    wanted = _files(standing, lost, widened)
    files, split_lost, split_widened = lists(wanted)
    lost += [*split_lost, *_links(standing, wanted)]
    widened += split_widened
    rest = _others(standing, lost, widened)
    return Shaped(
        replace(rest, **{name: getattr(files, name) for name in _LISTS}),
        tuple(sorted(set(lost))),
        tuple(sorted(set(widened))),
    )


_LISTS: Final = ("executables", "libraries", "read_only", "write_only", "read_write")


def _files(standing: Iterable[Judged], lost: list[Remark], widened: list[Remark]) -> dict[str, Wanted]:
    wanted: dict[str, Wanted] = {}
    for one in standing:
        if not isinstance(one.rule, FileRule):
            continue
        rule, text = one.rule, one.rule.text()
        if any(map(overlong, one.draft.paths)):
            lost.append(Remark(text, "so long a name can stop the operator's compiler"))
            continue
        letters = _letters(rule, one.draft.paths, lost, widened)
        if rule.owner:
            widened.append(Remark(text, "not for the owner alone: SPO can't say owner"))
        if rule.exec and rule.exec != "ix":
            lost.append(Remark(text, "it runs in the profile itself (ix): SPO knows no other profile or child"))
        ways = spelled(rule.pattern) if letters else ()
        if letters and not ways:
            lost.append(Remark(text, "its path can't be written"))
        for way in ways:
            need = wanted.setdefault(way.text, Wanted(way.pattern))
            need.letters |= letters
            need.paths |= {path for path in one.draft.paths if way.pattern.matches(path)}
            need.rules.add(text)
            if way.widened:
                widened.append(Remark(text, f"written as {way.text}, which matches more"))
    return wanted


def _letters(rule: FileRule, paths: Sequence[bytes], lost: list[Remark], widened: list[Remark]) -> set[str]:
    """Return what a rule wants in letters of `rwmx`. A lock goes with writing only, so it brings that or is lost."""
    letters = {"w" if letter == "a" else letter for letter in rule.perms} | ({"x"} if rule.exec else set())
    if "k" in letters:
        letters.discard("k")
        if "w" not in letters:
            if any(never(path, write=True) for path in paths or (rule.pattern.literal_bytes,)):
                lost.append(Remark(rule.text(), "the lock (k): SPO gives locks only together with writing"))
            else:
                letters.add("w")
                widened.append(Remark(rule.text(), "it may be written too: SPO gives locks only together with writing"))
    return letters


def _links(standing: Iterable[Judged], wanted: dict[str, Wanted]) -> list[Remark]:
    """Return the link rules that are lost: SPO's readWrite paths may be linked, if the target is one of them too."""
    writable = [one.pattern for one in wanted.values() if "w" in one.letters and one.letters & {"r", "x", "m"}]
    return [
        Remark(one.rule.text(), "a link can only be made between paths that may be read and written")
        for one in standing
        if isinstance(one.rule, LinkRule)
        and not all(any(pattern.covers(path) for pattern in writable) for path in (one.rule.name, one.rule.target))
    ]


def _others(standing: Iterable[Judged], lost: list[Remark], widened: list[Remark]) -> Abstract:
    """Return the capabilities and protocols; all that is no file or link and has no word in SPO is lost."""
    capabilities: set[str] = set()
    protocols: dict[str, set[str]] = {}
    for one in standing:
        rule, text = one.rule, one.rule.text()
        if isinstance(rule, CapabilityRule):
            capabilities |= rule.names
            if "sys_rawio" in rule.names:
                widened.append(Remark(text, "it brings mount, remount and umount of anything: SPO adds them"))
        elif isinstance(rule, NetworkRule):
            protocol = _protocol(rule)
            if protocol:
                protocols.setdefault(protocol, set()).add(rule.family)
                widened += _wider_network(rule, protocol)
            else:
                lost.append(Remark(text, _NO_WORD))
        elif not isinstance(rule, FileRule | LinkRule):
            lost.append(Remark(text, _NO_WORD))
    for protocol, families in sorted(protocols.items()):
        if protocol != "raw" and len(families) < len(_INTERNET):
            other = next(family for family in _INTERNET if family not in families)
            widened.append(
                Remark(
                    f"network {min(families)} {_KINDS[protocol]},", f"written as {protocol}, which allows {other} too"
                )
            )
    return Abstract(
        capabilities=tuple(sorted(capabilities)),
        tcp="tcp" in protocols,
        udp="udp" in protocols,
        raw="raw" in protocols,
    )


def _protocol(rule: NetworkRule) -> str:
    if rule.type == "raw":
        return "raw"
    return _PROTOCOLS.get(rule.type or "", "") if rule.family in _INTERNET else ""


def _wider_network(rule: NetworkRule, protocol: str) -> list[Remark]:
    if protocol == "raw":
        return [Remark(rule.text(), "written as allowRaw: raw sockets of every family")]
    if rule.access is not None or rule.ip or rule.port or rule.peer_ip or rule.peer_port:
        return [Remark(rule.text(), f"written as {protocol}: any access, address and port")]
    return []
