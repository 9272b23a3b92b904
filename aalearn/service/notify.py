"""What systemd is told: datagrams to the socket that it names. Source: sd_notify(3), sd_watchdog_enabled(3)."""

import os
import socket
from collections.abc import Mapping
from time import clock_gettime_ns

_CLOCK_MONOTONIC = 1


class Notifier:
    """Tells systemd; does nothing where there is none. It never fails: who doesn't listen is not told."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        found = os.environ if environment is None else environment
        name = found.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._socket: socket.socket | None = None
        if self._address.startswith(("/", "\0")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        self.watchdog = _watchdog(found)
        """How often the watchdog must be fed at least (seconds), 0 for no watchdog."""
        self._status = ""

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError:  # systemd's socket is full or gone: what it misses comes again
            return

    def ready(self, status: str) -> None:
        """Say that the service is up (or has read its configuration again)."""
        self._status = status
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows, if it is another one now."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog."""
        if self.watchdog:
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that the configuration is being read again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={clock_gettime_ns(_CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> None:
        """Say that the service ends."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def close(self) -> None:
        """Give back the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog(environment: Mapping[str, str]) -> float:
    """Return systemd's patience in seconds, 0 without a watchdog or if it is another process's."""
    micros, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not (micros.isascii() and micros.isdigit()) or (pid and pid != str(os.getpid())):
        return 0.0
    return int(micros) / 1e6
