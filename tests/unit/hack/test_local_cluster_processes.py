"""How the cluster's processes, mounts and control groups are recognized."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hack.local_cluster import cgroups, cleanup, processes

MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
31 22 0:27 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw
40 22 254:0 /c/.cluster/node1/kubelet /c/.cluster/node1/kubelet rw - ext4 /dev/vda rw
41 40 0:50 / /c/.cluster/node1/kubelet/pods/a/token rw - tmpfs tmpfs rw
42 22 254:0 /home /c/.cluster-of-others rw - ext4 /dev/vda rw
43 22 254:0 /home /c/.cluster/with\\040blank rw - ext4 /dev/vda rw
"""


def test_mounts_below_a_folder_come_innermost_first_and_no_neighbour_is_taken() -> None:
    assert cleanup.parse_mounts(MOUNTINFO, Path("/c/.cluster")) == [
        Path("/c/.cluster/with blank"),
        Path("/c/.cluster/node1/kubelet/pods/a/token"),
        Path("/c/.cluster/node1/kubelet"),
    ]


def test_cgroup_hierarchies_of_both_versions_are_found() -> None:
    found = cgroups.parse_hierarchies(MOUNTINFO)
    assert found == [(Path("/sys/fs/cgroup/pids"), False), (Path("/sys/fs/cgroup/unified"), True)]


def test_a_process_name_with_brackets_and_blanks_does_not_shift_the_fields() -> None:
    rest = " ".join(str(number) for number in range(4, 53))
    state, start = processes.parse_stat(f"17 (a) (b) S {rest}")
    assert (state, start) == ("S", 22)


def test_a_living_process_has_a_beginning_and_an_ended_one_has_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert processes.began(child.pid) is not None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert processes.began(child.pid) is None
    child.communicate()
    assert processes.began(child.pid) is None


@pytest.fixture
def pid_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(processes, "RUN", tmp_path)
    folder = tmp_path / "pids"
    folder.mkdir()
    return folder


def test_a_pid_file_holds_only_for_the_process_that_it_was_written_for(pid_files: Path) -> None:
    own, start = os.getpid(), processes.began(os.getpid())
    assert start is not None
    (pid_files / "ours").write_text(f"{own} {start}\n")
    (pid_files / "reused").write_text(f"{own} {start - 1}\n")
    (pid_files / "cut-short").write_text("")
    assert processes.pid_of("ours") == own
    assert processes.pid_of("reused") is None
    assert processes.pid_of("cut-short") is None
    assert processes.pid_of("never-started") is None
    assert processes.known() == ["cut-short", "ours", "reused"]


def test_only_a_socket_without_a_listener_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert not cleanup.is_dead_socket(path)
    assert cleanup.is_dead_socket(path)
    (tmp_path / "file").touch()
    assert not cleanup.is_dead_socket(tmp_path / "file")
