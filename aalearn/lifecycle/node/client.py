"""Asking the applier's socket, from the service that may load no policy itself."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aalearn.lifecycle.node.wire import LARGEST_ANSWER, Answer, Request, parse_answer
from aalearn.model.errors import PolicyError
from aalearn.model.text import shown

_TIMEOUT: Final = 150.0  # seconds: compiling a large profile takes long on a slow machine


@dataclass(frozen=True, slots=True)
class Client:
    """The socket of aalearn-apply. Each request is a connection of its own."""

    path: Path
    timeout: float = _TIMEOUT

    def revert(self, profile: bytes, sha256: str = "") -> Answer:
        """Have the text of that sha256 (without: what was applied before) applied again. Raises PolicyError: why
        not. Nothing was changed then, unless it says otherwise.
        """
        return self._ask(Request("revert", profile.decode("utf-8", "surrogateescape"), sha256))

    def complain(self, profile: bytes) -> Answer:
        """Have the profile's applied text put into complain mode. Raises as `revert`."""
        return self._ask(Request("complain", profile.decode("utf-8", "surrogateescape")))

    def _ask(self, request: Request) -> Answer:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self.timeout)
                connection.connect(str(self.path))
                connection.sendall(request.line())
                connection.shutdown(socket.SHUT_WR)
                answer = bytearray()
                while len(answer) <= LARGEST_ANSWER and (part := connection.recv(65_536)):
                    answer += part
        except OSError as error:
            hint = "is aalearn-apply.socket started?"
            why = error.strerror or "no answer in time"
            raise PolicyError(f"can't ask aalearn-apply at {shown(str(self.path))}: {why}; {hint}") from error
        return parse_answer(bytes(answer))
