import pytest

from codebase_mcp.transport.allowed_hosts import AllowedHosts

HOSTS = AllowedHosts(["localhost", "127.0.0.1", "[::1]", "mcp.example.org", "other.example.org:8443", "any:*"])


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1:65535", "[::1]", "[::1]:80", "mcp.example.org",
     "mcp.example.org:8443", "other.example.org:8443", "any", "any:80"],
)  # fmt: skip
def test_a_name_is_allowed_with_any_port_unless_it_names_one(host: str) -> None:
    assert host in HOSTS
    assert HOSTS.allows(f"http://{host}") and HOSTS.allows(f"https://{host}")


@pytest.mark.parametrize(
    "host",
    ["", "localhost:", "localhost:0", "localhost:65536", "localhost:８０", "localhost:80.evil.example",
     "localhost:evil.example", "localhost:80@evil.example", "localhost@evil.example", "localhost.evil.example",
     "evil.example", "evil.example:8080", "localhost.", "xlocalhost", "mcp.example.org.evil.example",
     "other.example.org", "other.example.org:443", "10.0.0.5:8080", "169.254.169.254", "127.0.0.2", "[::2]", "::1",
     "localhost, evil.example", "localhost evil.example", " localhost", "localhost/", "mcp.example.org:80:80",
     "ｌocalhost"],
)  # fmt: skip
def test_every_other_host_is_refused(host: str) -> None:
    assert host not in HOSTS
    assert not HOSTS.allows(f"http://{host}")


@pytest.mark.parametrize(
    "origin",
    ["null", "localhost", "ftp://localhost", "file://", "http://", "http:localhost", "https://localhost/path",
     "http://localhost http://evil.example", "chrome-extension://localhost"],
)  # fmt: skip
def test_every_other_origin_is_refused(origin: str) -> None:
    assert not HOSTS.allows(origin)


def test_no_origin_is_no_page() -> None:
    assert HOSTS.allows("")


DOMAINS = AllowedHosts(["*.example.org", "*.other.org:8443", "code.apps.net", "*.apps.net", "apps.net"])


@pytest.mark.parametrize(
    "host", ["a.example.org", "a.b.example.org", "A.Example.ORG:8080", "a.other.org:8443", "x.apps.net"]
)
def test_a_wildcard_is_every_name_below_its_domain_as_an_entrance_takes_it(host: str) -> None:
    assert host in DOMAINS


@pytest.mark.parametrize(
    "host",
    ["example.org", ".example.org", "a..example.org", "aexample.org", "example.org.evil.net", "*.example.org",
     "org", "a.other.org", "a.other.org:443", "other.org:8443", "a.example.org."],
)  # fmt: skip
def test_a_wildcard_is_no_other_name(host: str) -> None:
    assert host not in DOMAINS


def test_a_neighbour_under_a_wildcard_is_no_page_that_may_call() -> None:
    assert not DOMAINS.allows("https://neighbour.apps.net")
    assert DOMAINS.allows("https://code.apps.net")
