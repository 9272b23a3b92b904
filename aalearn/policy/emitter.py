"""Writes decoded profiles as compiled policy again: the proof that `policy.decoder` loses nothing of what it reads."""

from collections.abc import Iterable

from aalearn.policy.decoder import BinaryProfile, Capabilities, PolicyDb
from aalearn.policy.stream import Tag, Writer

_HALF = 0xFFFFFFFF


def emit(profiles: Iterable[BinaryProfile]) -> bytes:
    """Return the stream of `profiles`, byte for byte as apparmor_parser lays it out.

    Each automaton starts at a multiple of 8 bytes from the start of its profile's header.
    """
    writer = Writer()
    for profile in profiles:
        writer.origin = len(writer.data)
        _profile(writer, profile)
    return bytes(writer.data)


def _profile(writer: Writer, profile: BinaryProfile) -> None:
    writer.maybe_u32("version", profile.version)
    writer.maybe_string("namespace", profile.namespace)
    writer.struct("profile")
    writer.string(profile.name)
    writer.maybe_string("rename", profile.rename)
    writer.maybe_string("attach", profile.attach)
    if profile.xmatch:
        _policy_db(writer, profile.xmatch)
        writer.u32(profile.xmatch_length)
    writer.maybe_string("disconnected", profile.disconnected)
    writer.maybe_u32("kill", profile.kill)
    writer.maybe_u32("error", profile.error)
    writer.struct("flags")
    writer.u32(profile.hat, profile.mode, profile.audit)
    writer.tag(Tag.STRUCTEND)
    writer.maybe_u32("path_flags", profile.path_flags)
    _capabilities(writer, profile.capabilities)
    _strings(writer, "xattrs", profile.xattrs)
    _rlimits(writer, profile)
    _network(writer, profile)
    _secmark(writer, profile)
    if profile.policy:
        writer.struct("policydb")
        _policy_db(writer, profile.policy)
        writer.tag(Tag.STRUCTEND)
    if profile.file:
        _policy_db(writer, profile.file)
    _data(writer, profile)
    writer.tag(Tag.STRUCTEND)


def _capabilities(writer: Writer, capabilities: Capabilities) -> None:
    masks = (capabilities.allow, capabilities.audit, capabilities.quiet, capabilities.killed)
    writer.u32(*(mask & _HALF for mask in masks))
    if capabilities.wide:
        writer.struct("caps64")
        writer.u32(*(mask >> 32 for mask in masks))
        writer.tag(Tag.STRUCTEND)
    if capabilities.extended is not None:
        writer.struct("capsx")
        writer.u32(capabilities.extended & _HALF, capabilities.extended >> 32)
        writer.tag(Tag.STRUCTEND)


def _strings(writer: Writer, name: str, values: tuple[bytes, ...] | None) -> None:
    if values is None:
        return
    writer.struct(name)
    writer.array(len(values))
    for value in values:
        writer.string(value)
    writer.tag(Tag.ARRAYEND)
    writer.tag(Tag.STRUCTEND)


def _rlimits(writer: Writer, profile: BinaryProfile) -> None:
    if profile.rlimits is None:
        return
    writer.struct("rlimits")
    writer.u32(profile.rlimits.mask)
    writer.array(len(profile.rlimits.values))
    for value in profile.rlimits.values:
        writer.u64(value)
    writer.tag(Tag.ARRAYEND)
    writer.tag(Tag.STRUCTEND)


def _network(writer: Writer, profile: BinaryProfile) -> None:
    if profile.network is None:
        return
    writer.name("net_allowed_af")
    writer.array(len(profile.network))
    for masks in profile.network:
        for mask in masks:
            writer.u16(mask)
    writer.tag(Tag.ARRAYEND)


def _secmark(writer: Writer, profile: BinaryProfile) -> None:
    if profile.secmark is None:
        return
    writer.struct("secmark")
    writer.array(len(profile.secmark))
    for mark in profile.secmark:
        writer.u8(mark.audit)
        writer.u8(mark.deny)
        writer.string(mark.label)
    writer.tag(Tag.ARRAYEND)
    writer.tag(Tag.STRUCTEND)


def _policy_db(writer: Writer, found: PolicyDb) -> None:
    if found.perms is not None:
        writer.struct("perms")
        writer.maybe_u32("version", found.perms.version)
        writer.permissions(found.perms)
        writer.tag(Tag.STRUCTEND)
    writer.name("aadfa")
    writer.blob(found.raw, aligned=True)
    writer.maybe_u32("start", found.start)
    writer.maybe_u32("dfa_start", found.file_start)
    _strings(writer, "xtable", found.table)


def _data(writer: Writer, profile: BinaryProfile) -> None:
    if profile.data is None:
        return
    writer.struct("data")
    for key, value in profile.data:
        writer.string(key)
        writer.blob(value)
    writer.tag(Tag.STRUCTEND)
