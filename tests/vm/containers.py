"""Containers in the guest: nginx by runc and by crun, redis by containerd's CRI, a Python service by podman.

nginx and the Python service have the guest's own files below an overlay of their own; redis has a small image. All
have every capability, and nothing is masked or read-only: what is blocked, the profile blocks, and nothing else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

POD = "6f1c2f9e-6a3b-4c55-9d21-0a7e5b1c9d42"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
NGINX = """\
user www-data;
worker_processes 1;
daemon off;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events { worker_connections 64; }
http {
  include /etc/nginx/mime.types;
  access_log /var/log/nginx/access.log;
  server { listen 8080; root /srv/www; }
}
"""
SERVICE = """\
import json, os, signal, socket, sys

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
os.makedirs("/var/lib/api", exist_ok=True)
with socket.create_server(("127.0.0.1", 8081)) as server:
    while True:
        client, _ = server.accept()
        with client, client.makefile("rw") as stream:
            words = stream.readline().split()
            with open("/var/lib/api/words.json.new", "w") as file:
                json.dump(words, file)
            os.replace("/var/lib/api/words.json.new", "/var/lib/api/words.json")
            with open("/etc/hostname") as file:
                stream.write(f"{len(words)}\\n")
"""
# What is in the guest before anything is drafted. The agent's shell runs it once.
SETTING = (
    f"TOKEN={TOKEN}"
    + r"""
set -e
mkdir -p /srv/k && mount -t tmpfs none /srv/k && cd /srv/k
for box in web api; do mkdir -p $box/{work,rootfs} $box/up/{etc/nginx,srv/www,srv/api,root}; done
echo hello > web/up/srv/www/index.html
mkdir -p $(dirname web/up$TOKEN) && echo token > web/up$TOKEN
mkdir -p $(dirname api/up$TOKEN) && echo token > api/up$TOKEN
cp /run/nginx.conf web/up/etc/nginx/nginx.conf; cp /run/api.py api/up/srv/api/api.py
for box in web api; do
  mount -t overlay -o lowerdir=/,upperdir=/srv/k/$box/up,workdir=/srv/k/$box/work overlay /srv/k/$box/rootfs
done
cd web && runc spec && python3 - <<'END'
import json
spec = json.load(open("config.json"))
every = "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_admin net_raw sys_module "
every += "sys_rawio sys_chroot sys_ptrace sys_admin sys_boot mknod audit_write setfcap dac_read_search syslog"
names = ["CAP_" + name.upper() for name in every.split()]
spec["process"] |= {"terminal": False, "args": ["/usr/sbin/nginx"], "apparmorProfile": "web"}
spec["process"]["capabilities"] = {kind: names for kind in ("bounding", "effective", "permitted")}
spec["process"]["noNewPrivileges"] = False
spec["root"]["readonly"] = False
spec["linux"] |= {"maskedPaths": [], "readonlyPaths": []}
json.dump(spec, open("config.json", "w"))
END
mkdir -p /srv/p/rootfs/{bin,tmp,proc,sys,dev,etc,data,usr/bin} /srv/p/rootfs$(dirname $TOKEN) && cd /srv/p
ln -s usr/lib rootfs/lib; ln -s usr/lib64 rootfs/lib64
cp /bin/busybox rootfs/bin/busybox
for tool in sh cat sleep; do ln -sf busybox rootfs/bin/$tool; done
cp /usr/bin/redis-check-rdb rootfs/usr/bin/redis-server; cp /usr/bin/redis-cli rootfs/usr/bin/
for library in $(ldd /usr/bin/redis-check-rdb /usr/bin/redis-cli | grep -o '/lib[^ ]*' | sort -u); do
  mkdir -p rootfs/usr$(dirname $library) && cp -L $library rootfs/usr$library
done
echo 'root:x:0:0::/:/bin/sh' > rootfs/etc/passwd; echo 'root:$y$hash:1::::::' > rootfs/etc/shadow
echo token > rootfs$TOKEN
touch /etc/resolv.conf /etc/hosts
systemctl start containerd
for i in $(seq 100); do ctr version > /dev/null 2>&1 && break; sleep .1; done
python3 /run/cri.py --image /srv/p/rootfs
"""
)
FILES: Mapping[str, str] = {"/run/nginx.conf": NGINX, "/run/api.py": SERVICE}

# RT is runc or crun. The page is asked for from the container's own network; the probe is run by the runtime.
WEB_START = r"""
set -e
rm -rf /srv/k/web/rootfs/var/lib/nginx/*
cd /srv/k/web && $RT run -d --pid-file /run/web.pid web < /dev/null > /run/web.out 2>&1
page() { nsenter -t $(cat /run/web.pid) -n busybox wget -q -O - http://127.0.0.1:8080/$1; }
for i in $(seq 100); do page > /dev/null 2>&1 && break; sleep .1; done
test "$(page)" = hello; ! page missing 2> /dev/null
$RT exec web /usr/bin/busybox sh -c 'busybox wget -q -O - http://127.0.0.1:8080/' | grep -qx hello
$RT kill web HUP; sleep .5; page | grep -qx hello
"""
WEB_STOP = r"""
set -e
$RT kill web $SIGNAL
for i in $(seq 100); do $RT state web | grep -q stopped && break; sleep .1; done
$RT delete web
"""
REDIS = "/usr/bin/redis-server --dir /data --appendonly yes"
REDIS_ASK = r"""
ask() { printf '%s\r\n' "$@" QUIT | busybox nc -w 3 127.0.0.1 6379 | tr -d '\r' | tr '\n' ' '; }
for i in $(seq 100); do test "$(ask PING 2> /dev/null)" = "+PONG +OK " && break; sleep .1; done
ask 'SET k v' 'GET k' SAVE | grep -q '+OK $1 v +OK +OK'
ask BGSAVE > /dev/null; sleep 1
ask 'DEL k' DBSIZE | grep -q ':1 :0 +OK'
"""
REDIS_PROBE = ("/bin/sh", "-c", "/usr/bin/redis-cli PING | /bin/busybox grep PONG")
# The name of a container's file on the host's side, as it leaks into records on some kernels: from a real snapshot.
REDIS_LEAK = """
cd /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots
aa-exec -p redis -- /usr/bin/busybox cat $PWD/$(ls -d */fs/etc/passwd | head -1) > /dev/null
"""
API_START = r"""
set -e
rm -rf /srv/k/api/rootfs/var/lib/api; rm -f /run/api.pid
podman run -d --name api --pidfile /run/api.pid --network none --cap-add ALL --security-opt unmask=ALL \
  --security-opt seccomp=unconfined --security-opt apparmor=api \
  --rootfs /srv/k/api/rootfs /usr/bin/python3 /srv/api/api.py > /dev/null
ask() { nsenter -t $(cat /run/api.pid) -n busybox nc -w 3 127.0.0.1 8081; }
for i in $(seq 50); do test "$(echo one two | ask 2> /dev/null)" = 2 && break; sleep .2; done
test "$(echo a b c | ask)" = 3
podman exec api /usr/bin/python3 -c "import json; print(json.load(open('/var/lib/api/words.json')))" | grep -q "'c'"
"""
API_STOP = "set -e; podman stop -t 10 api > /dev/null; podman rm api > /dev/null"

# Each line is one deed of an attacker with a shell in the container, and what the kernel's record of it must hold.
# What a deed says goes into a variable: to open /dev/null would be denied first.
SHELL = r"""
PATH=/usr/bin:/bin
try() { if told=$( (eval "$2") 2>&1); then echo "ESCAPED: $1"; else echo "blocked: $1"; fi; }
"""


@dataclass(frozen=True, slots=True)
class Abuse:
    """`deed` is shell for busybox, or Python; the record of its denial matches `denied`."""

    name: str
    deed: str
    denied: str


KERNEL = (
    Abuse("sysrq", "echo h > /proc/sysrq-trigger", 'name="/proc/sysrq-trigger"'),
    Abuse("core_pattern", "echo '|/tmp/x' > /proc/sys/kernel/core_pattern", 'name="/proc/sys/kernel/core_pattern"'),
    Abuse("modprobe", "echo /tmp/x > /proc/sys/kernel/modprobe", 'name="/proc/sys/kernel/modprobe"'),
    Abuse("mount", "busybox mount -t tmpfs none /tmp", 'operation="mount"|capname="sys_admin"'),
    Abuse("shadow", "read -r x < /etc/shadow", 'name="/etc/shadow"'),
    Abuse("token", f"read -r x < {TOKEN}", 'name="/(var/)?run/secrets/'),
    Abuse("raw socket", "busybox ping -c 1 127.0.0.1", 'sock_type="raw"|capname="net_raw"'),
)
WEB_ABUSES = (
    *KERNEL,
    Abuse("own program", "busybox rm -f /usr/sbin/nginx", 'operation="unlink".*name="/usr/sbin/nginx"'),
)
REDIS_ABUSES = (
    *KERNEL,
    Abuse("own program", "busybox rm -f /usr/bin/redis-server", 'operation="unlink".*redis-server"'),
)
API_ABUSES = (
    Abuse("sysrq", "open('/proc/sysrq-trigger', 'w').write('h')", 'name="/proc/sysrq-trigger"'),
    Abuse("core_pattern", "open('/proc/sys/kernel/core_pattern', 'w').write('|/x')", "/proc/sys/kernel/core_pattern"),
    Abuse("shadow", "open('/etc/shadow')", 'name="/etc/shadow"'),
    Abuse("token", f"open('{TOKEN}')", 'name="/(var/)?run/secrets/'),
    Abuse("raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", 'sock_type="raw"'),
    Abuse("namespaces", "os.unshare(os.CLONE_NEWNS)", 'capname="sys_admin"'),
    Abuse("shell", "os.posix_spawn('/bin/sh', ['sh', '-c', ':'], {})", 'operation="exec".*name="/usr/bin/'),
    Abuse("memory of another", "open(f'/proc/{os.getppid() or 1}/mem', 'r+b')", 'name="/proc/[0-9]+/mem"'),
    Abuse("own program", "open('/srv/api/api.py', 'a')", 'name="/srv/api/api.py"'),
)


def in_shell(abuses: tuple[Abuse, ...]) -> str:
    """Return the script of all deeds, for busybox."""
    return SHELL + "".join(f"try {_quoted(one.name)} {_quoted(one.deed)}\n" for one in abuses)


def in_python(abuses: tuple[Abuse, ...]) -> str:
    """Return the script of all deeds, for Python."""
    deeds = json.dumps([(one.name, one.deed) for one in abuses])
    return (
        f"import os, socket\nfor name, deed in {deeds}:\n    try:\n        exec(deed)\n"
        "    except PermissionError:\n        print('blocked:', name)\n    else:\n        print('ESCAPED:', name)\n"
    )


def _quoted(words: str) -> str:
    return "'" + words.replace("'", "'\\''") + "'"
