"""A server in a cluster: found by the kubeconfig, reached through the API server."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from codebase_cli.exits import ExitCode
from tests.mcp.command.api_server import ApiServer
from tests.mcp.command.conftest import ENDS_WITHIN, Ended
from tests.mcp.conftest import Shop


@pytest.fixture
async def api_server(url: str) -> AsyncIterator[ApiServer]:
    async with ApiServer(int(url.rpartition(":")[2]), releases={"code"}).serving() as api_server:
        yield api_server


@pytest.fixture
def in_cluster(surroundings: dict[str, str], home: Path, api_server: ApiServer) -> dict[str, str]:
    """The environment of a person whose kubeconfig leads to the cluster."""
    kubeconfig = home / "kubeconfig"
    kubeconfig.write_text(json.dumps(api_server.kubeconfig()))
    return {**surroundings, "KUBECONFIG": str(kubeconfig)}


Run = Callable[..., Awaitable[Ended]]


@pytest.fixture
def run(in_cluster: dict[str, str]) -> Run:
    async def run(*arguments: str, main: str = "main") -> Ended:
        return await run_command(in_cluster, *arguments, main=main)

    return run


async def run_command(environment: dict[str, str], *arguments: str, main: str = "main") -> Ended:
    """Run the command with an environment, to its end."""
    program = f"import sys; from codebase_cli.__main__ import {main}; sys.exit({main}())"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *arguments, env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), ENDS_WITHIN)
    return Ended(process.returncode, out.decode(), err.decode())


async def test_the_only_release_of_the_current_context_is_found(
    run: Run, shop: Shop, api_server: ApiServer
) -> None:
    await shop.completed({"a.py": "def find_me(): pass\n"})
    found = await run("search", "find_me", "--json")
    assert found.code == ExitCode.DONE, found.err
    assert found.json()["results"][0]["path"] == "a.py" and api_server.forwards == ["server-1"]
    assert (await run("status")).out.startswith("the server in namespace code of here")


async def test_a_large_answer_comes_through_whole(run: Run, shop: Shop) -> None:
    files = {f"f{i}.py": "\n".join(f"value_{i}_{j} = {j}" for j in range(40)) for i in range(60)}
    await shop.completed(files)
    found = await run("search", "value", "--limit", "50", "--full", "--json")
    assert found.code == ExitCode.DONE and len(found.out) > 10_000


async def test_the_release_of_the_contexts_namespace_comes_before_others(run: Run, api_server: ApiServer) -> None:
    api_server.releases = {"default", "other"}
    assert "namespace default" in (await run("status")).out


async def test_one_of_several_has_to_be_named(run: Run, api_server: ApiServer) -> None:
    api_server.releases = {"one", "two"}
    ended = await run("list", "--context", "here")
    assert ended.code == ExitCode.NO_SERVER and "namespaces one, two; say which with --namespace" in ended.err
    assert (await run("list", "--namespace", "two")).code == ExitCode.DONE


async def test_a_namespace_without_a_release_is_no_other_ones_server(run: Run) -> None:
    ended = await run("list", "-n", "elsewhere")
    assert ended.code == ExitCode.NO_SERVER and "no release of codebase-mcp in namespace elsewhere" in ended.err


async def test_a_refusal_of_the_api_server_is_told(run: Run, api_server: ApiServer) -> None:
    api_server.forbidden = {"code"}
    ended = await run("list", "-n", "code")
    assert ended.code == ExitCode.NO_SERVER and "refuses to list services in namespace code (403" in ended.err


async def test_a_release_without_a_ready_pod_says_so(run: Run, api_server: ApiServer) -> None:
    api_server.ready = False
    ended = await run("list", "-n", "code")
    assert (
        ended.code == ExitCode.NO_SERVER and "no pod of the server in namespace code of here is ready" in ended.err
    )


async def test_a_context_that_is_not_there_is_told_with_those_that_are(run: Run) -> None:
    ended = await run("list", "--context", "gone")
    assert ended.code == ExitCode.NO_SERVER and "no context gone; there is here" in ended.err


async def test_the_plugin_of_kubectl_never_starts_a_server_of_this_machine(
    run: Run, api_server: ApiServer
) -> None:
    assert "namespace code" in (await run("status", main="kubectl_plugin")).out
    api_server.releases = set()
    ended = await run("status", main="kubectl_plugin")
    assert ended.code == ExitCode.NO_SERVER and "no release of codebase-mcp in here" in ended.err


async def test_an_mcp_client_lists_the_tools_through_the_api_server(
    in_cluster: dict[str, str], run: Run, home: Path, api_server: ApiServer
) -> None:
    """By the entry that `setup` writes, which names context and namespace for good."""
    assert (await run("setup", "cursor", "--yes")).code == ExitCode.DONE
    entry = json.loads((home / ".cursor" / "mcp.json").read_text())["mcpServers"]["codebase"]
    assert entry["args"] == ["connect", "--context", "here", "--namespace", "code"]
    assert entry["env"] == {"KUBECONFIG": str(home / "kubeconfig")}
    parameters = StdioServerParameters(command=entry["command"], args=entry["args"], env=in_cluster | entry["env"])
    async with Client(parameters) as client:
        assert "search_code" in {tool.name for tool in (await client.list_tools()).tools}


async def test_the_way_into_the_cluster_is_open_for_its_user_alone(in_cluster: dict[str, str]) -> None:
    program = """
import asyncio, sys
from codebase_cli.servers.options import ServerOptions
from codebase_cli.servers.finding import reached
async def main():
    async with reached(ServerOptions(cluster=True)) as endpoint:
        print(oct(endpoint.socket.parent.stat().st_mode & 0o777), endpoint.socket.parent)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=in_cluster, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    mode, folder = out.decode().split()
    assert mode == "0o700" and not Path(folder).exists()


async def test_a_server_that_asks_who_calls_is_sent_tokens_of_a_service_account_and_not_the_kubeconfigs(
    environment: dict[str, str], serving_http: Any, surroundings: dict[str, str], home: Path, shop: Shop
) -> None:
    await shop.completed({"a.py": "def find_me(): pass\n"})
    tokens = home / "tokens.yaml"
    entry = {"name": "agent", "sha256": hashlib.sha256(b"of-the-agent").hexdigest(), "role": "reader"}
    tokens.write_text(json.dumps({"tokens": [entry]}))
    asking = {**environment, "CODEBASE_AUTH": "tokens", "CODEBASE_TOKENS_FILE": str(tokens)}
    async with serving_http(asking) as (url, _):
        served = ApiServer(int(url.rpartition(":")[2]), {"code"}, account_tokens={"code/agent": "of-the-agent"})
        async with served.serving() as api_server:
            (home / "kubeconfig").write_text(json.dumps(api_server.kubeconfig()))
            told = {**surroundings, "KUBECONFIG": str(home / "kubeconfig")}
            as_agent, as_other, as_nobody = [
                await run_command({**told, **more}, "search", "find_me", "--json")
                for more in ({"CODEBASE_SERVICE_ACCOUNT": "agent"}, {"CODEBASE_SERVICE_ACCOUNT": "other"}, {})
            ]
    assert as_agent.code == ExitCode.DONE, as_agent.err
    assert as_agent.json()["results"][0]["path"] == "a.py"
    assert as_other.code == ExitCode.NO_SERVER and "no token of the service account code/other" in as_other.err
    assert as_nobody.code == ExitCode.NO_SERVER and "CODEBASE_SERVICE_ACCOUNT" in as_nobody.err
