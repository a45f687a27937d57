"""The command for people and scripts, against a real server over HTTP."""

import json
from pathlib import Path
from uuid import UUID

from codebase_cli.exits import ExitCode
from tests.mcp.command.conftest import Command
from tests.mcp.conftest import Shop

CODE = {
    "src/cart.py": "class Cart:\n    def add_item(self, item):\n        self.items.append(item)\n",
    "src/price.go": "func Total(prices []int) int {\n\treturn sum(prices)\n}\n",
}


async def test_a_search_shows_places_with_numbered_code(command: Command, shop: Shop) -> None:
    await shop.completed(CODE)
    found = await command("search", "add_item", "--mode", "symbol")
    assert found.code == ExitCode.DONE, found.err
    first, *lines = found.out.splitlines()
    assert first.startswith("1. src/cart.py:") and "Cart.add_item" in first and "definition of a method" in first
    assert any(line.split("│")[0].strip() == "2" and "def add_item(self, item):" in line for line in lines)
    assert "/work/shop, commit c0ffeec0ffee, indexed " in found.err


async def test_in_a_pipe_there_is_neither_colour_nor_fold(command: Command, shop: Shop) -> None:
    await shop.completed({"long.py": f"def long_name(): return '{'x' * 150}'\n"})
    found = await command("search", "long_name", "-m", "text")
    assert "x" * 150 in found.out and "\x1b" not in found.out + found.err


async def test_what_is_written_for_programs_is_the_servers_answer(command: Command, shop: Shop) -> None:
    job = await shop.completed(CODE)
    assert (await command("search", "Total", "--json")).json()["results"][0]["path"] == "src/price.go"
    assert [j["job_id"] for j in (await command("list", "--json")).json()["jobs"]] == [str(job)]
    assert (await command("status", str(job), "--json")).json()["status"] == "completed"


async def test_the_options_of_a_search_narrow_it(command: Command, shop: Shop) -> None:
    await shop.completed(CODE)
    await shop.completed({"src/cart.py": "def add_item(): pass\n"}, path="/work/other")
    one = (await command("search", "add_item", "-r", "/work/other", "--json")).json()
    assert one["repository"] == "/work/other"
    both = (await command("search", "add_item", "-r", "/work/other", "-r", "/work/shop", "--json")).json()
    assert {r["repository"] for r in both["results"]} == {"/work/other", "/work/shop"}
    go = (await command("search", "items prices", "-l", "go", "-r", "/work/shop", "--json")).json()
    assert {r["path"] for r in go["results"]} == {"src/price.go"}, go


async def test_nothing_found_is_exit_code_4_with_the_reason(command: Command, shop: Shop) -> None:
    await shop.completed(CODE)
    found = await command("search", "no_such_name_anywhere", "-m", "text")
    assert (found.code, found.out) == (ExitCode.NOTHING_FOUND, "")
    assert found.err


async def test_a_job_is_found_by_its_id_the_beginning_of_it_and_its_repository(
    command: Command, shop: Shop
) -> None:
    job = str(await shop.running())
    for word in (job, job[:8], "/work/shop", "shop"):
        shown = await command("status", word)
        assert shown.code == ExitCode.DONE and job in shown.out and "42 %: Embedding" in shown.out, word
    assert "no job has this id or repository: nothing" in (await command("status", "nothing")).err


async def test_a_whole_repository_is_meant_before_those_that_it_is_a_part_of(command: Command, shop: Shop) -> None:
    outer = str(await shop.running(path="/work/shop"))
    inner = str(await shop.running(path="/work/shop/build/copy"))
    shown = await command("status", "/work/shop")
    assert outer in shown.out and inner not in shown.out
    several = await command("cancel", "/work/sho")
    assert (
        several.code == ExitCode.FAILED
        and "is a part of 2 repositories: /work/shop, /work/shop/build/copy" in several.err
    )
    assert inner in (await command("status", "build/copy")).out


async def test_a_job_is_found_behind_the_first_page_of_the_list(command: Command, shop: Shop) -> None:
    first = str(await shop.running(path="/work/first"))
    for number in range(60):
        await shop.running(path=f"/work/{'long-' * 30}{number}")
    assert first in (await command("status", first[:8])).out
    assert first in (await command("status", "/work/first")).out


async def test_without_a_job_the_status_says_which_server_answers_and_what_is_active(
    command: Command, shop: Shop, url: str
) -> None:
    await shop.completed(CODE, path="/work/done")
    job = await shop.running()
    shown = await command("status")
    assert shown.out.startswith(f"the server at {url}") and str(job) in shown.out and "/work/done" not in shown.out


async def test_a_table_has_a_line_for_each_job(command: Command, shop: Shop) -> None:
    await shop.completed(CODE)
    await shop.failed("/work/broken")
    shown = await command("list")
    heading, broken, done = shown.out.splitlines()
    assert heading.split() == ["JOB", "STATUS", "PROGRESS", "FILES", "CHUNKS", "AGE", "SOURCE"]
    assert broken.split()[1] == "failed" and done.split()[1] == "completed"
    assert len((await command("list", "--status", "failed")).out.splitlines()) == 2


async def test_waiting_for_a_job_shows_its_messages_and_ends_with_its_end(command: Command, shop: Shop) -> None:
    job: UUID = await shop.failed()
    waited = await command("status", str(job), "--watch")
    assert waited.code == ExitCode.JOB_NOT_COMPLETED
    assert waited.out.startswith("failed: the host does not answer")


async def test_cancelling_says_what_stays(command: Command, shop: Shop) -> None:
    job = await shop.running()
    cancelled = await command("cancel", "/work/shop")
    assert cancelled.code == ExitCode.DONE and "Cancelled" in cancelled.out
    assert (await command("status", str(job), "--json")).json()["status"] == "cancelled"
    again = await command("cancel", str(job))
    assert again.code == ExitCode.FAILED and "is already cancelled" in again.err


async def test_a_refusal_of_the_server_is_told_whole(command: Command, roots: Path) -> None:
    refused = await command("index", str(roots / "gone"))
    assert refused.code == ExitCode.FAILED and "not found" in refused.err and "Traceback" not in refused.err


async def test_a_folder_of_this_machine_is_named_by_its_whole_path(command: Command, roots: Path) -> None:
    """The server's Kubernetes API is a closed port: the path is checked before that is asked."""
    refused = await command("index", f"{roots}/shop/../a-file")
    assert "not a directory" in refused.err
    assert (await command("index", f"{roots}/shop/../shop")).err.count("..") == 0


async def test_where_nobody_answers_it_says_so(command: Command, closed_port: int) -> None:
    ended = await command("list", "--url", f"http://127.0.0.1:{closed_port}/mcp")
    assert ended.code == ExitCode.NO_SERVER and "does not answer" in ended.err and "Traceback" not in ended.err


async def test_what_is_no_mcp_server_is_told_apart(command: Command, url: str) -> None:
    ended = await command("list", "--url", f"{url}/healthz")
    assert ended.code == ExitCode.FAILED and "answered 405" in ended.err


async def test_the_token_is_sent_as_a_bearer_and_shown_nowhere(command: Command, shop: Shop) -> None:
    await shop.completed(CODE)
    ended = await command("list", CODEBASE_TOKEN="secret-of-mine")
    assert ended.code == ExitCode.DONE and "secret-of-mine" not in ended.out + ended.err


async def test_the_doctor_is_content_with_a_server_that_answers(command: Command) -> None:
    checked = await command("doctor", "--json")
    assert checked.code == ExitCode.DONE, checked.out
    server = next(f for f in checked.json() if f["about"] == "server")
    assert server["verdict"] == "good" and "tools" in server["said"]


async def test_the_doctor_says_how_to_mend_an_entry_whose_command_is_gone(command: Command, home: Path) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"mcpServers": {"codebase": {"command": "/gone/codebase-mcp", "args": ["serve"]}}}))
    checked = await command("doctor")
    assert checked.code == ExitCode.FAILED
    assert "✗ Cursor: its entry starts /gone/codebase-mcp" in checked.out
    assert "→ codebase-mcp setup cursor" in checked.out
