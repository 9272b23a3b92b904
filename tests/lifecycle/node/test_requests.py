"""The way back that an unprivileged service may ask for: only to what was applied here before, or complain mode."""

import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aalearn.lifecycle.node.applier import applied, apply
from aalearn.lifecycle.node.client import Client
from aalearn.lifecycle.node.requests import complain, previous, revert
from aalearn.lifecycle.node.server import serve
from aalearn.lifecycle.node.wire import LARGEST, Answer, Request, parse_answer, parse_request
from aalearn.model.errors import PolicyError, UsageError
from tests.lifecycle.node.test_applier import NEW, OLD, change
from tests.lifecycle.simulated import Simulated

pytestmark = pytest.mark.parser

NEWER = NEW.replace("/b r,", "/b r,\n  /c r,")
WORDS: dict[str, Any] = {"who": "bob", "reason": "it broke"}
PACKAGED = """\
abi <abi/3.0>,
#include <tunables/global>
profile app /usr/bin/app {
  /a r,
  include <local/usr.bin.app>
}
"""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def node(tmp_path: Path) -> Simulated:
    """A profile that was found in complain mode, promoted, and promoted again."""
    made = Simulated(tmp_path)
    made.load(OLD, "app")
    apply(made.machine, change(made, NEW, revision=1))
    apply(made.machine, change(made, NEWER, revision=2))
    return made


def test_back_and_further_back(node: Simulated) -> None:
    there = previous(node.machine, b"app")
    assert there is not None
    assert there.text == digest(NEW)
    done = revert(node.machine, b"app", **WORDS)
    assert (node.base / "app").read_text() == NEW
    assert (done.applied.mode, done.applied.revision, done.applied.stage) == ("enforce", 1, "reverted")
    assert (done.applied.who, done.applied.reason) == ("bob", "it broke")
    revert(node.machine, b"app", **WORDS)
    assert (node.base / "app").read_text() == OLD
    assert node.kernel.modes() == {"app": "complain", "app//inner": "complain"}
    with pytest.raises(UsageError, match="nothing else was applied to app on this node before"):
        revert(node.machine, b"app", **WORDS)
    assert previous(node.machine, b"app") is None


def test_to_a_text_by_its_digest(node: Simulated) -> None:
    revert(node.machine, b"app", sha256=digest(OLD), **WORDS)
    assert (node.base / "app").read_text() == OLD
    with pytest.raises(UsageError, match="no text 0000000000000000 was applied"):
        revert(node.machine, b"app", sha256="0" * 64, **WORDS)


def test_a_revision_goes_by_the_digest_that_the_store_knows(node: Simulated) -> None:
    apply(node.machine, change(node, NEW, origin="ab" * 32, revision=7))
    apply(node.machine, change(node, NEWER))
    assert revert(node.machine, b"app", sha256="ab" * 32, **WORDS).applied.revision == 7


def test_complain_keeps_the_text(node: Simulated) -> None:
    done = complain(node.machine, b"app", **WORDS)
    assert done.applied.mode == "complain"
    assert node.kernel.modes() == {"app": "complain", "app//inner": "complain"}
    assert (node.base / "app").read_text().count("flags=(complain)") == 2
    assert revert(node.machine, b"app", **WORDS).applied.text == digest(NEWER)


def test_a_person_s_edit_is_not_overwritten(node: Simulated) -> None:
    (node.base / "app").write_text(NEWER + "# mine\n")
    for take_back in (revert, complain):
        with pytest.raises(UsageError, match="was changed since aalearn applied it"):
            take_back(node.machine, b"app", **WORDS)
    (node.base / "app").unlink()
    with pytest.raises(UsageError, match="was changed since"):
        revert(node.machine, b"app", **WORDS)
    assert node.kernel.modes() == {"app": "enforce", "app//inner": "enforce"}


def test_a_local_file(tmp_path: Path) -> None:
    """A profile of a package: its own file is not touched, complain mode is a link."""
    node = Simulated(tmp_path)
    (node.base / "local").mkdir()
    (node.base / "local/usr.bin.app").write_text("")
    node.load(PACKAGED, "usr.bin.app")
    whole = PACKAGED.replace("include <local/usr.bin.app>", "/b r,\n")
    planned = change(node, whole, place="local/usr.bin.app")
    apply(node.machine, replace(planned, text=b"/b r,\n"))
    complain(node.machine, b"app", **WORDS)
    assert (node.base / "usr.bin.app").read_text() == PACKAGED
    assert (node.base / "local/usr.bin.app").read_text() == "/b r,\n"
    assert (node.base / "force-complain/usr.bin.app").readlink() == Path("../usr.bin.app")
    assert node.kernel.modes() == {"app": "complain"}
    revert(node.machine, b"app", **WORDS)
    assert not (node.base / "force-complain/usr.bin.app").is_symlink()
    assert node.kernel.modes() == {"app": "enforce"}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "not one whole line"),
        (b"{}", "not one whole line"),
        (b"{}\n{}\n", "not one whole line"),
        (b"{}\n", "has not the schema 1"),
        (b"[1]\n", "has not the schema 1"),
        (b"\xff\n", "not JSON"),
        (b'{"schema": 1, "schema": 1}\n', "not JSON"),
        (b'{"schema": true, "do": "revert", "profile": "app"}\n', "has not the schema 1"),
        (b"[" * 2000 + b"\n", "not JSON"),
        (b'{"schema": 1, "do": "load", "profile": "app"}\n', "neither revert nor complain"),
        (b'{"schema": 1, "do": ["revert"], "profile": "app"}\n', "neither revert nor complain"),
        (b'{"schema": 1, "do": "revert"}\n', "names no profile"),
        (b'{"schema": 1, "do": "revert", "profile": 7}\n', "names no profile"),
        (b'{"schema": 1, "do": "revert", "profile": "../app"}\n', "not fit for a profile name"),
        (b'{"schema": 1, "do": "revert", "profile": "a\\nb"}\n', "not fit for a profile name"),
        (b'{"schema": 1, "do": "revert", "profile": "\\ud800"}\n', "not fit for a profile name"),
        (b'{"schema": 1, "do": "revert", "profile": "app", "sha256": "../../x"}\n', "sha256 is none"),
        (b'{"schema": 1, "do": "revert", "profile": "app", "text": "x"}\n', "what no request may hold"),
        (b'{"schema": 1, "do": "complain", "profile": "app", "sha256": ""}\n', "what no request may hold"),
        (b" " * LARGEST + b"\n", "longer than 4096 bytes"),
    ],
)
def test_requests_that_are_refused(line: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_request(line)


def test_what_is_written_is_read(node: Simulated) -> None:
    for request in (Request("revert", "app", "ab" * 32), Request("revert", "a/b"), Request("complain", "app")):
        assert parse_request(request.line()) == request
    answer = Answer("app", "enforce", "ab" * 32, 3, ("a note",))
    assert parse_answer(answer.line()) == answer
    for strange in (b"", b"{}\n", b'{"schema": 1, "ok": true}\n', b'{"schema": 1, "ok": 1, "error": "no\\u001b"}\n'):
        with pytest.raises(PolicyError):
            parse_answer(strange)


class Applier:
    """What systemd does with Accept=yes: each connection gets a server of its own."""

    def __init__(self, node: Simulated, path: Path) -> None:
        self.told: list[str] = []
        self._node = node
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                serve(lambda: self._node.machine, connection.fileno(), connection.fileno(), self.told.append)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


@pytest.fixture
def applier(node: Simulated, tmp_path: Path) -> Iterator[Applier]:
    made = Applier(node, tmp_path / "apply.sock")
    yield made
    made.close()


def test_over_the_socket(node: Simulated, applier: Applier, tmp_path: Path) -> None:
    client = Client(tmp_path / "apply.sock")
    assert client.revert(b"app") == Answer("app", "enforce", digest(NEW), 1)
    already = Answer("app", "enforce", digest(NEW), 1, ("it was taken back already",))
    assert client.complain(b"app") == already, "which would have led there as well"
    with pytest.raises(PolicyError, match=r"^app was taken back already: once for each promotion"):
        client.revert(b"app", digest(NEWER))
    with pytest.raises(PolicyError, match=r"^nothing was applied to other on this node by aalearn$"):
        client.revert(b"other")
    assert applied(node.machine, b"app")[-1].asked
    apply(node.machine, change(node, NEWER, revision=2))
    assert client.complain(b"app") == Answer("app", "enforce", digest(NEW), 1), "not less than was enforced before"
    me = f"uid {os.geteuid()} (pid {os.getpid()})"
    once = "app was taken back already: once for each promotion; a person may go on with `aalearn rollback`"
    assert applier.told == [
        f"{me} asked to revert app: done: enforce mode, text {digest(NEW)}, revision 1",
        f"{me} asked to complain app: done: enforce mode, text {digest(NEW)}, revision 1",
        f"{me} asked to revert app to {digest(NEWER)}: nothing was changed: {once}",
        f"{me} asked to revert other: nothing was changed: nothing was applied to other on this node by aalearn",
        f"{me} asked to complain app: done: enforce mode, text {digest(NEW)}, revision 1",
    ]
    assert applied(node.machine, b"app")[-1].who == me


def test_a_peer_that_misbehaves(applier: Applier, tmp_path: Path) -> None:
    for sent in (b"", b"GET / HTTP/1.0\r\n\r\n", b"x" * (LARGEST + 10), b'{"schema": 1'):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(tmp_path / "apply.sock"))
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            answer = json.loads(peer.recv(65_536))
            assert answer["ok"] is False
    assert all(" was refused: " in line for line in applier.told)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"can't ask aalearn-apply at .*: No such file.*; is aalearn-apply\.socket"):
        Client(tmp_path / "none").revert(b"app")
