"""A machine in a folder: policy files, tasks, and a kernel that shows what was loaded as securityfs does.

No machine that runs these tests needs AppArmor. The kernel here is simulated in its file layout and in what a load does
(all profiles of it at once, children of a replaced profile kept, see kernel security/apparmor/policy.c); policy is
compiled by the real apparmor_parser. The real kernel is tested in tests/vm.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from aalearn.lifecycle.node.machine import Machine
from aalearn.model.errors import PolicyError
from aalearn.policy.decoder import Mode, decode
from aalearn.policy.loaded import Loaded, loaded
from tests.conftest import ROOT

DEBIAN = Path("/etc/apparmor.d")
FEATURES = ROOT / "tests/data/features/kernel-6.12.abi"
_WORDS = {Mode.ENFORCE: "enforce", Mode.COMPLAIN: "complain", Mode.KILL: "kill", Mode.UNCONFINED: "unconfined"}


class FolderKernel:
    """A kernel whose loaded policy is a folder, exchanged as a whole: a load happened or it did not.

    `refuse` is the number of loads from now on that fail; `lie` makes it run other policy than it was given;
    `pause` is called within each change, after it was made ready and before it is to be seen.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.refuse = 0
        self.lie = False
        self.loads: list[bytes] = []
        if not (root / "policy").is_symlink():
            root.mkdir(parents=True, exist_ok=True)
            shutil.copy(FEATURES, root / "features")
            (root / "policy").symlink_to("current/policy")
            self._show([])

    def ready(self) -> None:
        """Anybody may load here."""

    def load(self, policy: bytes) -> None:
        if self.refuse:
            self.refuse -= 1
            raise PolicyError("the kernel did not take the policy: it was told to refuse")
        self.loads.append(policy)
        new = {}
        for one in decode(policy):
            mode = "complain" if one.complain else _WORDS[one.mode]
            attach = (one.attach or one.name).decode()
            new[one.name] = Loaded(one.name, "", mode, attach, policy, hashlib.sha256(policy).hexdigest())
        if self.lie:
            new = {name: Loaded(name, "", one.mode, one.attach, b"other", "") for name, one in new.items()}
        kept = {one.name: one for one in self.loaded()}
        self._show(list((kept | new).values()))

    def unload(self, name: bytes) -> None:
        there = self.loaded()
        if name not in {one.name for one in there}:
            raise PolicyError(f"the profile {name.decode()} is not loaded, so it can't be removed")
        self._show([one for one in there if one.name != name and not one.name.startswith(name + b"//")])

    def loaded(self) -> tuple[Loaded, ...]:
        return loaded((self.root / "current").resolve())

    def modes(self) -> dict[str, str]:
        """Return the mode of each loaded profile."""
        return {one.name.decode(): one.mode for one in self.loaded()}

    def _show(self, profiles: list[Loaded]) -> None:
        generation = Path(tempfile.mkdtemp(prefix="generation-", dir=self.root))
        folder = generation / "policy"
        (folder / "profiles").mkdir(parents=True)
        (folder / "namespaces").mkdir()
        places: dict[bytes, Path] = {}
        for at, one in enumerate(sorted(profiles, key=lambda one: (one.name.count(b"//"), one.name))):
            above, _, own = one.name.rpartition(b"//")
            place = places.get(above, folder) / "profiles" / f"{own.decode().strip('/').replace('/', '.')}.{at}"
            places[one.name] = place
            (place / "profiles").mkdir(parents=True)
            (place / "name").write_bytes(one.name + b"\n")
            (place / "mode").write_text(one.mode + "\n")
            (place / "attach").write_text(one.attach + "\n")
            if one.blob is not None:
                (place / "raw_data").write_bytes(one.blob)
                (place / "raw_sha256").write_text(hashlib.sha256(one.blob).hexdigest() + "\n")
        new = generation / "new"
        new.symlink_to(generation.name)
        new.rename(self.root / "current")


class Simulated:
    """A machine below `folder`. The same folder again gives the same machine, as after a crash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "apparmor.d"
        self.proc = folder / "proc"
        self.kernel = FolderKernel(folder / "securityfs")
        if not self.base.exists():
            self.base.mkdir(mode=0o755)
            self.base.chmod(0o755)
            for name in ("abi", "tunables", "abstractions"):
                shutil.copytree(DEBIAN / name, self.base / name)
            self.proc.mkdir()
        self.parameters = folder / "parameters"
        self.machine = Machine(
            self.kernel, self.base, folder / "securityfs", self.proc, folder / "backups", parameters=self.parameters
        )

    def policy(self, text: str) -> bytes:
        """Return compiled policy for this machine's kernel."""
        compiled = self.machine.judge().compile(text, strict=False).compiled
        assert compiled is not None
        return compiled.blob

    def load(self, text: str, name: str | None = None) -> bytes:
        """Put a profile's text on disk (as `name`) and load it, as apparmor.service does at boot."""
        if name is not None:
            (self.base / name).write_text(text)
        policy = self.policy(text)
        self.kernel.load(policy)
        return policy

    def task(self, pid: int, label: str, exe: str = "/usr/bin/app", unit: str = "", tid: int = 0) -> None:
        """Let a task run: `label` as the kernel prints it, such as `app (complain)` or `unconfined`."""
        folder = self.proc / str(pid)
        thread = folder / "task" / str(tid or pid)
        (thread / "attr/apparmor").mkdir(parents=True, exist_ok=True)
        (thread / "attr/apparmor/current").write_text(label + "\n")
        (thread / "comm").write_text(Path(exe).name[:15] + "\n")
        (folder / "exe").unlink(missing_ok=True)
        (folder / "exe").symlink_to(exe)
        (folder / "cgroup").write_text(f"0::/system.slice/{unit}\n" if unit else "0::/\n")

    def script(self, pid: int, *arguments: str, comm: str, cwd: str = "/", root: str = "/") -> None:
        """Let a task be an interpreter with these arguments, which the kernel calls `comm`."""
        folder = self.proc / str(pid)
        words = [folder.joinpath("exe").readlink().name, *arguments]
        (folder / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))
        (folder / "comm").write_text(comm + "\n")
        (folder / "cwd").symlink_to(cwd)
        (folder / "root").symlink_to(root)

    def end(self, pid: int) -> None:
        """End a task."""
        shutil.rmtree(self.proc / str(pid))

    def state(self, name: str, **links: Any) -> tuple[bytes | None, dict[str, str], dict[str, str]]:
        """Return what agrees or not: the file's content, the loaded policy's digests and modes."""
        file = self.base / name
        there = self.kernel.loaded()
        return (
            file.read_bytes() if file.exists() else None,
            {one.name.decode(): one.sha256 for one in there},
            {one.name.decode(): one.mode for one in there},
        )
