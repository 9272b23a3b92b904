"""Compiled policy as values: what apparmor_parser makes and what kernels show as loaded. `policy.emitter` writes it.

Order of elements (source: kernel security/apparmor/policy_unpack.c, checked against apparmor_parser 3.0.8 and 4.1.0
and its parser test tree): [version] [namespace], then one struct `profile`. A hat or child is a profile of its own
whose name is `PARENT//CHILD`. Whatever is not as described raises PolicyError: policy is never guessed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from aalearn.model.errors import PolicyError
from aalearn.model.text import shown
from aalearn.policy.automaton import Dfa
from aalearn.policy.stream import PermTable, Reader, Tag

OLDEST: Final = 5  # policy versions that kernels read
NEWEST: Final = 9
_FORCE_COMPLAIN: Final = 0x800
_HAT: Final = 1
_X_TABLE: Final = 0x08000000
_X_TYPE: Final = 0x0C000000
_X_INDEX: Final = 0x00FFFFFF


class Mode(IntEnum):
    """What a profile does with what it does not allow (source: kernel policy_unpack.h, PACKED_MODE_*)."""

    ENFORCE = 0
    COMPLAIN = 1
    KILL = 2
    UNCONFINED = 3
    PROMPT = 4


@dataclass(frozen=True, slots=True)
class PolicyDb:
    """An automaton and what stands beside it.

    `perms` is the permission table (None: permissions are inline). `start` and `file_start` are the states to start
    from (elements `start` and `dfa_start`; None where the stream has none: 1). `table` holds the exec targets that
    transitions name by index, as bytes that may hold NUL between alternatives. `raw` are the automaton's own bytes.
    """

    raw: bytes = field(repr=False)
    dfa: Dfa = field(compare=False, repr=False)
    perms: PermTable | None = field(default=None, repr=False)
    start: int | None = None
    file_start: int | None = None
    table: tuple[bytes, ...] | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Capability masks, bit N for the capability of number N. `extended`: those that rules may mediate further.

    `wide` says whether the stream has the upper halves at all.
    """

    allow: int = 0
    audit: int = 0
    quiet: int = 0
    killed: int = 0
    extended: int | None = None
    wide: bool = True


@dataclass(frozen=True, slots=True)
class Rlimits:
    """Limits that the profile sets: bit N of `mask` says that the limit of the kernel's number N is `values[N]`."""

    mask: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Secmark:
    """A rule for packets that carry a security label."""

    audit: int
    deny: int
    label: bytes


@dataclass(frozen=True, slots=True)
class BinaryProfile:
    """One compiled profile, hat or child (`name` is then `PARENT//CHILD`).

    `version` is the header's word, None where the profile rides on the header before it (`abi` is its policy version
    in any case). `network` are the masks (allow, audit, quiet) of each family where the target is so old that they
    are no automaton's. `attach` is the attachment's text; `xmatch` its automaton, with `xmatch_length` the length of
    its literal start. `hat` are the raw flags (bit 0: a hat). `policy` is the automaton of all classes but files,
    `file` that of files; None: the profile has none. `path_flags` None: the kernel's default.
    """

    name: bytes
    abi: int
    version: int | None = None
    namespace: bytes | None = None
    rename: bytes | None = None
    attach: bytes | None = None
    xmatch: PolicyDb | None = None
    xmatch_length: int = 0
    disconnected: bytes | None = None
    kill: int | None = None
    error: int | None = None
    hat: int = 0
    mode: Mode = Mode.ENFORCE
    audit: int = 0
    path_flags: int | None = None
    capabilities: Capabilities = Capabilities()
    xattrs: tuple[bytes, ...] | None = None
    rlimits: Rlimits | None = None
    network: tuple[tuple[int, int, int], ...] | None = None
    secmark: tuple[Secmark, ...] | None = None
    policy: PolicyDb | None = None
    file: PolicyDb | None = None
    data: tuple[tuple[bytes, bytes], ...] | None = None

    @property
    def is_hat(self) -> bool:
        """Whether change_hat may enter the profile."""
        return bool(self.hat & _HAT)

    @property
    def complain(self) -> bool:
        """Whether the kernel only logs what the profile does not allow."""
        return self.mode == Mode.COMPLAIN or bool((self.version or 0) & _FORCE_COMPLAIN)


def decode(blob: bytes) -> tuple[BinaryProfile, ...]:
    """Return the profiles in `blob`, in its order.

    Raises PolicyError with one line that names the byte when the blob is empty, damaged, or of a form unknown here.
    """
    return tuple([profile for profile, _, _ in _decoded(blob)])


def pieces(blob: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the name and the bytes, header and all, of each profile in `blob`. Raises PolicyError as `decode` does."""
    return tuple([(profile.name, blob[start:end]) for profile, start, end in _decoded(blob)])


def _decoded(blob: bytes) -> Iterator[tuple[BinaryProfile, int, int]]:
    """Yield each profile with the bytes from which and to which it stands."""
    reader = Reader(blob)
    word = 0
    while not reader.done or not word:
        start = reader.at
        version = _version(reader, required=not word)
        word = word if version is None else version
        yield _profile(reader, version, word), start, reader.at


def _version(reader: Reader, *, required: bool) -> int | None:
    start = reader.at
    version = reader.maybe_u32("version")
    if version is None:
        if required:
            raise reader.fail(f"compiled policy starts with 'version', this with {reader.peek()}")
        return None
    if not OLDEST <= version & 0x3FF <= NEWEST:
        text = f"policy version {version & 0x3FF}; this aalearn knows {OLDEST} to {NEWEST}"
        raise PolicyError(f"unknown policy: byte {start}: {text}")
    return version


def _profile(reader: Reader, version: int | None, word: int) -> BinaryProfile:
    namespace = reader.maybe_string("namespace")
    _open(reader, "profile")
    reader.charge(2)
    name = reader.text()
    try:
        profile = _body(reader, name, version, word, namespace)
    except PolicyError as error:
        raise PolicyError(f"{error} (in profile {shown(name)})") from error
    return profile


def _body(reader: Reader, name: bytes, version: int | None, word: int, namespace: bytes | None) -> BinaryProfile:
    rename, attach = reader.maybe_string("rename"), reader.maybe_string("attach")
    xmatch = _policy_db(reader, "attachment", file=False)
    xmatch_length = reader.u32() if xmatch else 0
    disconnected = reader.maybe_string("disconnected")
    kill, error = reader.maybe_u32("kill"), reader.maybe_u32("error")
    hat, mode, audit = _flags(reader)
    path_flags = reader.maybe_u32("path_flags")
    capabilities = _capabilities(reader)
    xattrs, rlimits, network, secmark = _strings(reader, "xattrs"), _rlimits(reader), _network(reader), _secmark(reader)
    policy = None
    if reader.named("policydb"):
        reader.expect(Tag.STRUCT)
        policy = _policy_db(reader, "policy", file=False)
        reader.expect(Tag.STRUCTEND)
    file = _policy_db(reader, "file", file=True)
    data = _data(reader)
    if not reader.next_is(Tag.STRUCTEND):
        raise reader.fail(f"the end of the profile expected, found {reader.peek()}")
    reader.expect(Tag.STRUCTEND)
    return BinaryProfile(
        name=name,
        abi=word & 0x3FF,
        version=version,
        namespace=namespace,
        rename=rename,
        attach=attach,
        xmatch=xmatch,
        xmatch_length=xmatch_length,
        disconnected=disconnected,
        kill=kill,
        error=error,
        hat=hat,
        mode=mode,
        audit=audit,
        path_flags=path_flags,
        capabilities=capabilities,
        xattrs=xattrs,
        rlimits=rlimits,
        network=network,
        secmark=secmark,
        policy=policy,
        file=file,
        data=data,
    )


def _open(reader: Reader, name: str) -> None:
    if not reader.named(name):
        raise reader.fail(f"{name!r} expected, found {reader.peek()}")
    reader.expect(Tag.STRUCT)


def _flags(reader: Reader) -> tuple[int, Mode, int]:
    _open(reader, "flags")
    hat, start = reader.u32(), reader.at
    mode, audit = reader.u32(), reader.u32()
    reader.expect(Tag.STRUCTEND)
    if mode not in Mode._value2member_map_:
        raise PolicyError(f"unknown policy: byte {start}: the profile has mode {mode}, unknown to this aalearn")
    return hat, Mode(mode), audit


def _capabilities(reader: Reader) -> Capabilities:
    masks = [reader.u32() for _ in range(4)]
    wide = reader.named("caps64")
    if wide:
        reader.expect(Tag.STRUCT)
        masks = [low | reader.u32() << 32 for low in masks]
        reader.expect(Tag.STRUCTEND)
    extended = None
    if reader.named("capsx"):
        reader.expect(Tag.STRUCT)
        low = reader.u32()
        extended = low | reader.u32() << 32
        reader.expect(Tag.STRUCTEND)
    return Capabilities(masks[0], masks[1], masks[2], masks[3], extended, wide)


def _strings(reader: Reader, name: str) -> tuple[bytes, ...] | None:
    """Return the strings of the struct `name`, None when it is not there."""
    if not reader.named(name):
        return None
    reader.expect(Tag.STRUCT)
    values = tuple([reader.string() for _ in range(reader.array())])
    reader.expect(Tag.ARRAYEND)
    reader.expect(Tag.STRUCTEND)
    return values


def _rlimits(reader: Reader) -> Rlimits | None:
    if not reader.named("rlimits"):
        return None
    reader.expect(Tag.STRUCT)
    mask, start = reader.u32(), reader.at
    count = reader.array()
    if count > 32 or mask >> count:
        raise reader.fail(f"limits {mask:#x} are set, but {count} values follow", start)
    values = tuple([reader.u64() for _ in range(count)])
    reader.expect(Tag.ARRAYEND)
    reader.expect(Tag.STRUCTEND)
    return Rlimits(mask, values)


def _network(reader: Reader) -> tuple[tuple[int, int, int], ...] | None:
    if not reader.named("net_allowed_af"):
        return None
    start = reader.at
    count = reader.array()
    if count > 64:
        raise reader.fail(f"{count} network families, more than there are", start)
    masks = tuple([(reader.u16(), reader.u16(), reader.u16()) for _ in range(count)])
    reader.expect(Tag.ARRAYEND)
    return masks


def _secmark(reader: Reader) -> tuple[Secmark, ...] | None:
    if not reader.named("secmark"):
        return None
    reader.expect(Tag.STRUCT)
    marks = tuple([Secmark(reader.u8(), reader.u8(), reader.text()) for _ in range(reader.array())])
    reader.expect(Tag.ARRAYEND)
    reader.expect(Tag.STRUCTEND)
    return marks


def _policy_db(reader: Reader, what: str, *, file: bool) -> PolicyDb | None:
    """Return the automaton that may stand here with its tables; `what` names it in errors."""
    origin = reader.at
    perms = None
    if reader.named("perms"):
        reader.expect(Tag.STRUCT)
        version = reader.maybe_u32("version")
        if version not in (1, 2):
            raise PolicyError(f"unknown policy: byte {origin}: a permission table of version {version}")
        perms = reader.permissions(version)
        reader.expect(Tag.STRUCTEND)
    if not reader.named("aadfa"):
        if perms is not None:
            raise reader.fail(f"the {what} automaton expected behind its permissions, found {reader.peek()}")
        return None
    start, blob = reader.blob()
    try:
        dfa = Dfa.decode(blob)
    except PolicyError as error:
        raise PolicyError(f"{error}: the {what} automaton from byte {start} on") from error
    first, file_first = reader.maybe_u32("start"), reader.maybe_u32("dfa_start")
    if max(first or 0, file_first or 0) >= dfa.size:
        raise reader.fail(f"the {what} automaton starts in a state that it does not have")
    found = PolicyDb(
        blob[len(blob) - len(blob.lstrip(b"\0")) :], dfa, perms, first, file_first, _strings(reader, "xtable")
    )
    _verify(found, reader, what, file=file)
    return found


def _verify(found: PolicyDb, reader: Reader, what: str, *, file: bool) -> None:
    """Refuse permissions and exec targets that are pointed to and are not there, as the kernel does."""
    for target in found.table or ():
        if target.count(b"\0") > target.startswith(b":"):  # only `:NAMESPACE NUL NAME` has one
            raise reader.fail(f"the {what} automaton has the exec target {shown(target)}")
    accept, targets = found.dfa.accept, len(found.table or ())
    if found.perms is not None:
        if max(accept) + file >= len(found.perms):
            raise reader.fail(f"the {what} automaton points beyond its permission table")
        indices = {word & _X_INDEX for word in set(found.perms.words[11::14]) if word & _X_TYPE == _X_TABLE}
    elif found.dfa.accept2 is None:
        raise reader.fail(f"the {what} automaton has neither a permission table nor permissions of its own")
    elif file:
        inline = {half >> 10 & 0xF for word in set(accept) for half in (word, word >> 14)}
        indices = {index - 4 for index in inline if index >= 4}
    else:
        indices = set()
    if indices and max(indices) >= targets:
        raise reader.fail(f"the {what} automaton names exec target {max(indices)} of {targets}")


def _data(reader: Reader) -> tuple[tuple[bytes, bytes], ...] | None:
    if not reader.named("data"):
        return None
    reader.expect(Tag.STRUCT)
    pairs = []
    while reader.next_is(Tag.STRING):
        key = reader.string()
        pairs.append((key, reader.blob()[1]))
    reader.expect(Tag.STRUCTEND)
    return tuple(pairs)
