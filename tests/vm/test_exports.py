"""Containers learned, exported and enforced on a real kernel, by the loader that the exported DaemonSet runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aalearn.cli.main import run
from aalearn.learn.containers import told
from aalearn.store import Store
from tests.kubernetes.exported import documents
from tests.vm.bed import Bed

pytestmark = [pytest.mark.vm, pytest.mark.slow]

SETTING = r"""
set -e
mkdir -p /srv/c/rootfs/{bin,etc,tmp,proc,sys,dev} && cd /srv/c
cp /bin/busybox rootfs/bin/busybox
for tool in sh cat ls mkdir rm sleep id mount nc cp chmod; do ln -sf busybox rootfs/bin/$tool; done
echo secret > rootfs/etc/secret; echo conf > rootfs/etc/app.conf
cat > rootfs/work.sh <<'END'
cat /etc/app.conf
mkdir -p /tmp/d; echo x > /tmp/d/f; cat /tmp/d/f; rm /tmp/d/f
ls / > /dev/null
id
END
runc spec
cat > /etc/apparmor.d/shop <<'END'
abi <abi/4.0>,
profile shop flags=(complain,attach_disconnected,mediate_deleted) {
  audit /** ix,
}
END
apparmor_parser -r /etc/apparmor.d/shop
"""
# Abuses of a container that somebody took over: each is tried by the same shell that does the honest work.
ATTACK = r"""
try() { if "$@" > /dev/null 2>&1; then echo "ESCAPED: $*"; else echo "blocked: $*"; fi; }
try cat /etc/secret
try mount -t tmpfs none /tmp
try sh -c 'echo h > /proc/sysrq-trigger'
try nc -l -p 99 -w 1
try sh -c 'echo evil > /work.sh'
try sh -c 'cat /bin/busybox > /tmp/d/evil && /tmp/d/evil id'
"""
CONFIGURE = """
cd /srv/c && python3 - <<'END'
import json
spec = json.load(open("config.json"))
spec["process"] |= {{"terminal": False, "args": {arguments}, "apparmorProfile": "{profile}"}}
spec["root"]["readonly"] = False
json.dump(spec, open("config.json", "w"))
END
"""
PODMAN = "podman run --rm --network none --security-opt apparmor={profile} --rootfs /srv/c/rootfs /bin/sh /work.sh"
KILL = """
cd /srv/c && (runc run -d long < /dev/null > /dev/null 2>&1) && sleep 1 && runc kill long KILL && sleep 1
runc list | grep -q stopped && runc delete -f long
"""
WORKED = "conf\nx\nuid=0 gid=0\n"


@pytest.fixture(scope="module")
def bed(vm_ready: None) -> Iterator[Bed]:
    with Bed("6.12") as booted:
        booted.check(SETTING)
        yield booted


def _uses(bed: Bed, profile: str) -> None:
    """Run the workload by three runtimes, and kill a container that sleeps."""
    bed.check(CONFIGURE.format(arguments=["/bin/sh", "/work.sh"], profile=profile))
    for runtime in ("runc", "crun"):
        assert bed.check(f"cd /srv/c && {runtime} run {runtime}-one") == WORKED
    assert bed.check(PODMAN.format(profile=profile)) == WORKED
    bed.check(CONFIGURE.format(arguments=["/bin/sleep", "600"], profile=profile))
    bed.check(KILL)


@pytest.fixture(scope="module")
def exported(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The data of the ConfigMaps of `export configmap`: the profiles, and the loader."""
    folder = tmp_path_factory.mktemp("learned")
    _uses(bed, "shop")
    _uses(bed, "shop")
    bed.check(
        "for i in $(seq 50); do grep -q 'signal=kill peer=' /var/log/audit/audit.log && exit; sleep .1; done; exit 1"
    )
    (folder / "audit.log").write_bytes(bed.get("/var/log/audit/audit.log"))
    store = ["--db", f"sqlite:///{folder}/x.db", "--quiet"]
    assert run([*store, "ingest", str(folder / "audit.log")]) == 0
    with Store.open(f"sqlite:///{folder}/x.db", readonly=True) as opened:
        assert "runc" in told(opened.accesses(b"shop"))
    out = folder / "out"
    assert run([*store, "export", "configmap", "shop", "--enforce", "--all", "--output-dir", str(out)]) == 0
    (file,) = Path(out).iterdir()
    maps = [one["data"] for one in documents(file.read_text()) if one["kind"] == "ConfigMap"]
    return {"profiles": maps[0], "loader": maps[1]}


def test_the_loader_loads_and_the_containers_work_enforced(bed: Bed, exported: dict[str, dict[str, str]]) -> None:
    """Loaded once and found again; no denial in use; a container can be killed; escapes are blocked and logged."""
    ((name, text),) = exported["profiles"].items()
    bed.check("mkdir -p /run/profiles /run/loader")
    bed.put(f"/run/profiles/{name}", text)
    bed.put("/run/loader.sh", exported["loader"]["loader.sh"])
    load = "PROFILES=/run/profiles SECONDS_BETWEEN=0 ROUNDS=2 sh /run/loader.sh && test -e /run/loader/ready"
    assert bed.check(load).splitlines() == [f"loading {name}"]
    assert bed.check(load) == ""  # the kernel has it, byte for byte
    bed.check(f"grep -qx '{name} (enforce)' /sys/kernel/security/apparmor/profiles")

    denied = f'sleep 1; grep \'apparmor="DENIED".*profile="{name}\' /var/log/audit/audit.log || true'
    _uses(bed, name)
    assert bed.check(denied) == ""

    bed.check(CONFIGURE.format(arguments=["/bin/sh", "-c", ATTACK], profile=name))
    said = bed.check("cd /srv/c && runc run attacker").splitlines()
    assert len(said) == ATTACK.count("\ntry ")
    assert not [line for line in said if not line.startswith("blocked: ")], said
    assert bed.check(denied) != ""
