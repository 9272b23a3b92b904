"""What a node runs: read from the folder that a real kernel showed, and compared with what was compiled."""

import hashlib
import lzma
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from aalearn.model.errors import PolicyError
from aalearn.policy.compiler import Parser
from aalearn.policy.decoder import Mode, pieces
from aalearn.policy.features import shipped
from aalearn.policy.loaded import Loaded, fingerprints, loaded

DATA = Path(__file__).resolve().parents[1] / "data" / "policy"


def recorded(name: str) -> bytes:
    return lzma.decompress((DATA / f"node-6.12-{name}.policy.xz").read_bytes())


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A writable copy of AppArmor's folder as the kernel showed it."""
    with tarfile.open(DATA / "node-6.12.tar.xz") as archive:
        archive.extractall(tmp_path, filter="tar")
    return tmp_path


def found(node: Path) -> dict[tuple[str, bytes], Loaded]:
    return {(one.namespace, one.name): one for one in loaded(node)}


def test_all_profiles_with_children_and_namespaces(node: Path) -> None:
    profiles = loaded(node)
    assert [(one.namespace, one.name, one.mode) for one in profiles] == [
        ("", b"other", "complain"),
        ("", b"probe", "enforce"),
        ("", b"probe//hat", "enforce"),
        ("", b"probe//kitty", "enforce"),
        ("", b"whole", "enforce"),
        ("", b"whole//in", "enforce"),
        ("space", b"inner", "enforce"),
        ("space", b"whole", "enforce"),
        ("space", b"whole//in", "enforce"),
    ]
    for one in profiles:
        assert one.blob is not None
        assert one.sha256 == hashlib.sha256(one.blob).hexdigest()
        assert one.profile().name == one.name
    assert found(node)["", b"other"].profile().mode == Mode.COMPLAIN
    assert found(node)["", b"probe//hat"].profile().is_hat


def test_a_real_kernel_runs_what_was_compiled(node: Path) -> None:
    """Loaded from text each profile is a load of its own; loaded from a compiled file all are one load."""
    profiles = found(node)
    probe, whole = recorded("probe"), recorded("whole")
    for name in (b"probe", b"probe//hat", b"probe//kitty", b"other"):
        assert profiles["", name].is_made_of(probe)
        assert not profiles["", name].is_made_of(whole)
    assert profiles["", b"whole"].is_made_of(whole)
    assert profiles["space", b"whole"].is_made_of(whole)
    assert profiles["space", b"whole"].blob == whole
    other = dict(pieces(probe))[b"other"]
    assert profiles["", b"other"].is_made_of(other)
    assert not profiles["", b"probe"].is_made_of(other)
    changed = bytearray(probe)
    changed[probe.index(b"path_flags\0") + 12] ^= 1
    assert not profiles["", b"probe"].is_made_of(bytes(changed))


@pytest.mark.parser
def test_fingerprints(bookworm_parser: Parser) -> None:
    compiled = bookworm_parser.compile("profile a { ^b { } }\nprofile c { }", features=shipped("3.0"))
    prints = fingerprints(compiled.blob)
    assert prints[compiled.sha256] == (b"a", b"a//b", b"c")
    assert sorted(names for digest, names in prints.items() if digest != compiled.sha256) == [
        (b"a",),
        (b"a//b",),
        (b"c",),
    ]
    alone = bookworm_parser.compile("profile a { }", features=shipped("3.0"))
    assert fingerprints(alone.blob) == {alone.sha256: (b"a",)}


def _raw(node: Path, name: str = "probe.1") -> Path:
    return (node / "policy" / "profiles" / name / "raw_data").resolve()


def test_compressed_raw_data(node: Path) -> None:
    plain = found(node)["", b"probe"]
    path = _raw(node)
    path.write_bytes(zstandard.compress(path.read_bytes()))
    assert found(node)["", b"probe"] == plain
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(PolicyError, match=r"^the raw data of probe "):
        loaded(node)
    path.write_bytes(b"\x28\xb5\x2f\xfdnonsense")
    with pytest.raises(PolicyError, match=r"^the raw data of probe is damaged"):
        loaded(node)


def test_a_bomb_is_refused(node: Path) -> None:
    _raw(node).write_bytes(zstandard.compress(bytes(100 << 20)))
    with pytest.raises(PolicyError, match="larger than 64 MiB"):
        loaded(node)


def test_raw_data_that_does_not_fit_its_digest(node: Path) -> None:
    path = _raw(node)
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    with pytest.raises(PolicyError, match="does not fit the digest"):
        loaded(node)


def test_older_kernels_show_sha1(node: Path) -> None:
    entry = node / "policy" / "profiles" / "probe.1"
    (entry / "raw_sha256").unlink()
    digest = hashlib.sha1(_raw(node).read_bytes()).hexdigest()
    (entry / "raw_sha1").write_text(digest + "\n")
    assert found(node)["", b"probe"].is_made_of(recorded("probe"))
    (entry / "raw_sha1").write_text("0" * 40 + "\n")
    with pytest.raises(PolicyError, match="does not fit the digest"):
        loaded(node)


def test_a_kernel_that_keeps_no_raw_data(node: Path) -> None:
    shutil.rmtree(node / "policy" / "raw_data")
    one = found(node)["", b"probe"]
    assert (one.blob, one.sha256, one.is_made_of(recorded("probe"))) == (None, "", False)
    with pytest.raises(PolicyError, match=r"keeps no raw data of probe"):
        one.profile()


def test_raw_data_of_another_profile(node: Path) -> None:
    one = found(node)["", b"probe"]
    stranger = Loaded(b"stranger\x1b", "", "enforce", "", one.blob, one.sha256)
    with pytest.raises(PolicyError, match=r"^the raw data of stranger\\x1b does not hold that profile$"):
        stranger.profile()
    assert not stranger.is_made_of(recorded("probe"))


def test_no_apparmor(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="AppArmor is off, or securityfs is not mounted"):
        loaded(tmp_path)


def test_what_cannot_be_opened_is_told(node: Path) -> None:
    entry = node / "policy" / "profiles" / "probe.1"
    (entry / "raw_data").unlink()
    (entry / "raw_data").symlink_to("x" * 300)
    with pytest.raises(PolicyError, match=r"probe\.1/raw_data can't be read: File name too long"):
        loaded(node)


def test_an_ordinary_user_is_told_why() -> None:
    """Without root, as aalearn's learner runs, raw data is closed (mode 0400)."""
    with tempfile.TemporaryDirectory() as name:
        node = Path(name)
        with tarfile.open(DATA / "node-6.12.tar.xz") as archive:
            archive.extractall(node, filter="tar")
        node.chmod(0o755)
        _raw(node).chmod(0o400 if os.geteuid() == 0 else 0)
        assert "only root sees what is loaded" in as_nobody(lambda: loaded(node))


def as_nobody(do: Callable[[], object]) -> str:
    """Return the text of the error that `do` raises in a child process of an ordinary user, "" for none."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        text = ""
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        try:
            do()
        except PolicyError as error:
            text = str(error)
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    return text
