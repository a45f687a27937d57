"""What may be indexed: the checks that stand between a caller and the machine's files."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.api.source_policy import Root, SourceNotFound, SourcePolicy, SourceRefused, SourceUnreadable


@pytest.fixture
def policy(tmp_path: Path) -> SourcePolicy:
    """Users say /code; this process sees a temporary folder."""
    (tmp_path / "root" / "shop").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    return SourcePolicy((Root(PurePosixPath("/code"), tmp_path / "root"),), frozenset({"git.example.org"}))


def test_a_path_is_found_where_its_root_is_mounted(policy: SourcePolicy, tmp_path: Path) -> None:
    assert policy.open_path("/code/shop/") == tmp_path / "root" / "shop"


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("code/shop", SourceRefused, "not absolute"),
        ("/code/../secret", SourceRefused, "'..'"),
        ("/codex", SourceRefused, "outside every repository root"),
        ("/", SourceRefused, "an absolute path under /code"),
        ("/code/none", SourceNotFound, "not found"),
        ("/code/a\0b", SourceRefused, "NUL"),
        ("/code/a\ud800b", SourceRefused, "no file name can have"),
        ("/code/" + "x" * 5000, SourceRefused, "longer"),
    ],
)
def test_a_path_that_may_not_be_indexed_is_named_with_what_is_allowed(
    policy: SourcePolicy, path: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        policy.open_path(path)


def test_a_file_is_no_repository(policy: SourcePolicy, tmp_path: Path) -> None:
    (tmp_path / "root" / "notes.txt").write_text("x")
    with pytest.raises(SourceRefused, match="not a directory"):
        policy.open_path("/code/notes.txt")


@pytest.mark.parametrize("target", ["../secret", "/"])
def test_no_link_leads_out_of_a_root(policy: SourcePolicy, tmp_path: Path, target: str) -> None:
    (tmp_path / "root" / "way-out").symlink_to(target)
    with pytest.raises(SourceRefused, match="symbolic link"):
        policy.open_path("/code/way-out")


def test_a_link_that_leads_to_itself_is_not_found(policy: SourcePolicy, tmp_path: Path) -> None:
    (tmp_path / "root" / "loop").symlink_to("loop")
    with pytest.raises(SourceNotFound):
        policy.open_path("/code/loop")


@given(st.text(max_size=200))
def test_whatever_is_asked_for_no_path_outside_the_roots_is_opened(path: str) -> None:
    policy = SourcePolicy((Root(PurePosixPath("/proc/self/fd"), Path("/proc/self/fd")),))
    try:
        opened = policy.open_path(path)
    except (SourceRefused, SourceUnreadable):
        return
    assert opened.is_relative_to(Path("/proc/self/fd").resolve())


def test_a_refusal_names_the_hosts_that_are_allowed(policy: SourcePolicy) -> None:
    with pytest.raises(SourceRefused, match=r"elsewhere.org is not allowed; allowed hosts: git.example.org"):
        policy.check_git_url("https://elsewhere.org/shop")


@pytest.mark.parametrize("rest", ["git.example.org/shop", "git.example.org:port/shop", "-host/shop", "[::1/shop"])
def test_a_secret_in_a_url_is_not_repeated(policy: SourcePolicy, rest: str) -> None:
    with pytest.raises(SourceRefused) as error:
        policy.check_git_url(f"https://user:hunter2@{rest}")
    assert "hunter2" not in str(error.value)


def test_an_error_names_a_repository_as_its_users_do(tmp_path: Path) -> None:
    policy = SourcePolicy(
        (Root(PurePosixPath("/code"), tmp_path / "1"), Root(PurePosixPath("/code/inner"), tmp_path / "1" / "2"))
    )
    mount = str(tmp_path / "1")
    said = policy.in_user_paths(f"EIO at {mount}/2/x and '{mount}/a', in {mount}: not {mount}0/a nor /x{mount}")
    assert said == f"EIO at /code/inner/x and '/code/a', in /code: not {mount}0/a nor /x{mount}"
    assert SourcePolicy().in_user_paths("as it is") == "as it is"
