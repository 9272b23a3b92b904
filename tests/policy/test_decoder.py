"""Compiled policy decodes to what its text says, on both parsers and in every shape, and is written again as it was."""

import random
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from aalearn.model.errors import PolicyError
from aalearn.policy.compare import compare
from aalearn.policy.compiler import Parser
from aalearn.policy.decoder import BinaryProfile, Capabilities, Mode, Rlimits, Secmark, decode, pieces
from aalearn.policy.emitter import emit
from aalearn.policy.features import Features, shipped
from aalearn.policy.gate import subjects
from aalearn.policy.stream import Tag, Writer
from tests.policy import seeds

pytestmark = [pytest.mark.parser, pytest.mark.real]


def compiled(parser: Parser, text: str, features: Features | None = None) -> dict[bytes, BinaryProfile]:
    blob = parser.compile(text, features=features or shipped("3.0")).blob
    return {profile.name: profile for profile in decode(blob)}


def test_a_profile_says_what_its_text_says(parser: Parser) -> None:
    found = compiled(parser, seeds.PLAIN)
    assert set(found) == {b"one", b"one//kitty", b"one//hat", b"two", b"free"}
    one = found[b"one"]
    assert (one.abi, one.mode, one.complain, one.is_hat) == (7, Mode.ENFORCE, False, False)
    assert one.path_flags == 0x10004  # mediate deleted files, attach disconnected paths
    caps = one.capabilities
    assert (caps.allow, caps.audit, caps.quiet, caps.killed) == (1 << 21 | 1 << 0, 1 << 0, 1 << 39, 0)
    assert one.rlimits is not None
    assert (one.rlimits.mask, one.rlimits.values[0], one.rlimits.values[7]) == (1 << 0 | 1 << 7, 10, 1024)
    assert one.xmatch is not None
    assert one.xmatch_length == len("/usr/bin/one")
    assert one.file is not None
    assert one.file.table is not None
    assert {b"two", b"one//kitty", b":space\0far"} <= set(one.file.table)
    assert (found[b"one//hat"].is_hat, found[b"one//kitty"].is_hat) == (True, False)
    assert (found[b"one//kitty"].complain, found[b"one//kitty"].mode) == (True, Mode.COMPLAIN)
    assert found[b"free"].mode == Mode.UNCONFINED


def test_the_flags_and_elements_of_later_parsers(trixie_parser: Parser) -> None:
    domains = "policy {profile {kill.signal {yes\n}\nerror {yes\n}\ninterruptible {yes\n}\n}\n"
    features = Features.parse(shipped("4.0").text.replace("policy {", domains, 1), "with flags")
    text = "profile p xattrs=(user.a=1) flags=(kill, kill.signal=hup, error=EACCES, attach_disconnected.path=/gone) { }"
    found = compiled(trixie_parser, text, features)[b"p"]
    assert (found.mode, found.kill, found.disconnected, found.xattrs) == (Mode.KILL, 1, b"/gone", (b"user.a",))
    assert found.error is not None
    assert compiled(trixie_parser, "profile q flags=(prompt) { }")[b"q"].mode == Mode.PROMPT


def test_forced_complain_is_in_the_header(parser: Parser) -> None:
    forced = Parser((*parser.command, "-C"))
    (found,) = compiled(forced, "profile p { }").values()
    assert found.complain


def test_namespaces(parser: Parser) -> None:
    (found,) = compiled(parser, "profile :space:p { /x r, }").values()
    assert (found.name, found.namespace) == (b"p", b"space")


def test_network_masks_of_old_targets(blobs: dict[str, bytes]) -> None:
    old = [profile for name, blob in blobs.items() if "old-network plain" in name for profile in decode(blob)]
    masks = [profile.network for profile in old if profile.name == b"one"]
    assert len(masks) == 2
    for mask in masks:
        assert mask is not None
        assert mask[2] == (1 << 1, 0, 0)  # inet: stream


def test_every_shape_is_written_again_byte_for_byte(blobs: dict[str, bytes]) -> None:
    forms = set()
    for name, blob in blobs.items():
        found = decode(blob)
        assert emit(found) == blob, name
        for one, (title, part) in zip(found, pieces(blob), strict=True):
            assert title == one.name
            assert emit((one,)) == part, name
        for profile in found:
            for pdb in (profile.xmatch, profile.policy, profile.file):
                if pdb:
                    (flags,) = struct.unpack_from(">H", pdb.raw, 12)
                    forms.add((flags & 1, flags >> 1 & 1, pdb.perms is not None, pdb.dfa.symbols < 256))
    # diff-encoded or not, out-of-band or not, inline or table, with and without classes: nothing is only thought of
    for place in range(4):
        assert {form[place] for form in forms} == {0, 1}, forms


def test_no_policy_changes_on_the_way(blobs: dict[str, bytes]) -> None:
    """Blocks in another order, headers changed: other bytes, and by product walk the same policy."""
    for name, blob in blobs.items():
        if "kernel-6.12" not in name and "abi-4.0" not in name:
            continue
        profiles = list(decode(blob))
        random.Random(1).shuffle(profiles)
        moved = emit(replace(one, version=(one.version or 0) | 1 << 20, namespace=b"elsewhere") for one in profiles)
        assert moved != blob
        assert all(change.same for change in compare(subjects(blob), subjects(moved))), name


def _whole(base: BinaryProfile) -> BinaryProfile:
    """Return a profile with every element that a stream may have, those that no parser here writes as well."""
    file = base.file
    assert file is not None
    return replace(
        base,
        version=0x202009,
        abi=9,
        namespace=b"ns",
        rename=b"old",
        attach=b"/usr/bin/{a,b}",
        disconnected=b"/away",
        kill=9,
        error=13,
        hat=1,
        mode=Mode.KILL,
        audit=1,
        path_flags=0x1C,
        capabilities=Capabilities(1 << 40 | 1, 1 << 40, 2, 4, extended=1 << 39 | 5),
        xattrs=(b"user.a", b""),
        rlimits=Rlimits(0x8001, tuple(range(16))),
        network=((1, 2, 3),),
        secmark=(Secmark(1, 0, b"a label"), Secmark(0, 1, b"b")),
        file=replace(file, start=1, file_start=1),
        data=((b"key", b"\0\1\2"), (b"", b"")),
    )


def test_every_element_there_is(bookworm_parser: Parser) -> None:
    base = compiled(bookworm_parser, seeds.PLAIN)[b"one"]
    whole = _whole(base)
    assert decode(emit((whole,))) == (whole,)
    narrow = replace(base, capabilities=Capabilities(5, wide=False))
    assert decode(emit((narrow,))) == (narrow,)
    follower = replace(base, name=b"rides", version=None, abi=9)
    assert decode(emit((whole, follower))) == (whole, follower)


@pytest.mark.parametrize("abi", [5, 6, 7, 8, 9])
def test_the_versions_that_kernels_read(bookworm_parser: Parser, abi: int) -> None:
    base = compiled(bookworm_parser, "profile p { /x r, }")[b"p"]
    blob = emit((replace(base, version=0x200000 | abi),))
    (found,) = decode(blob)
    assert found.abi == abi


@pytest.mark.parametrize("abi", [0, 4, 10, 0x3FF])
def test_versions_that_nobody_knows_are_refused(bookworm_parser: Parser, abi: int) -> None:
    base = compiled(bookworm_parser, "profile p { /x r, }")[b"p"]
    with pytest.raises(
        PolicyError, match=rf"^unknown policy: byte 0: policy version {abi}; this aalearn knows 5 to 9$"
    ):
        decode(emit((replace(base, version=0x200000 | abi),)))


def _with(blob: bytes, old: bytes, new: bytes) -> bytes:
    assert blob.count(old) >= 1
    return blob.replace(old, new, 1)


def _named(name: str) -> bytes:
    writer = Writer()
    writer.name(name)
    return bytes(writer.data)


def test_what_is_unknown_is_refused_with_its_place(bookworm_parser: Parser) -> None:
    blob = emit((compiled(bookworm_parser, seeds.PLAIN)[b"one"],))
    u32 = bytes((Tag.U32, 1, 0, 0, 0))
    cases = {
        "a new element": (_with(blob, _named("caps64"), _named("caps96")), r"found 'caps96' \(in profile one\)$"),
        "a new mode": (
            _with(
                blob,
                _named("flags") + b"\x07" + bytes((2, 0, 0, 0, 0)) * 2,
                _named("flags") + b"\x07\2\0\0\0\0\2\x09\0\0\0",
            ),
            r"^unknown policy: byte \d+: the profile has mode 9",
        ),
        "an element at the end": (blob[:-1] + _named("tags") + u32 + blob[-1:], "found 'tags'"),
        "something behind the end": (blob + b"\0", r"byte \d+: 'profile' expected, found U8$"),
        "no policy": (b"profile p { }\n", "compiled policy starts with 'version'"),
        "nothing": (b"", "byte 0: compiled policy starts with 'version', this with the end"),
        "a limit without value": (
            _with(blob, _named("rlimits") + b"\x07" + bytes((2, 0x81, 0, 0, 0)), _named("rlimits") + b"\x07\2\0\0\1\0"),
            r"limits 0x10000 are set, but 16 values follow",
        ),
    }
    for what, (damaged, words) in cases.items():
        with pytest.raises(PolicyError, match=words):
            pytest.fail(f"{what} was read as {decode(damaged)}")


def test_pointers_to_nothing_are_refused(blobs: dict[str, bytes]) -> None:
    inline = next(one for one in decode(blobs["bookworm abi-3.0 plain"]) if one.name == b"one")
    table = next(one for one in decode(blobs["trixie abi-4.0 plain"]) if one.name == b"one")
    for one in (inline, table):
        assert one.file is not None
        with pytest.raises(PolicyError, match=r"names exec target [0-9]+ of 1 "):
            decode(emit((replace(one, file=replace(one.file, table=(b"two",))),)))
        for target in (b"a\0b", b":a\0b\0c"):
            with pytest.raises(PolicyError, match="has the exec target"):
                decode(emit((replace(one, file=replace(one.file, table=(target,) * 5)),)))
        with pytest.raises(PolicyError, match="starts in a state that it does not have"):
            decode(emit((replace(one, file=replace(one.file, start=one.file.dfa.size)),)))
    assert table.file is not None
    assert table.file.perms is not None
    short = type(table.file.perms)(1, table.file.perms.words[: 14 * 3])
    with pytest.raises(PolicyError, match="points beyond its permission table"):
        decode(emit((replace(table, file=replace(table.file, perms=short)),)))
    newer = type(table.file.perms)(7, table.file.perms.words)
    with pytest.raises(PolicyError, match=r"unknown policy: byte [0-9]+: a permission table of version 7"):
        decode(emit((replace(table, file=replace(table.file, perms=newer)),)))


def test_many_small_profiles_are_real(trixie_parser: Parser, apparmor_source: Path) -> None:
    """The guard against blobs made to eat memory refuses no real policy: the least that the parser can make."""
    features = Features.of_file(apparmor_source / "parser" / "tst" / "features_files" / "features.nopolicydb")
    text = "".join(f"profile p{number} flags=(unconfined) {{ }}\n" for number in range(2000))
    assert len(decode(trixie_parser.compile(text, features=features).blob)) == 2000


@pytest.mark.parametrize("abi", ["3.0", "4.0"])
def test_a_profile_of_two_thousand_states_decodes_in_time(trixie_parser: Parser, abi: str) -> None:
    names = random.Random(2)
    rules = "".join(f"  /srv/{names.randbytes(5).hex()}/** r,\n" for _ in range(360))
    blob = trixie_parser.compile(f"profile p {{\n{rules}}}\n", features=shipped(abi)).blob
    (found,) = decode(blob)
    assert found.file is not None
    assert found.file.dfa.size > 2000
    assert (found.file.perms is not None) == (abi == "4.0")
    spent = []
    for _ in range(5):
        begun = time.process_time()
        decode(blob)
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.05, spent
