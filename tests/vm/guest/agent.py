"""Runs inside the guest: takes scripts and files over a virtio port, sends output, files and the exit code back.

A message is a 4-byte big-endian length and that many bytes of JSON; file contents are base64. Only the standard
library: the guest has nothing else.
"""

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, BinaryIO

PORT = "/dev/virtio-ports/aalearn"


def receive(port: BinaryIO) -> dict[str, Any]:
    """Return the next message, waiting for the host to connect where it has not yet."""
    wanted, data, header = 4, b"", True
    while True:
        part = port.read(wanted - len(data))
        if not part:  # nobody on the other side
            time.sleep(0.05)
            continue
        data += part
        if len(data) == wanted:
            if not header:
                message: dict[str, Any] = json.loads(data)
                return message
            wanted, data, header = int.from_bytes(data, "big"), b"", False


def send(port: BinaryIO, message: dict[str, Any]) -> None:
    """Send one message."""
    data = json.dumps(message).encode()
    data = len(data).to_bytes(4, "big") + data
    while data:
        data = data[port.write(data) or 0 :]


def execute(script: str, seconds: float) -> dict[str, Any]:
    """Run a bash script as root; standard output and error come back as one text."""
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG": "C.UTF-8",
                "HOME": "/root",
            },
        )
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode("utf-8", "replace")
        return {"code": 124, "output": f"{output}\n(no end after {seconds} s)"}
    return {"code": done.returncode, "output": done.stdout.decode("utf-8", "replace")}


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """Do what a message asks for."""
    if message["do"] == "run":
        return execute(message["script"], message["seconds"])
    path = Path(message["path"])
    if message["do"] == "put":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(message["data"]))
        path.chmod(message["mode"])
        return {"code": 0}
    if message["do"] == "get":
        if not path.is_file():
            return {"code": 2, "output": f"{path}: no such file"}
        return {"code": 0, "data": base64.b64encode(path.read_bytes()).decode()}
    return {"code": 2, "output": f"unknown message {message['do']}"}


def main() -> None:
    """Serve for ever."""
    descriptor = os.open(PORT, os.O_RDWR)
    with os.fdopen(descriptor, "rb+", buffering=0) as port:
        while True:
            send(port, answer(receive(port)))


if __name__ == "__main__":
    main()
