"""The workloads that are taken from draft to enforce mode: nginx, redis and a Python service (the script is BASH).

They run as root and without their units' own sandboxes, so that nothing but the profile stands in an attacker's way.
What the program itself can be made to do is tried through its own interface (a configuration that an attacker wrote, a
command, a hole in the code), the rest by code that goes into the program's profile as an exploit would (probe.py).
"""

import shlex

from tests.vm.typist import VICTIMS
from tests.vm.workloads import Attack, Workload

# Code for Python: how it is tried, and what its denial's record says. NEIGHBOUR is the pid of another service.
DEEDS = {
    "read /etc/shadow": ("open('/etc/shadow').read()", 'operation="open".* name="/etc/shadow"'),
    "write a cron file": ("open('/etc/cron.d/evil', 'w')", 'operation="mknod".* name="/etc/cron.d/evil"'),
    "run a shell": ("os.posix_spawn('/bin/sh', ['sh', '-c', 'id'], {})", 'operation="exec".* name="/usr/bin/dash"'),
    "ptrace a neighbour": ("call('ptrace', 16, NEIGHBOUR, 0, 0)", 'operation="ptrace".* denied_mask="trace"'),
    "kill a neighbour": ("os.kill(NEIGHBOUR, 9)", 'operation="signal".* denied_mask="send"'),
    "load a module": ("call('syscall', 175, 0, 0, b'')", 'operation="capable".* capname="sys_module"'),
    "open a raw socket": (
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
        'operation="create".* family="inet" sock_type="raw"',
    ),
    "mount": ("call('mount', b'none', b'/mnt', b'tmpfs', 0, None)", 'operation="mount".* name="/mnt/"'),
}
_PREPARED = "/root/probe.py"
# Once for all: a neighbour, and nothing but AppArmor that keeps root from it.
PREPARATION = """
systemd-run -q --unit=neighbour sleep infinity
sysctl -q kernel.yama.ptrace_scope=0
"""

# Pids as on a server that is up for long: they have more digits than while it was learned, in names of files too.
LATER = "echo 30000 > /proc/sys/kernel/ns_last_pid"


def probe(profile: str, own: str) -> tuple[Attack, ...]:
    """Return the attacks by code in a profile. `own` is the program's own file, which the code tries to replace."""
    deeds = {**DEEDS, "replace its own program": (f"os.unlink({own!r})", f'operation="unlink".* name="{own}"')}
    return tuple(
        Attack(name, f"{_sent(code)} | python3 {_PREPARED} {profile}", denied) for name, (code, denied) in deeds.items()
    )


def _sent(code: str) -> str:
    return f"printf %s {shlex.quote(code)} | sed s/NEIGHBOUR/$(systemctl show -P MainPID neighbour)/"


def _file(name: str) -> str:
    return (VICTIMS / name).read_text("utf-8")


NOTES = Workload(
    profile="notes",
    draft=("--exe", "/usr/local/bin/notes"),
    files={
        "/usr/local/bin/notes": (_file("notes.py"), 0o755),
        "/etc/systemd/system/notes.service": (_file("notes.service"), 0o644),
        "/srv/notes/plain": ("some words in a file\n", 0o644),
    },
    setup="mkdir -p /var/lib/notes; systemctl daemon-reload",
    exercise="""
set -e
systemctl restart notes
ask() { curl -sSf --retry 3 --retry-connrefused "$@"; }
[ "$(ask http://127.0.0.1:8090/files/plain)" = 'some words in a file' ]
[ "$(ask http://127.0.0.1:8090/words/plain)" = '5 /srv/notes/plain' ]
head -c 20000 /dev/zero | tr '\\0' x > /root/body
ask --data-binary @/root/body http://127.0.0.1:8090/notes
ask --data-binary @/root/body http://127.0.0.1:8090/files/upload
ask http://127.0.0.1:8090/notes | grep -q ', 20000]'
[ "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8090/none)" = 404 ]
cmp /root/body /var/lib/notes/upload
""",
    attacks=tuple(
        Attack(name, f"{_sent(code)} | curl -sSf --data-binary @- http://127.0.0.1:8090/eval", denied)
        for name, (code, denied) in {
            **DEEDS,
            "write its own program": (
                "open('/usr/local/bin/notes', 'a')",
                'operation="open".* name="/usr/local/bin/notes".* denied_mask="[acw]+"',
            ),
        }.items()
    ),
    units=("notes.service",),
)

_CONFIG = "/etc/nginx/sites-available/default"


def _configured(text: str, then: str) -> str:
    """Return how an attacker who can write nginx's configuration has it read: `text` comes before the rest of it."""
    return f"""
cp /etc/nginx/nginx.conf /root/nginx.conf.kept
{{ printf '%s\\n' {shlex.quote(text)}; grep -v '^user' /root/nginx.conf.kept; }} > /etc/nginx/nginx.conf
systemctl reload nginx; sleep .5
{then}
worked=$?
cp /root/nginx.conf.kept /etc/nginx/nginx.conf
systemctl reload nginx; sleep .5
exit $worked
"""


NGINX = Workload(
    profile="nginx",
    draft=("--exe", "/usr/sbin/nginx"),
    files={_CONFIG: (_file("site.conf"), 0o644), "/var/www/html/index.html": ("<p>hello</p>\n", 0o644)},
    exercise="""
set -e
systemctl restart nginx
ask() { curl -sSf "$@"; }
ask http://127.0.0.1/ | grep -q hello
ask http://127.0.0.1/notes/files/plain | grep -q words
[ "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1/none)" = 404 ]
head -c 20000 /dev/zero | tr '\\0' x > /root/body
ask --data-binary @/root/body http://127.0.0.1/notes/files/upload
mv /var/log/nginx/access.log /var/log/nginx/access.log.1
nginx -s reopen
systemctl reload nginx
sleep .5
ask http://127.0.0.1/ | grep -q hello
""",
    attacks=(
        Attack(  # nginx tells what it can't understand
            "read /etc/shadow as configuration",
            _configured("user www-data; include /etc/shadow;", "nginx -t 2>&1 | grep -q root:"),
            'operation="open".* name="/etc/shadow"',
        ),
        Attack(
            "log into a cron file",
            _configured("user www-data; error_log /etc/cron.d/logged;", "test -e /etc/cron.d/logged"),
            'operation="(mknod|open)".* name="/etc/cron.d/logged"',
        ),
        Attack(
            "load a module of its own",
            _configured("user www-data; load_module /var/tmp/evil.so;", "nginx -t"),
            'operation="open".* name="/var/tmp/evil.so"',
        ),
        *(
            one
            for one in probe("nginx", "/usr/sbin/nginx")
            if one.name not in ("read /etc/shadow", "write a cron file")
        ),
    ),
    # Once started before it is learned: its first start ever makes folders, which no later one does.
    setup="cp /usr/lib/nginx/modules/ngx_http_echo_module.so /var/tmp/evil.so; systemctl start nginx",
    units=("nginx.service",),
)

REDIS = Workload(
    profile="redis",
    draft=("--exe", "/usr/bin/redis-server"),
    files={"/etc/systemd/system/redis-server.service.d/bare.conf": (_file("redis.conf"), 0o644)},
    setup="""
chown -R root:root /etc/redis /var/lib/redis /var/log/redis
printf 'enable-%s yes\\n' protected-configs debug-command module-command >> /etc/redis/redis.conf
cp /usr/lib/nginx/modules/ngx_http_echo_module.so /var/tmp/evil.so; chmod 755 /var/tmp/evil.so
systemctl daemon-reload
""",
    exercise="""
set -e
systemctl restart redis-server
redis() { redis-cli "$@" | tee /root/redis.said; ! grep -q ERR /root/redis.said; }
redis SET a 1; redis INCR a
redis EVAL "return redis.call('GET', 'a')" 0 | grep -q 2
redis BGSAVE
for _ in $(seq 50); do redis-cli INFO persistence | grep -q rdb_bgsave_in_progress:0 && break; sleep .2; done
redis-cli INFO persistence | grep -q rdb_last_bgsave_status:ok
redis SAVE | grep -q OK
""",
    attacks=(
        Attack(
            "save a cron file",
            "redis-cli CONFIG SET dir /etc/cron.d; redis-cli SAVE | grep -q OK; worked=$?; "
            "redis-cli CONFIG SET dir /var/lib/redis; exit $worked",
            'operation="mknod".* name="/etc/cron.d/temp-[0-9]+.rdb"',
        ),
        Attack(
            "load a module of its own",
            "redis-cli MODULE LOAD /var/tmp/evil.so | grep -q OK",
            'operation="open".* name="/var/tmp/evil.so"',
        ),
        Attack(
            "read /etc/shadow as a certificate",
            "redis-cli CONFIG SET tls-auth-clients no tls-cert-file /etc/shadow tls-key-file /etc/shadow tls-port 7000 "
            "| grep -q OK",
            'operation="open".* name="/etc/shadow"',
        ),
        Attack(
            "write its own configuration",
            "redis-cli CONFIG REWRITE | grep -q OK",
            'name="/etc/redis/redis.conf',
        ),
        *(one for one in probe("redis", "/usr/bin/redis-check-rdb") if one.name not in ("read /etc/shadow",)),
    ),
    units=("redis-server.service",),
)
