"""What a node has loaded: its profiles, their modes, and the very bytes that its kernel runs.

Layout (source: kernel security/apparmor/apparmorfs.c): `policy/profiles/NAME.N/` with files `name`, `mode`, `attach`
and the links `raw_data`, `raw_sha256` (`raw_sha1` on older kernels); children stand in `profiles/` below their parent,
other namespaces in `policy/namespaces/NS/`. The raw data is what was written to load it: one profile when
apparmor_parser compiled it, all of a file's profiles when a compiled file was loaded. Only root may read it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import zstandard

from aalearn.model.errors import PolicyError
from aalearn.model.text import shown
from aalearn.policy.decoder import BinaryProfile, decode, pieces

NODE: Final = Path("/sys/kernel/security/apparmor")
_LARGEST: Final = 1 << 26  # bytes of raw data
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_DEEPEST: Final = 32


@dataclass(frozen=True, slots=True)
class Loaded:
    """One loaded profile. `name` is `PARENT//CHILD` for children; `namespace` "" for the root's, else `NS` or `NS//NS`.

    `mode` is the kernel's word ("enforce", "complain", "kill", "unconfined", "user"); `attach` the attachment it shows.
    `blob` holds the raw data that the profile came in (perhaps others with it), None where the kernel keeps none;
    `sha256` is its digest, "" without.
    """

    name: bytes
    namespace: str
    mode: str
    attach: str
    blob: bytes | None = field(repr=False)
    sha256: str

    def is_made_of(self, blob: bytes) -> bool:
        """Return whether the kernel runs, for this profile, the very bytes that `blob` (compiled policy) holds.

        False also when the kernel does not say. Policy compiled with other options or features differs in bytes and
        may still mean the same: compare it by its automata.
        """
        return self.blob is not None and self.name in fingerprints(blob).get(self.sha256, ())

    def profile(self) -> BinaryProfile:
        """Return the profile decoded. Raises PolicyError when the kernel keeps no raw data or it is unfit."""
        if self.blob is None:
            raise PolicyError(f"the kernel keeps no raw data of {shown(self.name)}: export_binary is off")
        for profile in decode(self.blob):
            if profile.name == self.name or profile.name.rpartition(b":")[2].removeprefix(b"//") == self.name:
                return profile
        raise PolicyError(f"the raw data of {shown(self.name)} does not hold that profile")


def fingerprints(blob: bytes) -> dict[str, tuple[bytes, ...]]:
    """Return the sha256 that a kernel shows for compiled policy, with the names that each stands for: `blob` as a whole
    and each profile in it alone, since apparmor_parser loads them one by one.
    """
    found: dict[str, tuple[bytes, ...]] = {}
    parts = pieces(blob)
    for name, part in parts:
        found[hashlib.sha256(part).hexdigest()] = (name,)
    found[hashlib.sha256(blob).hexdigest()] = tuple(name for name, _ in parts)
    return found


def loaded(root: Path = NODE) -> tuple[Loaded, ...]:
    """Return the profiles loaded below `root` (apparmor's folder of securityfs), sorted by namespace and name.

    Raises PolicyError when the folder is missing or can't be read, or when raw data does not fit its own digest.
    """
    policy = root / "policy"
    if not policy.is_dir():
        raise PolicyError(f"{shown(str(policy))} is missing: AppArmor is off, or securityfs is not mounted")
    try:
        found = [*_namespace(policy, "", 0)]
    except PermissionError as error:
        raise PolicyError(f"{shown(str(error.filename))} can't be read: only root sees what is loaded") from error
    except OSError as error:
        raise PolicyError(f"{shown(str(error.filename))} can't be read: {error.strerror}") from error
    return tuple(sorted(found, key=lambda profile: (profile.namespace, profile.name)))


def _namespace(folder: Path, namespace: str, depth: int) -> Iterator[Loaded]:
    yield from _profiles(folder / "profiles", namespace, b"", depth)
    inner = folder / "namespaces"
    if inner.is_dir() and depth < _DEEPEST:
        for entry in sorted(inner.iterdir()):
            name = shown(entry.name)
            yield from _namespace(entry, f"{namespace}//{name}" if namespace else name, depth + 1)


def _profiles(folder: Path, namespace: str, parent: bytes, depth: int) -> Iterator[Loaded]:
    if not folder.is_dir() or depth > _DEEPEST:
        return
    for entry in sorted(folder.iterdir()):
        own = _word(entry / "name")
        name = own if not parent or own.startswith(parent + b"//") else parent + b"//" + own
        blob = _raw_data(entry, name)
        digest = "" if blob is None else hashlib.sha256(blob).hexdigest()
        mode, attach = shown(_word(entry / "mode")), shown(_word(entry / "attach"))
        yield Loaded(name, namespace, mode, attach, blob, digest)
        yield from _profiles(entry / "profiles", namespace, name, depth + 1)


def _word(path: Path) -> bytes:
    try:
        return path.read_bytes().removesuffix(b"\n")
    except FileNotFoundError:
        return b""


def _raw_data(entry: Path, name: bytes) -> bytes | None:
    """Return the raw data of the profile, checked by the digest that the kernel shows; None where it keeps none."""
    try:
        with (entry / "raw_data").open("rb") as file:
            blob = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    if blob.startswith(_ZSTD):
        try:
            with zstandard.ZstdDecompressor().stream_reader(blob) as reader:
                blob = reader.read(_LARGEST + 1)
        except zstandard.ZstdError as error:
            raise PolicyError(f"the raw data of {shown(name)} is damaged: {error}") from error
    if len(blob) > _LARGEST:
        raise PolicyError(f"the raw data of {shown(name)} is larger than {_LARGEST >> 20} MiB")
    for kind, digest in (("raw_sha256", hashlib.sha256), ("raw_sha1", hashlib.sha1)):
        word = _word(entry / kind)
        if word and word.decode("ascii", "replace") != digest(blob, usedforsecurity=False).hexdigest():
            raise PolicyError(f"the raw data of {shown(name)} does not fit the digest that the kernel shows")
    return blob
