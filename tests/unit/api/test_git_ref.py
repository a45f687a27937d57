"""Names of refs: git's own rules are the measure, and nothing that a command line could misread is let in."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from codebase_index.api.resource import IndexingJobSpec


def taken(ref: str) -> bool:
    try:
        IndexingJobSpec.model_validate({"source": {"path": "/code/shop"}, "ref": ref})
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    "ref",
    [
        "main",
        "release/1.x",
        "v1.0.0",
        "fix/#123",
        "\u00fcbersicht",
        "origin/main",
        "a1b2c3d4",
        "user@host",
        "feature=1",
    ],
)
def test_names_that_people_give_to_branches_are_taken(ref: str) -> None:
    assert taken(ref)


@pytest.mark.parametrize(
    "ref",
    [
        "", "a/", "/a", "a//b", "a..b", "a.", "a.lock", "x.lock/y", ".hidden", "a/.b", "@", "HEAD^", "HEAD~1",
        "HEAD^{tree}", "a@{1}", "a:b", "a b", "a\tb", "a\n", "a\x7f", "a?b", "a*", "a[b", "a\\b", "-a",
        "--upload-pack=id", "+refs/heads/*:refs/heads/*", "+main", "a;id", "a|b", "$(id)", "`id`", "a&b", "a>b",
        "a\u202eb", "a\u200bb", "a\u2028b", "a" * 256,
    ],
)  # fmt: skip
def test_what_is_no_name_or_could_be_misread_is_refused(ref: str) -> None:
    assert not taken(ref)


@given(st.text(alphabet="ab.@{}/~^:\\-+#lock*[?\u00fc \n", min_size=1, max_size=12))
def test_whatever_is_taken_git_takes_too(ref: str) -> None:
    if taken(ref):
        assert subprocess.run(["git", "check-ref-format", f"refs/heads/{ref}"]).returncode == 0, ref
