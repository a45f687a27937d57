"""The address of a repository: what is checked is what git connects to, and one repository has one address."""

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.api.git_url import GitUrl, GitUrlInvalid, identity_of
from codebase_index.api.resource import IndexingJobSpec
from codebase_index.api.shapes import GIT_URL
from codebase_index.api.source_policy import SourcePolicy, SourceRefused

POLICY = SourcePolicy(
    git_hosts=frozenset({"github.com", "dev.azure.com", "bitbucket.org", "git.example.org:8443"})
)

REFUSED = {
    "a second address in the user name": "ssh://git%40evil%3A2222%2Fx@github.com/y",
    "a host in the user name, lower-case escapes": "ssh://evil.example%2fx@github.com/y",
    "the metadata service in the user name": "ssh://169.254.169.254%3A80%2Fx@github.com/y",
    "an option of ssh": "ssh://-oProxyCommand=id@github.com/x",
    "an escaped option of ssh": "ssh://%2DoProxyCommand%3Did@github.com/x",
    "an option as the host": "ssh://-oProxyCommand=id/x",
    "a backslash before the at": "https://evil.example\\@github.com/x",
    "a backslash in the path": "https://github.com/a\\b",
    "an escaped NUL in the host": "https://github.com%00.evil.example/x",
    "an escaped fragment in the host": "https://github.com%23.evil.example/x",
    "an escaped slash in the host": "https://github.com%2f@evil.example/x",
    "an escaped slash in the path": "https://github.com/a%2fb",
    "an escaped line end in the path": "https://github.com/a%0ab",
    "an allowed host as user": "https://github.com@evil.example/x",
    "two users": "https://a@b@github.com/x",
    "a prefix of an allowed host": "https://github.com.evil.example/x",
    "a suffix of an allowed host": "https://evilgithub.com/x",
    "a trailing dot": "https://github.com./x",
    "an address in brackets": "https://[github.com]:443/x",
    "loopback": "https://[::1]/x",
    "loopback as a number": "https://2130706433/x",
    "letters that look alike": "https://gith\u0443b.com/x",
    "full-width letters": "https://\uff47ithub.com/x",
    "an ideographic full stop": "https://github\u3002com/x",
    "a tab": "https://github.com/a\tb",
    "a line end": "https://github.com/a\n",
    "a leading space": " https://github.com/a",
    "an escape sequence": "https://github.com/a/\x1b[2J",
    "another port of an allowed host": "https://github.com:8443/x",
    "ssh's port for https": "https://github.com:22/x",
    "the default port of a host that is allowed with another": "https://git.example.org/x",
    "no port": "https://github.com:/x",
    "a negative port": "https://github.com:-1/x",
    "a port out of range": "https://github.com:99999/x",
    "port zero": "https://github.com:0/x",
    "digits of another script": "https://github.com:\u0662\u0662/x",
    "a password": "https://user:secret@github.com/x",
    "an empty password": "https://user:@github.com/x",
    "a token": "https://ghp_0123456789@github.com/x",
    "the user of tokens": "https://x-access-token@github.com/x",
    "a query": "https://github.com/a/b?x=1",
    "a fragment": "https://github.com/a/b#x",
    "parents": "https://github.com/a/../../b",
    "escaped parents": "https://github.com/a/%2e%2E/b",
    "no path": "https://github.com",
    "an empty path": "https://github.com/",
    "no host": "https:///x",
    "one slash": "https:/github.com/x",
    "no slash": "https:github.com/x",
    "a relative scheme": "//github.com/x",
    "a remote helper": "ext::sh -c id",
    "a remote helper before an address": "https::https://github.com/x",
    "plain http": "http://github.com/x",
    "git's own protocol": "git://github.com/x",
    "a file": "file:///etc",
    "an alias of ssh": "git+ssh://github.com/x",
    "an option": "--upload-pack=id",
    "too long": "https://github.com/" + "a" * 2048,
    "a space": "https://github.com/a b",
    "half an escape": "https://github.com/a%2",
}


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED.keys())
def test_an_address_that_could_lead_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(SourceRefused):
        POLICY.check_git_url(url)


@pytest.mark.parametrize(
    ("written", "given_to_git"),
    [
        ("https://github.com/a/b.git", "https://github.com/a/b.git"),
        ("HTTPS://GitHub.COM:443/A/b/", "https://github.com/A/b"),
        ("https://github.com//a//b.git", "https://github.com/a/b.git"),
        ("https://github.com/%61/b%2dc%c3%bc", "https://github.com/a/b-c%C3%BC"),
        ("ssh://git@github.com:22/a/b.git", "ssh://git@github.com/a/b.git"),
        ("https://org@dev.azure.com/org/My Project/_git/repo", "https://dev.azure.com/org/My%20Project/_git/repo"),
        ("https://somebody@bitbucket.org/team/repo.git", "https://bitbucket.org/team/repo.git"),
        ("https://git.example.org:8443/x", "https://git.example.org:8443/x"),
        ("https://github.com/~user/x+y@z", "https://github.com/~user/x+y@z"),
    ],
)
def test_git_is_given_the_canonical_form(written: str, given_to_git: str) -> None:
    assert POLICY.check_git_url(written) == given_to_git
    assert POLICY.check_git_url(given_to_git) == given_to_git


def test_one_repository_is_one_target_however_its_address_is_spelt() -> None:
    spellings = ["https://github.com/a/b", "https://github.com/a/b.git", "https://GITHUB.com:443//a/b.git/"]
    targets = {IndexingJobSpec.model_validate({"source": {"git": {"url": url}}}).target for url in spellings}
    assert len(targets) == 1
    others = ["https://github.com/A/b", "https://github.com/a/b/c", "ssh://git@github.com/a/b"]
    assert not targets & {
        IndexingJobSpec.model_validate({"source": {"git": {"url": url}}}).target for url in others
    }


def test_the_short_form_of_ssh_is_answered_with_the_long_one() -> None:
    with pytest.raises(SourceRefused, match=r"write ssh://git@github\.com/a/b\.git"):
        POLICY.check_git_url("git@github.com:a/b.git")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ssh://user%40corp@github.com/a/b", "as in ssh://git@HOST/PATH"),
        ("https://user%40corp@github.com/a/b", "write https://HOST/PATH, without it; .* Secret .* as username"),
        ("https://git_1.example.org/a/b", "write another name of that host"),
    ],
)
def test_a_refusal_says_what_to_write_instead(url: str, said: str) -> None:
    with pytest.raises(SourceRefused, match=said):
        POLICY.check_git_url(url)


@pytest.mark.parametrize("secret", ["user:hunter2", "ghp_hunter2", "hunter2:x-oauth-basic", "a:hunter2@b"])
def test_a_refusal_repeats_no_credential(secret: str) -> None:
    with pytest.raises(SourceRefused) as refusal:
        POLICY.check_git_url(f"https://{secret}@github.com/x")
    assert "hunter2" not in str(refusal.value)


@given(
    st.text(alphabet="abgithub.com:@/\\%2F4083?#[]- e\u0430\n\x00", max_size=40),
    st.sampled_from(["https://", "ssh://", "ssh://git@"]),
)
def test_whatever_is_let_in_git_sees_the_host_that_was_checked(rest: str, scheme: str) -> None:
    try:
        url = POLICY.check_git_url(scheme + rest)
    except SourceRefused:
        return
    parsed = GitUrl.parse(url)
    assert str(parsed) == url
    assert parsed.host in {"github.com", "dev.azure.com", "bitbucket.org"} or parsed.port == 8443
    assert url.count("@") - parsed.path.count("@") == (parsed.user is not None)
    assert "%" not in url.removesuffix(parsed.path) and "\\" not in url


@pytest.mark.parametrize(
    "url", ["ssh://git@github.com/a", "ssh://github.com/a", "ssh://user.name@github.com:2222/a"]
)
def test_git_itself_reads_the_same_host_and_user(url: str) -> None:
    """`git` tells ssh what it has read; the program that stands in for ssh here prints that."""
    parsed = GitUrl.parse(url)
    answer = subprocess.run(
        ["git", "ls-remote", url], capture_output=True, text=True,
        env={"GIT_SSH_COMMAND": "echo SEEN >&2", "PATH": "/usr/bin:/bin", "GIT_SSH_VARIANT": "ssh"},
    )  # fmt: skip
    seen = answer.stderr.split("SEEN", 1)[1].splitlines()[0].split()
    assert (f"{parsed.user}@{parsed.host}" if parsed.user else parsed.host) in seen
    assert (["-p", str(parsed.port)] if parsed.port else []) == [w for w in seen if w in ("-p", str(parsed.port))]


def test_the_schema_lets_in_whatever_is_taken_and_refuses_the_bypass() -> None:
    for url in (
        "https://github.com/a/b.git",
        "ssh://git@github.com:22/a",
        "https://o@dev.azure.com/o/My P/_git/r",
    ):
        assert re.search(GIT_URL.pattern, url) and GitUrl.parse(url)
    for url in REFUSED["a second address in the user name"], "https://github.com/a\0b", "https://github.com/a\nb":
        assert not re.search(GIT_URL.pattern, url)


def test_the_identity_of_what_is_no_address_is_itself() -> None:
    assert identity_of("nothing of the kind/") == "nothing of the kind"
    with pytest.raises(GitUrlInvalid):
        GitUrl.parse("nothing of the kind/")
