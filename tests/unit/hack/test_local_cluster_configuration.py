"""Configuration files and command-line checks of local_cluster."""

import asyncio
import json
import os
import platform
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from hack.local_cluster import cluster, entrances, forwarder, host, kind, network, node, paths, pki
from hack.local_cluster.errors import ClusterError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> paths.State:
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    return paths.State(tmp_path / 'check"out')


def test_the_nodes_files_are_readable_and_share_no_folder(state: paths.State) -> None:
    own = []
    for number in (1, 2):
        node.write_configuration(state, number, snapshotter="overlayfs")
        home = state.node(number)
        containerd = tomllib.loads((home / "containerd.toml").read_text())
        kubelet = json.loads((home / "kubelet.json").read_text())
        cni = json.loads((home / "cni" / "10-bridge.conflist").read_text())
        assert kubelet["containerRuntimeEndpoint"] == f"unix://{containerd['grpc']['address']}"
        own.append(
            {
                containerd["root"],
                containerd["state"],
                containerd["grpc"]["address"],
                kubelet["cgroupRoot"],
                kubelet["podLogsDir"],
                cni["plugins"][0]["ipam"]["ranges"][0][0]["subnet"],
                cni["plugins"][0]["ipam"]["dataDir"],
            }
        )
    assert not own[0] & own[1]


def test_the_api_server_is_certified_for_every_address_that_clients_use() -> None:
    (served,) = (c.names for c in pki.certificates() if c.file == "apiserver")
    for name in ("IP:127.0.0.1", f"IP:{network.node_address(1)}", f"IP:{network.API_SERVICE_ADDRESS}"):
        assert name in served.split(",")


@pytest.mark.parametrize("nodes", [1, 3])
def test_the_kind_configuration_has_the_nodes_and_mounts_that_were_asked_for(
    state: paths.State, nodes: int
) -> None:
    roots = [state.checkout, Path("/srv/re pos")]
    config = yaml.safe_load(kind.configuration(state, nodes, roots))
    assert [entry["role"] for entry in config["nodes"]] == ["control-plane"] + ["worker"] * (nodes - 1)
    for entry in config["nodes"]:
        mounts = {mount["hostPath"]: mount for mount in entry["extraMounts"]}
        for root in map(str, roots):
            assert mounts[root] == {"hostPath": root, "containerPath": root, "readOnly": True}
    (patch,) = (yaml.safe_load(text) for text in config["kubeadmConfigPatches"])
    arguments, control_plane = patch["apiServer"]["extraArgs"], config["nodes"][0]["extraMounts"]
    mounted = {mount["containerPath"] for mount in control_plane}
    for file in ("audit-policy-file", "audit-log-path"):
        assert str(Path(arguments[file]).parent) in mounted


def test_a_repository_root_that_is_no_folder_is_refused(
    state: paths.State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPOSITORY_ROOTS", str(state.checkout / "missing"))
    with pytest.raises(ClusterError, match="not a folder"):
        kind.repository_roots(state)


@pytest.mark.parametrize("text", ["0", "-1", "5", "two", "", "1.5"])
def test_a_number_of_nodes_that_cannot_be_made_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="NODES="):
        cluster.check_nodes(text)


def test_numbers_of_nodes_that_can_be_made_are_taken() -> None:
    assert [cluster.check_nodes(text) for text in ("1", "2", "4")] == [1, 2, 4]


def test_a_user_who_is_not_root_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="sudo"):
        host.require_linux_root()


def test_another_system_is_told_to_use_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(ClusterError, match="Docker"):
        host.require_linux_root()


def test_a_full_disk_is_reported_with_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, used=10**12, free=3 * 10**9))
    with pytest.raises(ClusterError, match=r"3\.0 GB"):
        host.require_disk()


def test_a_path_too_deep_for_the_kubelets_sockets_is_refused() -> None:
    host.require_short_path(Path("/srv/codebase-mcp"))
    with pytest.raises(ClusterError, match="shorter path"):
        host.require_short_path(Path("/srv") / ("x" * 80))


async def test_the_forwarder_passes_both_directions_and_keeps_half_closed_connections() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.read()  # until the client has ended its side
        writer.write(question.upper())
        await writer.drain()
        writer.close()

    far = await asyncio.start_server(answer, "127.0.0.1", 0)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    serving = asyncio.create_task(forwarder.serve(listener, "127.0.0.1", far.sockets[0].getsockname()[1]))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello " * 50_000)
    writer.write_eof()
    assert await reader.read() == b"HELLO " * 50_000
    writer.close()
    serving.cancel()
    far.close()


async def test_the_forwarder_closes_a_connection_while_the_target_is_away() -> None:
    away = socket.create_server(("127.0.0.1", 0))
    port_away = away.getsockname()[1]
    away.close()
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(forwarder.serve(listener, "127.0.0.1", port_away))
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
    assert await reader.read() == b""
    writer.close()
    serving.cancel()


def test_a_wrapper_first_in_path_starts_its_program_and_not_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = paths.State(tmp_path / "checkout")
    real = tmp_path / "usr" / "ctr"
    real.parent.mkdir()
    real.write_text("#!/bin/sh\necho real\n")
    real.chmod(0o755)
    entrances.write_wrapper(state, "ctr", "exec ctr")
    monkeypatch.setenv("PATH", f"{state.bin}:{real.parent}:/usr/bin:/bin")
    entrances.write_wrapper(state, "ctr", f"exec {entrances.wrapped_program(state, 'ctr')}")
    assert subprocess.run(["ctr"], capture_output=True, text=True, timeout=10, check=True).stdout == "real\n"
