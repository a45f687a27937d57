"""What a job makes of a source that changes under it: real folders and real git, and a store that only listens."""

import asyncio
import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest

from codebase_index import beneath
from codebase_index.api.source_policy import Root, SourcePolicy
from codebase_index.store.ingest.chunks import Writer
from codebase_index.store.ingest.reuse import Reuse, UnverifiedMoves
from codebase_index.store.ingest.sweep import UnseenFile
from codebase_indexer.content.secret_files import SecretPolicy
from codebase_indexer.content.skipping import Skip
from codebase_indexer.progress.reporter import ProgressReporter
from codebase_indexer.source.checkout import SourceChanged
from codebase_indexer.source.deletions import Presence
from codebase_indexer.survey import open_source
from codebase_indexer.survey import survey as module
from codebase_indexer.survey.survey import MAX_HEAD_MOVES, MAX_REPLACEMENTS, Survey
from tests.operator.builders import job, row
from tests.unit.indexer.repositories import git, write


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "roots" / "a"
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    write(folder, "a.py", "b.py")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    write(tmp_path / "roots" / "a", "a.py", "b.py")
    return tmp_path / "roots" / "a"


class Store:
    """What a survey asks and tells the database."""

    def __init__(self) -> None:
        self.noted: list[tuple[str | None, str | None]] = []
        self.lists: list[set[str]] = []
        self.unseen: list[UnseenFile] = []
        self.lost: dict[str, str] = {}

    async def set_commit(self, job_id: Any, attempt: int, commit: str | None, mark: str | None = None) -> None:
        self.noted.append((commit, mark))

    async def extend(self, writer: Writer, entries: Any, **how: Any) -> int:
        self.lists.append({entry.path for entry in entries})
        return 0


def survey_of(tmp_path: Path, store: Store, **fields: Any) -> Survey:
    """Return the survey of an attempt on the folder `a`; `fields` are those of the job's row."""
    policy = SourcePolicy((Root(PurePosixPath("/repos"), tmp_path / "roots"),))
    settings: Any = SimpleNamespace(
        is_leader=True,
        policy=policy,
        work_dir=tmp_path / "work",
        work_bytes=2**30,
        secrets=SecretPolicy(),
        attempt=1,
    )
    listed = job("a")
    assert listed.spec
    parts: dict[str, Any] = {
        "jobs": SimpleNamespace(set_commit=store.set_commit),
        "work": None,
        "relist": SimpleNamespace(extend=store.extend, lost=AsyncMock(side_effect=lambda *_: store.lost)),
        "sweep": SimpleNamespace(
            unseen=AsyncMock(side_effect=lambda *_: store.unseen), count=AsyncMock(return_value=0)
        ),
        "sharing": None,
    }
    survey = Survey(
        settings, listed.spec, row(listed, "running", 1, **fields), begin_stage=AsyncMock(),
        reporter=ProgressReporter(describe=lambda job: None), **parts,  # type: ignore[arg-type, return-value]
    )  # fmt: skip
    survey.writer = Writer(uuid4(), 1, 1, "m", "v1")
    return survey


async def listed(survey: Survey) -> Survey:
    """Open and list a source as the first attempt does."""
    await survey.open()
    assert await survey.list_files() is not None
    return survey


def commit(folder: Path, name: str) -> str:
    write(folder, name)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", name)
    return git(folder, "rev-parse", "HEAD").decode().strip()


# --- git that is at work --------------------------------------------------------------------------------


async def test_who_commits_again_and_again_is_indexed_without_a_claim(repo: Path, tmp_path: Path) -> None:
    store = Store()
    survey = await listed(survey_of(tmp_path, store))
    store.unseen = [UnseenFile(1, "gone.py", 3, None)]
    for number in range(MAX_HEAD_MOVES):
        head = commit(repo, f"{number}.py")
        assert await survey.relist_if_changed()
        assert store.noted[-1][0] == head
    commit(repo, "last.py")
    assert not await survey.relist_if_changed()
    assert len(store.lists) == MAX_HEAD_MOVES
    assert store.noted[-1] == (None, None)
    assert survey.unsettled
    assert await survey.find_deleted() == ([], 1)


async def test_few_commits_end_in_the_index_of_the_last_with_the_sweep(repo: Path, tmp_path: Path) -> None:
    store = Store()
    survey = await listed(survey_of(tmp_path, store))
    store.unseen = [UnseenFile(1, "gone.py", 3, None)]
    head = commit(repo, "c.py")
    assert await survey.relist_if_changed()
    assert not await survey.relist_if_changed()
    assert (store.lists, store.noted[-1][0]) == ([{"a.py", "b.py", "c.py"}], head)
    assert await survey.find_deleted() == (store.unseen, 0)


async def test_a_lock_that_stays_ends_a_job_without_the_sweep(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor that is open for a message, a hook, or what a crash left behind."""
    monkeypatch.setattr(module, "GIT_WAIT_SECONDS", 0.0)
    store = Store()
    survey = await listed(survey_of(tmp_path, store))
    store.unseen = [UnseenFile(1, "gone.py", 3, None)]
    (repo / ".git" / "index.lock").touch()
    rounds = 0
    while await survey.relist_if_changed():
        rounds += 1
    assert rounds == 1, "once, for git may have begun when the list was made"
    assert survey.unsettled
    assert await survey.find_deleted() == ([], 1)
    assert store.noted[-1] == (None, None)


async def test_what_git_wrote_while_it_was_listed_is_listed_when_it_is_at_rest(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GIT_WAIT_SECONDS", 0.0)
    store = Store()
    lock = repo / ".git" / "index.lock"
    lock.touch()
    survey = await listed(survey_of(tmp_path, store))
    assert await survey.relist_if_changed(), "busy at both looks"
    write(repo, "late.py")
    lock.unlink()
    assert await survey.relist_if_changed()
    assert "late.py" in store.lists[-1]
    assert not await survey.relist_if_changed()
    assert not survey.unsettled


@pytest.mark.parametrize(("ahead", "busy"), [(-3600, False), (-60, True), (60, True), (3600, False)])
async def test_a_lock_counts_while_it_is_young_by_either_clock(
    ahead: float, busy: bool, repo: Path, tmp_path: Path
) -> None:
    lock = repo / ".git" / "index.lock"
    lock.touch()
    os.utime(lock, (time.time() + ahead,) * 2)
    survey = await listed(survey_of(tmp_path, Store()))
    assert survey.checkout.busy is busy


async def test_a_head_that_went_away_and_came_back_is_noticed(repo: Path, tmp_path: Path) -> None:
    """What was read meanwhile is of another commit, and the same one is checked out before and after."""
    commit(repo, "only_here.py")
    git(repo, "branch", "other", "HEAD~1")
    store = Store()
    for there, back in (
        (["checkout", "-q", "other"], ["checkout", "-q", "main"]),
        (["reset", "-q", "--hard", "HEAD~1"], ["reset", "-q", "--hard", "HEAD@{1}"]),
    ):
        survey = await listed(survey_of(tmp_path, store))
        before = survey.checkout.commit
        git(repo, *there)
        git(repo, *back)
        assert await survey.relist_if_changed()
        assert survey.checkout.commit == before
        assert not await survey.relist_if_changed()


async def test_a_look_that_writes_only_the_index_is_no_change(repo: Path, tmp_path: Path) -> None:
    store = Store()
    survey = await listed(survey_of(tmp_path, store))
    os.utime(repo / "a.py")
    git(repo, "status")  # which a prompt does every few seconds
    assert not await survey.relist_if_changed()
    assert store.lists == []


# --- another folder in its place ------------------------------------------------------------------------


async def test_a_folder_that_is_replaced_again_and_again_ends_the_job(plain: Path, tmp_path: Path) -> None:
    survey = await listed(survey_of(tmp_path, Store()))
    for number in range(MAX_REPLACEMENTS + 1):
        plain.rename(tmp_path / f"away_{number}")
        write(plain, "a.py", "b.py")
        if number < MAX_REPLACEMENTS:
            assert await survey.relist_if_changed()
    with pytest.raises(SourceChanged, match=f"replaced or away {MAX_REPLACEMENTS + 1} times"):
        await survey.relist_if_changed()


@pytest.mark.parametrize("replaced", [False, True])
async def test_an_attempt_that_goes_on_with_a_list_knows_whether_it_is_of_this_folder(
    replaced: bool, plain: Path, tmp_path: Path
) -> None:
    store = Store()
    first = await listed(survey_of(tmp_path, store))
    if replaced:
        plain.rename(tmp_path / "away")
        write(plain, "a.py", "b.py")
    _, mark = store.noted[-1]
    second = survey_of(tmp_path, store, files_total=2, source_mark=mark)
    await second.open()
    assert await second.list_files() is None
    assert await second.relist_if_changed() is replaced
    assert (store.noted[-1][1] == mark) is not replaced
    assert not await second.relist_if_changed()
    assert first.checkout.mark == mark


async def test_a_list_of_an_attempt_that_noted_nothing_is_made_again(plain: Path, tmp_path: Path) -> None:
    """Of an earlier version, or one that listed while git was at work."""
    store = Store()
    survey = survey_of(tmp_path, store, files_total=2)
    await survey.open()
    assert await survey.relist_if_changed()
    assert not await survey.relist_if_changed()
    assert store.lists == [{"a.py", "b.py"}]


# --- files that cannot be read --------------------------------------------------------------------------


@pytest.fixture
def dark(plain: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of files that cannot be opened."""
    names = {"b.py"}
    really = beneath.Tree.open_file

    def open_file(tree: beneath.Tree, path: bytes) -> int:
        if os.fsdecode(path) in names:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return really(tree, path)

    monkeypatch.setattr(beneath.Tree, "open_file", open_file)
    return names


@pytest.mark.parametrize("indexed_before", [False, True])
async def test_a_file_that_stays_unreadable_costs_no_second_list(
    indexed_before: bool, dark: set[str], tmp_path: Path
) -> None:
    store = Store()
    survey = await listed(survey_of(tmp_path, store))
    store.lost = {"b.py": Skip.UNREADABLE}
    store.unseen = [UnseenFile(1, "b.py", 3, Skip.UNREADABLE)] if indexed_before else []
    assert not await survey.relist_if_changed()
    assert store.lists == []
    assert await survey.find_deleted() == ([], len(store.unseen))


async def test_a_file_that_can_be_read_again_is_listed_again(dark: set[str], tmp_path: Path) -> None:
    store = Store()
    survey = await listed(survey_of(tmp_path, store))
    store.lost = {"b.py": Skip.UNREADABLE}
    dark.clear()
    assert await survey.relist_if_changed()
    assert not await survey.relist_if_changed()


@pytest.mark.parametrize(("path", "relisted"), [("b.py", True), ("closed/c.py", False), ("gone.py", False)])
async def test_only_an_unlisted_file_that_is_present_is_worth_relisting(
    path: str, relisted: bool, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    survey = await listed(survey_of(tmp_path, store))
    presence = {"b.py": Presence.PRESENT, "closed/c.py": Presence.UNKNOWN, "gone.py": Presence.ABSENT}[path]
    monkeypatch.setattr(open_source, "probe", lambda *_: {path: presence})
    store.unseen = [UnseenFile(1, path, 3, None)]
    assert await survey.relist_if_changed() is relisted


async def test_a_file_that_vanished_may_be_elsewhere_now(plain: Path, tmp_path: Path) -> None:
    store = Store()
    survey = await listed(survey_of(tmp_path, store))
    store.lost = {"b.py": Skip.VANISHED}
    assert await survey.relist_if_changed()


# --- files that seem to have moved ----------------------------------------------------------------------


async def test_only_what_is_gone_from_where_it_was_has_moved(repo: Path, tmp_path: Path) -> None:
    store = Store()
    survey = survey_of(tmp_path, store)
    answers: list[dict[str, bool]] = []

    async def freeze(job_id: Any, attempt: int, entries: Any, reuse: Reuse) -> bool:
        assert reuse.gone is not None
        if not reuse.gone:
            raise UnverifiedMoves(["a.py", "gone.py"])
        answers.append(dict(reuse.gone))
        return True

    survey.work = SimpleNamespace(freeze=freeze)  # type: ignore[assignment]
    survey.sharing = SimpleNamespace(copy_from_others=AsyncMock(return_value=[]))  # type: ignore[assignment]
    await survey.open()
    await survey.freeze(survey.writer, await survey.list_files())
    assert answers == [{"a.py": False, "gone.py": True}]


# --- who waits for whom ---------------------------------------------------------------------------------


async def relisted_by_force(folder: Path, tmp_path: Path, before: int, after: int, indexed: int) -> None:
    """List `before` files with force_reindex, the index having `indexed`; then there are `after`."""
    write(folder, *(f"{n}.py" for n in range(before - 2)))  # beside a.py and b.py
    store = Store()
    survey = survey_of(tmp_path, store)
    survey.spec = survey.spec.model_copy(update={"force_reindex": True})
    survey.sweep.count = AsyncMock(return_value=indexed)  # type: ignore[method-assign]
    await listed(survey)
    for n in range(after, before):
        (folder / f"{n - 2}.py").unlink()
    store.lost = {"9.py": Skip.VANISHED}
    await survey.relist_if_changed()


async def test_a_confirmed_source_that_is_emptied_under_the_job_needs_another_word(
    plain: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        SourceChanged, match="holds 6 files to index, and when this job began it held 20: more than"
    ):
        await relisted_by_force(plain, tmp_path, before=20, after=6, indexed=60)
    with pytest.raises(SourceChanged, match="holds 5 files to index, and its index has 15: more than"):
        await relisted_by_force(plain, tmp_path, before=20, after=5, indexed=15)


async def test_the_users_word_is_good_for_what_the_job_found_first(plain: Path, tmp_path: Path) -> None:
    await relisted_by_force(plain, tmp_path, before=20, after=19, indexed=600)


async def test_the_disk_is_asked_while_all_other_threads_wait_for_a_service(plain: Path, tmp_path: Path) -> None:
    answer = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    waiting = asyncio.create_task(asyncio.to_thread(answer.wait))
    try:
        async with asyncio.timeout(60):
            survey = await listed(survey_of(tmp_path, Store()))
            await survey.check()
            assert not await survey.relist_if_changed()
    finally:
        answer.set()
        await waiting
        loop.set_default_executor(ThreadPoolExecutor())  # the loop is that of all tests
