"""Containers of four runtimes with a profile that is loaded, and one that is not: check-pods explains what they say."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aalearn.kubernetes.symptoms import Cause, explain
from tests.cli.conftest import program
from tests.vm.bed import Bed

pytestmark = [pytest.mark.vm, pytest.mark.slow]

SETTING = r"""
set -e
mkdir -p /srv/p/rootfs/{bin,tmp,proc,sys,dev,etc} && cd /srv/p
cp /bin/busybox rootfs/bin/busybox
for tool in sh cat sleep; do ln -sf busybox rootfs/bin/$tool; done
runc spec
cat > /run/web <<'END'
abi <abi/4.0>,
profile web flags=(attach_disconnected,mediate_deleted) { file, network, capability, signal, ptrace, }
END
apparmor_parser -r /run/web
touch /etc/resolv.conf /etc/hosts
systemctl start containerd
for i in $(seq 100); do ctr version > /dev/null 2>&1 && break; sleep .1; done
python3 /run/cri.py --image /srv/p/rootfs
"""
CONFIGURE = """
cd /srv/p && python3 - <<'END'
import json
spec = json.load(open("config.json"))
arguments = ["/bin/cat", "/proc/self/attr/current"]
spec["process"] |= {{"terminal": False, "args": arguments, "apparmorProfile": "{profile}"}}
json.dump(spec, open("config.json", "w"))
END
"""
RUNS = {
    "runc": "cd /srv/p && runc run runc-one 2>&1",
    "crun": "cd /srv/p && crun run crun-one 2>&1",
    "podman": "podman run --rm --network none --security-opt apparmor={profile} --rootfs /srv/p/rootfs "
    "/bin/cat /proc/self/attr/current 2>&1",
    "containerd": "python3 /run/cri.py {profile} /bin/cat /proc/self/attr/current 2>&1",
}


@pytest.fixture(scope="module")
def bed(vm_ready: None) -> Iterator[Bed]:
    with Bed("6.12") as booted:
        booted.put("/run/cri.py", (Path(__file__).parent / "probes" / "cri.py").read_bytes())
        booted.check(SETTING)
        yield booted


@pytest.mark.parametrize("runtime", list(RUNS))
def test_check_pods_explains_what_a_runtime_says(bed: Bed, runtime: str, tmp_path: Path) -> None:
    """With the profile loaded the container runs under it; without, its error is understood and the mend told."""
    bed.check(CONFIGURE.format(profile="web"))
    assert bed.check(RUNS[runtime].format(profile="web")) == "web (enforce)\n"

    bed.check(CONFIGURE.format(profile="absent"))
    failed = bed.run(RUNS[runtime].format(profile="absent"))
    assert failed.code != 0
    message = failed.output
    found = explain(message)
    assert found is not None, message
    assert found.cause is Cause.NOT_LOADED
    assert found.speaker == runtime
    assert found.profile in ("", "absent")

    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "prod"},
        "spec": {
            "nodeName": "guest",
            "containers": [
                {
                    "name": "main",
                    "securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": "absent"}},
                }
            ],
        },
        "status": {
            "containerStatuses": [
                {"name": "main", "state": {"waiting": {"reason": "CreateContainerError", "message": message}}}
            ]
        },
    }
    loaded = tmp_path / "guest"
    loaded.write_bytes(bed.get("/sys/kernel/security/apparmor/profiles"))
    done = program(
        "--output", "json", "check-pods", "--from", "-", "--node", f"guest={loaded}", stdin=json.dumps(pod).encode()
    )
    assert done.code == 1
    (finding,) = json.loads(done.out)["findings"]
    assert finding["code"] == "not-loaded"
    assert "the profile absent is not loaded on guest" in finding["text"]
    assert "aalearn promote absent" in finding["do"]
