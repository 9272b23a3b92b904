"""A little CRI client for the guest: it asks containerd over its socket for a sandbox and a container with an AppArmor
profile, and prints the container's output or the runtime's error. Messages are encoded by hand (field numbers: CRI v1).

    python3 cri.py --image ROOTFS         makes an image of a folder, also as the sandbox's
    python3 cri.py PROFILE COMMAND…
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
    else:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
