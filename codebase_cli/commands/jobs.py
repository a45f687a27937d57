"""Indexing: start a job, see how it stands, stop it."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from codebase_cli.exits import CommandFailed, ExitCode
from codebase_cli.output import jobs
from codebase_cli.output.console import answers, remark, say, write_json
from codebase_cli.servers.finding import tools_of
from codebase_cli.servers.options import ServerOptions
from codebase_cli.servers.tools import Tools

Json = Annotated[bool, typer.Option("--json", help="Write the server's answer as JSON.")]
Job = Annotated[
    str, typer.Argument(help="Its id or the beginning of it, or its repository: path, URL or a part of them.")
]
_ACTIVE = ("running", "blocked", "pending")
_BEGINNING_OF_ID = re.compile(r"[0-9a-fA-F-]{1,36}")


async def index(
    source: Annotated[str, typer.Argument(metavar="PATH|URL", help="A repository's folder, or a git URL.")] = ".",
    *,
    name: Annotated[str | None, typer.Option(help="A short name to find it by.")] = None,
    ref: Annotated[str | None, typer.Option(help="Branch, tag or commit; default: what is checked out.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Index unchanged files again, too.")] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Show the progress, and end with the job.")] = False,
    as_json: Json = False,
    options: ServerOptions,
) -> int:
    """Index a repository, or bring its index up to date: unchanged files cost nothing.

    Returns at once with the job's id; the work goes on by itself. With --wait it shows the progress; Ctrl-C then
    leaves the job running (`codebase-mcp cancel` stops it).
    """
    async with tools_of(options) as tools:
        job = await tools.call(
            "start_indexing_background", repo_path=located(source), name=name, ref=ref, force_reindex=force or None
        )
        if not wait:
            if as_json:
                write_json(job)
            else:
                word = "started" if job["created"] else "was active already"
                say(f"job {job['job_id']} {word}: {job['message']}")
                say(f"follow it with: codebase-mcp status --watch {job['job_id']}", "dim")
            return ExitCode.DONE
        try:
            return _ended(await jobs.show_live(tools.follow(job["job_id"])), as_json)
        except asyncio.CancelledError:  # Ctrl-C
            remark(f"the job goes on; `codebase-mcp cancel {job['job_id']}` stops it")
            raise


async def status(
    job: Annotated[
        str | None, typer.Argument(help="Its id, or its repository. Default: all that is active.")
    ] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show the progress until it ends.")] = False,
    skipped: Annotated[bool, typer.Option("--skipped", help="List all files that it left out, and why.")] = False,
    as_json: Json = False,
    options: ServerOptions,
) -> int:  # fmt: skip
    """Show how a job stands; without one, which server answers and what it is doing."""
    async with tools_of(options) as tools:
        if job is None:
            return await _overview(tools, as_json)
        job_id = await _job_id(tools, job)
        if skipped:
            return _show_skipped([file async for file in _skipped(tools, job_id)], as_json)
        if watch:
            return _ended(await jobs.show_live(tools.follow(job_id)), as_json)
        found = await tools.call("get_indexing_status", job_id=job_id)
    if as_json:
        write_json(found)
    else:
        answers().print(jobs.details(found))
    return ExitCode.DONE


async def list_jobs(
    *,
    state: Annotated[
        str | None, typer.Option("--status", "-s", help="Only these: pending, running, blocked, completed, ...")
    ] = None,
    repo: Annotated[str | None, typer.Option(help="Only jobs whose path or URL contains this.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Jobs on a page.")] = 20,
    offset: Annotated[int, typer.Option(min=0, help="Jobs to leave out from the front.")] = 0,
    as_json: Json = False,
    options: ServerOptions,
) -> None:
    """List jobs, newest first."""
    async with tools_of(options) as tools:
        found = await tools.call("list_indexing_jobs", status=state, repo_path=repo, limit=limit, offset=offset)
    if as_json:
        write_json(found)
    elif not found["jobs"]:
        say("no job; start one with: codebase-mcp index PATH")
    else:
        answers().print(jobs.of_jobs(found["jobs"]))
        if (rest := found["total_count"] - offset - len(found["jobs"])) > 0:
            say(f"{rest} more: --offset {offset + len(found['jobs'])}", "dim")


async def cancel(job: Job, *, as_json: Json = False, options: ServerOptions) -> None:
    """Stop a job for good. What it has indexed stays searchable; `index` again goes on from there."""
    async with tools_of(options) as tools:
        cancelled = await tools.call("cancel_indexing_background", job_id=await _job_id(tools, job))
    if as_json:
        write_json(cancelled)
    else:
        say(cancelled["message"])


def located(source: str) -> str:
    """Return a path of this machine as an absolute one; all else (a URL, a path of the server's) as it is."""
    if "://" in source or not Path(source).expanduser().exists():
        return source
    return str(Path(source).expanduser().resolve())


async def _skipped(tools: Tools, job_id: str) -> AsyncIterator[dict[str, Any]]:
    offset: int | None = 0
    while offset is not None:
        page = await tools.call("get_indexing_status", job_id=job_id, limit=100, offset=offset)
        if page["stale"]:
            raise CommandFailed("the list of skipped files is in the database, which is away; try again later")
        for file in page["skipped"]:
            yield file
        offset = page.get("next_offset")


def _show_skipped(files: list[dict[str, Any]], as_json: bool) -> int:
    if as_json:
        write_json(files)
    elif files:
        answers().print(jobs.table(("REASON", "FILE"), ((file["reason"], file["path"]) for file in files)))
    else:
        say("no file was left out")
    return ExitCode.DONE


async def _overview(tools: Tools, as_json: bool) -> int:
    active = [job for state in _ACTIVE async for job in tools.jobs(status=state)]
    if as_json:
        write_json({"server": tools.endpoint.name, "url": tools.endpoint.url, "active_jobs": active})
        return ExitCode.DONE
    say(tools.endpoint.name, "bold")
    if active:
        answers().print(jobs.of_jobs(active))
    else:
        say("no job is active; `codebase-mcp list` shows those that have ended")
    return ExitCode.DONE


async def _job_id(tools: Tools, word: str) -> str:
    """Return the id of the job that is meant: of a repository's, an active one before the newest.

    Raises CommandFailed, also where a part of a name or address fits several repositories: a cancel is for good.
    """
    if _is_uuid(word):
        return word
    if _BEGINNING_OF_ID.fullmatch(word):  # of nothing else are all jobs looked through
        found = {job["job_id"] async for job in tools.jobs() if job["job_id"].startswith(word.lower())}
        if len(found) == 1:
            return str(found.pop())
        if found:
            raise CommandFailed(f"{len(found)} jobs begin with {word}; give more of the id")
    source = located(word).rstrip("/") or "/"
    of_part = [job async for job in tools.jobs(repo_path=source)]
    candidates = [job for job in of_part if job["repo_path"] == source] or of_part
    if not candidates:
        raise CommandFailed(f"no job has this id or repository: {word}; `codebase-mcp list` shows all")
    sources = sorted({job["repo_path"] for job in candidates})
    if len(sources) > 1:
        raise CommandFailed(
            f"{word} is a part of {len(sources)} repositories: {', '.join(sources[:5])}; give all of one"
        )
    active = (job for job in candidates if job["status"] in _ACTIVE)
    return str(next(active, candidates[0])["job_id"])


def _is_uuid(word: str) -> bool:
    try:
        return str(UUID(word)) == word.lower()
    except ValueError:
        return False


def _ended(job: dict[str, Any], as_json: bool) -> int:
    if as_json:
        write_json(job)
    else:
        said = job["error_message"] or job["progress_message"]
        say(f"{job['status']}: {said}", "green" if job["status"] == "completed" else "red")
    return ExitCode.DONE if job["status"] == "completed" else ExitCode.JOB_NOT_COMPLETED
