"""A little CRI client for the guest: it asks containerd over its socket for a sandbox and a container with an AppArmor
profile, and prints the container's output or the runtime's error. Messages are encoded by hand (field numbers: CRI v1).

    python3 cri.py --image ROOTFS         makes an image of a folder, also as the sandbox's
    python3 cri.py PROFILE COMMAND…
    python3 cri.py --pod UID STEP -- STEP…
        as kubelet does it, with all capabilities and nothing masked; the steps are
        start PROFILE COMMAND…    a new container in the Pod (which is made with the first)
        exec COMMAND…             prints the output, and ends with the exit code unless it is 0
        host SCRIPT               a bash script outside of the container
        stop                      the container; a `start` may follow
"""

import hashlib
import importlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from typing import Any

grpc: Any = importlib.import_module("grpc")  # the guest has it

SOCKET = "unix:///run/containerd/containerd.sock"
NODE = 2  # NamespaceMode: the host's network, so that no plugin is needed
LOCALHOST = 2  # SecurityProfile.ProfileType


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return out + bytes((number,))


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def first_string(message: bytes) -> str:
    """Return field 1 of an answer, which is an id."""
    size, at = message[1], 2
    return message[at : at + size].decode()


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Give number and value of each field of a message that has only strings, bytes and numbers."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = number()
        size = number()
        if key & 7 == 0:
            yield key >> 3, size
        else:
            at += size
            yield key >> 3, message[at - size : at]


class Runtime:
    def __init__(self) -> None:
        self._channel = grpc.insecure_channel(SOCKET)

    def ask(self, method: str, message: bytes) -> bytes:
        call = self._channel.unary_unary(f"/runtime.v1.RuntimeService/{method}")
        return bytes(call(message, timeout=60))


def bring_image(folder: str) -> None:
    """Import an image of a folder as box:1, and under the name that containerd wants for sandboxes."""
    dump = subprocess.run(["containerd", "config", "dump"], capture_output=True, text=True, check=True).stdout
    pause = re.search(r"sandbox(?:_image)? = ['\"]([^'\"]*:[^'\"]*)['\"]", dump)
    assert pause is not None, dump
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(folder, ".")
    raw = layer.getvalue()
    digest = "sha256:" + hashlib.sha256(raw).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest]}}
    config["config"] = {"Cmd": ["/bin/sleep", "1000"]}
    tags = ["docker.io/library/box:1", pause.group(1)]
    manifest = [{"Config": "config.json", "RepoTags": tags, "Layers": ["layer.tar"]}]
    files = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": raw,
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open("/run/image.tar", "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    subprocess.run(["ctr", "-n", "k8s.io", "images", "import", "/run/image.tar"], check=True)


class Pod:
    """A Pod with one container; what is known of it is kept in a file between calls."""

    def __init__(self, uid: str) -> None:
        self._runtime = Runtime()
        self._file = f"/run/cri-{uid}.json"
        self._logs = f"/run/cri-{uid}"
        metadata = field(1, "cache-0") + field(2, uid) + field(3, "prod")
        linux = field(1, f"/kubepods/besteffort/pod{uid}") + field(2, field(1, field(1, NODE)))
        self._config = field(1, metadata) + field(3, self._logs) + field(8, linux)
        self._known: dict[str, Any] = {}
        if os.path.exists(self._file):
            with open(self._file) as file:
                self._known = json.load(file)
        else:
            os.makedirs(self._logs)
            self._known = {"sandbox": first_string(self._runtime.ask("RunPodSandbox", field(1, self._config)))}
            self._known["starts"] = 0

    def start(self, profile: str, *command: str) -> None:
        attempt = self._known["starts"]
        security = field(1, field(1, "ALL")) + field(3, field(1, NODE))
        security += field(16, field(1, LOCALHOST) + field(2, profile))
        config = field(1, field(1, "main") + field(2, attempt)) + field(2, field(1, "docker.io/library/box:1"))
        config += b"".join(field(3, word) for word in command) + field(11, "main.log") + field(15, field(2, security))
        request = field(1, self._known["sandbox"]) + field(2, config) + field(3, self._config)
        container = first_string(self._runtime.ask("CreateContainer", request))
        self._runtime.ask("StartContainer", field(1, container))
        self._known |= {"container": container, "starts": attempt + 1}
        with open(self._file, "w") as file:
            json.dump(self._known, file)

    def exec(self, *command: str) -> int:
        words = b"".join(field(2, word) for word in command)
        code, output = 0, b""
        for number, value in fields(self._runtime.ask("ExecSync", field(1, self._known["container"]) + words)):
            if isinstance(value, int):
                code = value if number == 3 else code
            else:
                output += value
        sys.stdout.write(output.decode())
        return code

    def host(self, script: str) -> int:
        sys.stdout.flush()
        return subprocess.run(["bash", "-c", script], check=False).returncode

    def stop(self) -> None:
        self._runtime.ask("StopContainer", field(1, self._known["container"]) + field(2, 10))
        self._runtime.ask("RemoveContainer", field(1, self._known["container"]))


def pod(uid: str, words: list[str]) -> int:
    """Do the steps until one fails."""
    made = Pod(uid)
    step: list[str] = []
    try:
        for word in [*words, "--"]:
            if word != "--":
                step.append(word)
                continue
            code = getattr(made, step[0])(*step[1:])
            if code:
                return int(code)
            step = []
    except grpc.RpcError as error:
        print(error.details())
        return 1
    return 0


def main(profile: str, command: list[str]) -> int:
    runtime = Runtime()
    name = f"pod-{os.getpid()}"
    logs = f"/run/cri-{os.getpid()}"
    os.makedirs(logs)
    security = field(1, field(1, NODE)) + field(10, field(1, LOCALHOST) + field(2, profile))
    metadata = field(1, name) + field(2, name) + field(3, "prod")
    sandbox_config = field(1, metadata) + field(3, logs) + field(8, field(2, security))
    try:
        sandbox = first_string(runtime.ask("RunPodSandbox", field(1, sandbox_config)))
        own = field(3, field(1, NODE)) + field(16, field(1, LOCALHOST) + field(2, profile))
        config = field(1, field(1, "main")) + field(2, field(1, "docker.io/library/box:1"))
        config += b"".join(field(3, word) for word in command) + field(11, "main.log") + field(15, field(2, own))
        request = field(1, sandbox) + field(2, config) + field(3, sandbox_config)
        container = first_string(runtime.ask("CreateContainer", request))
        runtime.ask("StartContainer", field(1, container))
    except grpc.RpcError as error:
        print(error.details())
        return 1
    time.sleep(1)
    with open(f"{logs}/main.log") as file:
        print("".join(line.split(" ", 3)[3] for line in file), end="")
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--image":
        bring_image(sys.argv[2])
    elif sys.argv[1] == "--pod":
        sys.exit(pod(sys.argv[2], sys.argv[3:]))
    else:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
