"""Serving one request of the applier's socket: read a bounded line, do it, answer, and tell the journal who asked."""

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Collection
from typing import Final

from aalearn.lifecycle.node.applier import LeftOpen
from aalearn.lifecycle.node.asked import take_back
from aalearn.lifecycle.node.machine import Machine
from aalearn.lifecycle.node.wire import LARGEST, Answer, parse_request, refusal
from aalearn.model.errors import AalearnError, UsageError
from aalearn.model.text import shown

_PATIENCE: Final = 10.0  # seconds for a request to come
_CREDENTIALS: Final = struct.Struct("3i")


def serve(
    machine: Callable[[], Machine],
    source: int,
    sink: int,
    tell: Callable[[str], None],
    *,
    service: Collection[int] = (),
    probation: Callable[[], float] = lambda: 3_600.0,
    complain_wanted: Callable[[], bool] = lambda: False,
) -> int:
    """Serve the request on descriptor `source`, answer on `sink`; return the exit code.

    Root and this user may ask, and the users `service`. `probation` gives the seconds in which a promotion is taken
    back, `complain_wanted` whether root's configuration wants complain mode of a way back. `tell` gets one line for
    the journal, whatever happens. Never raises for what the other side does.
    """
    uid, who = _peer(source)
    try:
        _may_ask(uid, service)
        request = parse_request(_line(source))
    except UsageError as error:
        tell(f"{who} was refused: {error}")
        _answer(sink, refusal(str(error)))
        return 2
    asked = f"{who} asked to {request.do} {request.profile}" + (f" to {request.sha256}" if request.sha256 else "")
    try:
        done = take_back(machine(), request, who=who, probation=probation(), complain_wanted=complain_wanted())
    except (AalearnError, OSError) as error:
        told = str(error) if isinstance(error, AalearnError) else shown(f"{error.filename or ''} {error.strerror}")
        tell(f"{asked}: {told}" if isinstance(error, LeftOpen) else f"{asked}: nothing was changed: {told}")
        _answer(sink, refusal(told))
        return 3
    entry = done.applied
    tell(f"{asked}: done: {entry.mode} mode, text {entry.text}, revision {entry.revision or '-'}")
    _answer(sink, Answer(request.profile, entry.mode, entry.text, entry.revision, done.notes).line())
    return 0


def _may_ask(uid: int, service: Collection[int]) -> None:
    if uid not in {0, os.geteuid(), *service}:
        raise UsageError("only root and the service's user may ask")


def _line(source: int) -> bytes:
    """Return what comes until the end or a line's end, at most one byte more than a request may have."""
    line = bytearray()
    end = time.monotonic() + _PATIENCE
    while len(line) <= LARGEST and not line.endswith(b"\n"):
        ready, _, _ = select.select([source], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise UsageError(f"no whole request came within {_PATIENCE:g} s")
        part = os.read(source, LARGEST + 1 - len(line))
        if not part:
            break
        line += part
    return bytes(line)


def _answer(sink: int, line: bytes) -> None:
    try:
        while line:
            line = line[os.write(sink, line) :]
    except OSError:  # whoever asked is gone; the journal has the line
        return


def _peer(source: int) -> tuple[int, str]:
    """Return who is at the other end, its uid first: by the socket's credentials, which the kernel wrote."""
    try:
        with socket.socket(fileno=os.dup(source)) as connection:
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:  # no socket: whoever started this holds the other end
        return os.getuid(), f"uid {os.getuid()}"
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return uid, f"uid {uid} (pid {pid})"
