"""LibAppArmor's own corpus (of AppArmor's source as in Debian 13): every record of today's syntax is read.

What is not read must be one of these: records of kernels that never were supported (network records without masks), and
lines that are broken. Records of before 2010 have no `apparmor=`: they are "other".
"""

import pytest

from aalearn.grammar.lines import Aside, Lines
from tests.conftest import require
from tests.policy import trixie

NOT_READ = {
    "avc_audit_invalid_audit_id": "malformed",
    "file_xm": "malformed",  # its enrichment has lost the 0x1d
    "status-filesystem-enabled": "malformed",  # grep's file name before the record
    "file_inherit_network_lp1509030": "truncated",  # network records of kernels before 4.17 have no masks
    "file_perm_network_lp1466812": "truncated",
    "ptrace_garbage_lp1689667_1": "truncated",  # no peer, target is garbage
    "ptrace_garbage_lp1689667_2": "truncated",
    "testcase_dbus_09": "truncated",  # one record on two lines
    "testcase_dbus_10": "truncated",  # the quote is never closed
    "testcase_dmesg_changehat_negative_error": "truncated",  # no subject
    "testcase_syslog_changehat_negative_error": "truncated",
    **{f"testcase_network_0{number}": "truncated" for number in range(1, 6)},
}


@pytest.mark.real
def test_libapparmor_s_corpus_is_read() -> None:
    try:
        source = trixie.source()
    except trixie.TrixieError as error:
        require(f"AppArmor's source ({error})", None)
        raise
    lines, kinds = Lines(), {}
    for path in sorted(source.glob("libraries/libapparmor/testsuite/test_multi/*.in")):
        for line in path.read_bytes().split(b"\n"):
            if b'apparmor="' in line:
                seen = lines.read(line)
                kinds[path.stem] = seen.kind if isinstance(seen, Aside) else "record"
    assert list(kinds.values()).count("record") > 80
    assert {name: kind for name, kind in kinds.items() if kind != "record"} == NOT_READ
