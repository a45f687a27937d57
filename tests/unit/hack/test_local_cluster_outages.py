"""Outages on purpose: nodes cut off, programs frozen and started again, and who dies with a node."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hack.local_cluster import build, cgroups, cleanup, cluster, network, paths, processes
from hack.local_cluster.errors import ClusterError

SLEEP = [sys.executable, "-c", "input()"]


class Firewall:
    """Keeps the rules that iptables is asked to keep, and refuses what iptables refuses."""

    def __init__(self) -> None:
        self.rules: list[list[str]] = []

    def succeeds(self, command: Sequence[str]) -> bool:
        (action,) = (word for word in command if word in ("--check", "--insert", "--delete"))
        rule = [word for word in command if word != action]
        there = rule in self.rules
        if action == "--insert":
            self.rules.append(rule)
        elif action == "--delete" and there:
            self.rules.remove(rule)
        return action == "--insert" or there

    def run(self, command: Sequence[str]) -> str:
        assert self.succeeds(command)
        return ""


@pytest.fixture
def firewall(monkeypatch: pytest.MonkeyPatch) -> Firewall:
    firewall = Firewall()
    monkeypatch.setattr(network, "succeeds", firewall.succeeds)
    monkeypatch.setattr(network, "run", firewall.run)
    return firewall


def test_a_node_is_cut_off_in_both_directions_once_and_in_its_own_namespace_only(firewall: Firewall) -> None:
    network.cut_off(2)
    network.cut_off(2)
    assert len(firewall.rules) == 2
    assert {"--in-interface", "--out-interface"} < {word for rule in firewall.rules for word in rule}
    for rule in firewall.rules:
        assert rule[:2] == ["nsenter", f"--net=/run/netns/{network.netns(2)}"]
        assert rule[-2:] == ["--jump", "DROP"]  # REJECT would tell the other side


def test_a_reconnected_node_keeps_no_rule_and_other_nodes_keep_theirs(firewall: Firewall) -> None:
    network.cut_off(2)
    network.cut_off(3)
    network.reconnect(2)
    network.reconnect(2)
    assert all(f"--net=/run/netns/{network.netns(3)}" in rule for rule in firewall.rules)
    assert len(firewall.rules) == 2


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (paths, processes):
        monkeypatch.setattr(module, "RUN", tmp_path)
    (tmp_path / "pids").mkdir()
    return tmp_path


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for child in started:
        child.kill()
        child.communicate()


def remember(run_folder: Path, name: str, pid: int) -> None:
    (run_folder / "pids" / name).write_text(f"{pid} {processes.began(pid)}\n")


def state_letter(pid: int) -> str:
    return processes.parse_stat(Path(f"/proc/{pid}/stat").read_text())[0]


def wait_for_state(pid: int, letters: str) -> None:
    for _ in range(200):
        if state_letter(pid) in letters:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} is in state {state_letter(pid)}, not one of {letters}")


def test_starting_a_frozen_program_wakes_it(
    run_folder: Path, children: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    children.append(child := subprocess.Popen(SLEEP, stdin=subprocess.PIPE))
    remember(run_folder, "api", child.pid)
    assert processes.signalled("api", signal.SIGSTOP)
    wait_for_state(child.pid, "T")
    processes.start(processes.Program("api", ["/must/not/be/started/twice"]), tmp_path, cwd=tmp_path)
    wait_for_state(child.pid, "RSD")


def test_a_program_that_does_not_run_gets_no_signal(run_folder: Path) -> None:
    assert not processes.signalled("api", signal.SIGKILL)


def test_with_a_node_die_its_programs_shims_and_containers_and_nothing_of_other_nodes(
    run_folder: Path, children: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*arguments: str) -> int:
        # The shim's own name stands first in its arguments.
        command = [arguments[0], *SLEEP[1:], *arguments[1:]]
        children.append(child := subprocess.Popen(command, executable=sys.executable, stdin=subprocess.PIPE))
        return child.pid

    shims = {
        number: start("/usr/bin/containerd-shim-runc-v2", "-address", f"{run_folder}/node{number}/containerd.sock")
        for number in (1, 2)
    }
    kubelets = {number: start("kubelet") for number in (1, 2)}
    for number, pid in kubelets.items():
        remember(run_folder, f"node{number}-kubelet", pid)
    remember(run_folder, "etcd", start("etcd"))
    containers = {cgroups.node_group(1): {11}, cgroups.node_group(2): {22}}
    monkeypatch.setattr(cgroups, "members", lambda group: containers[group])
    assert cleanup.pids_of_node(2) == {kubelets[2], shims[2], 22}


def test_programs_that_are_not_there_cannot_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "ensure", lambda: tmp_path)
    with pytest.raises(ClusterError, match=r"no program kubelet; there are etcd, kube-apiserver"):
        cluster.start_again(paths.State(tmp_path), "kubelet")


def test_every_program_of_the_control_plane_and_of_each_node_can_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = paths.State(tmp_path)
    for number in (1, 2):
        state.node(number).mkdir(parents=True)
    started: list[str] = []
    monkeypatch.setattr(build, "ensure", lambda: tmp_path)
    monkeypatch.setattr(processes, "start", lambda program, *_, **__: started.append(program.name))
    names = ["etcd", "kube-apiserver", "kube-scheduler", "node1-containerd", "node2-kubelet", "node2-kube-proxy"]
    for name in names:
        cluster.start_again(state, name)
    assert started == names


def test_a_kubelet_that_ended_is_started_again_while_its_node_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    ready = [0, 2]
    monkeypatch.setattr(processes, "start", lambda program, *_, **__: started.append(program.name))
    monkeypatch.setattr(cluster, "nodes_ready", lambda _: ready.pop(0))
    api: Any = None  # nodes_ready is the only one to ask it
    assert not cluster.are_all_ready(paths.State(tmp_path), tmp_path, api, 2)
    assert cluster.are_all_ready(paths.State(tmp_path), tmp_path, api, 2)
    assert started.count("node1-kubelet") == started.count("node2-kubelet") == 2
