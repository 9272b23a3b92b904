"""A booted virtual machine with a real AppArmor kernel, driven over a virtio port. No network, no KVM needed."""

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.vm.image import PROGRAM, Image, image
from tests.vm.program import LABEL, SITE, program

BOOT_SECONDS = 180.0
BOOT_TRIES = 3
COMMAND_LINE = (
    "root=/dev/nvme0n1 rw rootfstype=ext4 console=ttyS0 apparmor=1 security=apparmor audit=1 audit_backlog_limit=8192 "
    "lsm=landlock,lockdown,yama,integrity,apparmor,bpf mitigations=off quiet panic=-1"
)
INSTALL = f"sh /{PROGRAM}/{SITE}/aalearn/_data/systemd/setup.sh"


@dataclass(frozen=True, slots=True)
class Result:
    """What a script in the guest gave: exit code (124 when its time was up), output and errors as one text."""

    code: int
    output: str


class Bed:
    """One boot of an image; changes to the disk are thrown away with it. Use as a context manager.

    With `aalearn` the guest has this checkout's aalearn on its PATH (in /opt/aalearn) and its units are installed as
    systemd/README.md says; none of them is started. `console` makes the guest's serial line our own terminal, with a
    shell on it; the machine goes off with that shell.
    """

    def __init__(self, kernel: str = "6.12", memory: int = 768, aalearn: bool = False, console: bool = False) -> None:
        self.image: Image = image(kernel)
        self._program = program() if aalearn else None
        self._memory = memory
        self._console = console
        self._work = Path(tempfile.mkdtemp(prefix="aalearn-vm."))
        self._process: subprocess.Popen[bytes] | None = None
        self._port: socket.socket | None = None
        self._monitor: socket.SocketIO | None = None

    def __enter__(self) -> "Bed":
        for attempt in range(1, BOOT_TRIES + 1):
            try:
                self._boot()
            except (TimeoutError, OSError):
                self._end()
                if attempt == BOOT_TRIES:
                    raise
            else:
                break
        if self._program is not None:
            self.check(INSTALL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        shutil.rmtree(self._work, ignore_errors=True)

    def run(self, script: str, seconds: float = 120.0) -> Result:
        """Run a bash script as root in the guest."""
        got = self._ask({"do": "run", "script": script, "seconds": seconds}, seconds + 60)
        return Result(got["code"], got["output"])

    def check(self, script: str, seconds: float = 120.0) -> str:
        """Run a script that must succeed, and return its output."""
        result = self.run(script, seconds)
        assert result.code == 0, f"exit {result.code} of {script!r}:\n{result.output}"
        return result.output

    def put(self, path: str, data: bytes | str, mode: int = 0o644) -> None:
        """Write a file in the guest."""
        raw = data.encode() if isinstance(data, str) else data
        self._ask({"do": "put", "path": path, "mode": mode, "data": base64.b64encode(raw).decode()}, 120)

    def get(self, path: str) -> bytes:
        """Return a file of the guest."""
        got = self._ask({"do": "get", "path": path}, 120)
        assert got["code"] == 0, got["output"]
        return base64.b64decode(got["data"])

    def reboot(self, power_cut: bool = False) -> None:
        """Boot again with the disk as it is: by systemd, or (`power_cut`) at once, with what was not synced lost."""
        assert self._monitor is not None
        self._monitor.write(b'{"execute": "query-status", "id": "now"}\n')
        self._hear(b'"id": "now"')  # what came before is not about this boot
        if power_cut:
            self._monitor.write(b'{"execute": "system_reset"}\n')
        else:
            self.check("systemctl --no-block reboot")
        self._hear(b'"event": "RESET"')
        self._ask({"do": "run", "script": "true", "seconds": 10}, BOOT_SECONDS)

    def pause(self, on: bool = True) -> None:
        """Let the machine stand still, so that it takes no time from others, or (`on` False) go on."""
        assert self._monitor is not None
        self._monitor.write(b'{"execute": "%s", "id": "paused"}\n' % (b"stop" if on else b"cont"))
        self._hear(b'"id": "paused"')

    def wait(self) -> None:
        """Wait until the machine is off."""
        assert self._process is not None
        self._process.wait()

    @property
    def console(self) -> str:
        """What the guest wrote to its console so far."""
        log = self._work / "console"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def _boot(self) -> None:
        path, monitor = self._work / "port", self._work / "monitor"
        path.unlink(missing_ok=True)
        monitor.unlink(missing_ok=True)
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--"),  # no machine outlives a test run that was killed
            *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "Nehalem", "-smp", "1", "-m", str(self._memory)),
            *("-nic", "none", "-nodefaults", "-display", "none", "-monitor", "none", "-kernel", str(self.image.kernel)),
            *("-drive", f"if=none,id=disk,format=raw,snapshot=on,file={self.image.disk}"),
            *("-device", "nvme,drive=disk,serial=aalearn", "-device", "virtio-serial-pci", "-device", "virtio-rng-pci"),
            *("-chardev", f"socket,id=agent,path={path},server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=aalearn"),
            *("-qmp", f"unix:{self._work / 'monitor'},server=on,wait=off"),
        ]
        line = COMMAND_LINE
        if self._program is not None:
            line += f" systemd.mount-extra=LABEL={LABEL}:/{PROGRAM}:ext4:ro"
            command += ["-drive", f"if=none,id=program,format=raw,snapshot=on,file={self._program}"]
            command += ["-device", "virtio-blk-pci,drive=program"]
        if self._console:
            line += " aalearn.console"
            command += ["-chardev", "stdio,id=terminal,signal=off", "-serial", "chardev:terminal"]
        else:
            command += ["-serial", f"file:{self._work / 'console'}"]
        command += ["-append", line]
        self._process = subprocess.Popen(command, stdin=None if self._console else subprocess.DEVNULL)
        deadline = time.monotonic() + BOOT_SECONDS
        while not (path.exists() and monitor.exists()):
            self._alive(deadline)
        self._port = socket.socket(socket.AF_UNIX)
        self._port.connect(str(path))
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(monitor))
            connection.settimeout(BOOT_SECONDS)
            self._monitor = connection.makefile("rwb", buffering=0)
        self._monitor.write(b'{"execute": "qmp_capabilities"}\n')
        # The agent reads what was sent before it was there.
        self._ask({"do": "run", "script": "true", "seconds": 10}, deadline - time.monotonic())

    def _alive(self, deadline: float) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise OSError(f"qemu ended with {self._process.returncode}:\n{self.console[-2000:]}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the guest did not come up:\n{self.console[-2000:]}")
        time.sleep(0.05)

    def _hear(self, word: bytes) -> None:
        """Wait for a line of QEMU's monitor that holds `word`."""
        assert self._monitor is not None
        for line in iter(self._monitor.readline, b""):
            if word in line:
                return
        raise OSError(f"qemu is gone:\n{self.console[-2000:]}")

    def _ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        assert self._port is not None
        self._port.settimeout(max(seconds, 1.0))
        data = json.dumps(message).encode()
        self._port.sendall(len(data).to_bytes(4, "big") + data)
        answer: dict[str, Any] = json.loads(self._read(int.from_bytes(self._read(4), "big")))
        return answer

    def _read(self, size: int) -> bytes:
        assert self._port is not None
        data = bytearray()
        while len(data) < size:
            part = self._port.recv(size - len(data))
            if not part:
                raise OSError(f"the guest is gone:\n{self.console[-2000:]}")
            data += part
        return bytes(data)

    def _end(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._port is not None:
            self._port.close()
            self._port = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
