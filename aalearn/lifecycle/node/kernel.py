"""Loading policy into a kernel, removing it, and saying what is loaded."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from aalearn.model.errors import PolicyError, UsageError
from aalearn.model.text import shown
from aalearn.policy.loaded import Loaded, loaded

_TIMEOUT: Final = 120.0  # seconds for the kernel to take policy
_TRIES: Final = 3  # of reading what is loaded: a load by others in between makes the folder inconsistent


class Kernel(Protocol):
    """What a change needs of a kernel. A load replaces all profiles of the policy at once or none of them."""

    def ready(self) -> None:
        """Do nothing where policy may be loaded. Raises UsageError with the mend where it may not."""

    def load(self, policy: bytes) -> None:
        """Load compiled policy, in place of what is loaded by the same names. Raises PolicyError."""

    def unload(self, name: bytes) -> None:
        """Remove a profile with its children; their tasks become unconfined. Raises PolicyError."""

    def loaded(self) -> tuple[Loaded, ...]:
        """Return all that is loaded. Raises PolicyError."""


class RealKernel:
    """This machine's kernel: apparmor_parser loads, securityfs says what is loaded."""

    __slots__ = ("_command", "_root")

    def __init__(self, root: Path, command: Sequence[str]) -> None:
        """Use apparmor's folder of securityfs (`root`) and the parser `command`."""
        self._root = root
        self._command = tuple(command)

    def ready(self) -> None:
        """See `Kernel.ready`."""
        if os.geteuid() != 0:
            raise UsageError("only root loads policy: run it with sudo")
        if not (self._root / "policy").is_dir():
            hint = "`aalearn doctor` says how to turn it on"
            raise UsageError(f"{shown(str(self._root))} is missing: AppArmor is off in this kernel; {hint}")

    def load(self, policy: bytes) -> None:
        """Load compiled policy by one write: the kernel replaces all of its profiles in one transaction, or none."""
        descriptor = os.memfd_create("policy", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(policy)
            file.flush()
            command = (*self._command, "--config-file", "/dev/null", "-K", "-r", "-B", f"/proc/self/fd/{descriptor}")
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                    pass_fds=(descriptor,),
                    timeout=_TIMEOUT,
                    env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C"},
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise PolicyError(f"apparmor_parser could not load the policy: {shown(str(error))}") from error
        if done.returncode:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.returncode}"]
            raise PolicyError(f"the kernel did not take the policy: {shown('; '.join(lines[:3]))}")

    def unload(self, name: bytes) -> None:
        """Remove a profile by the kernel's own file for that, as `apparmor_parser -R` does."""
        try:
            with (self._root / ".remove").open("wb", buffering=0) as file:
                file.write(name)
        except FileNotFoundError as error:
            if (self._root / ".remove").exists():
                raise PolicyError(f"the profile {shown(name)} is not loaded, so it can't be removed") from error
            raise PolicyError(f"{shown(str(self._root / '.remove'))} is missing: is AppArmor on?") from error
        except OSError as error:
            raise PolicyError(f"the profile {shown(name)} can't be removed: {error.strerror}") from error

    def loaded(self) -> tuple[Loaded, ...]:
        """See `Kernel.loaded`. What others load meanwhile is waited for."""
        for _ in range(_TRIES):
            try:
                return loaded(self._root)
            except PolicyError:
                time.sleep(0.05)
        return loaded(self._root)
