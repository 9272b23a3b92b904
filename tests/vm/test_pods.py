"""Containers of four runtimes with a profile that is loaded, and one that is not: check-pods explains what they say."""

import json
from pathlib import Path

import pytest

from aalearn.kubernetes.symptoms import Cause, explain
from tests.cli.conftest import program
from tests.vm.bed import Bed

pytestmark = [pytest.mark.vm, pytest.mark.slow]

SETTING = r"""
set -e
cd /srv/p && runc spec
cat > /run/any <<'END'
abi <abi/4.0>,
profile any flags=(attach_disconnected,mediate_deleted) { file, network, capability, signal, ptrace, }
END
apparmor_parser -r /run/any
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
def bed(container_bed: Bed) -> Bed:
    container_bed.check(SETTING)
    return container_bed


@pytest.mark.parametrize("runtime", list(RUNS))
def test_check_pods_explains_what_a_runtime_says(bed: Bed, runtime: str, tmp_path: Path) -> None:
    """With the profile loaded the container runs under it; without, its error is understood and the mend told."""
    bed.check(CONFIGURE.format(profile="any"))
    assert bed.check(RUNS[runtime].format(profile="any")) == "any (enforce)\n"

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
