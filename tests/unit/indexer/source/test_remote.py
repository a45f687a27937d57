"""Remote repositories, fetched by real git over real TLS from a server on loopback, with our own CA and proxy."""

import asyncio
import base64
import http.server
import os
import select
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from codebase_index import trusted_ca
from codebase_index.api.resource import IndexingJobSpec
from codebase_index.api.source_policy import SourcePolicy
from codebase_index.embedding.protocol import EmbeddingError
from codebase_index.embedding.remote.http import JsonService, RetryBudget
from codebase_indexer.source import remote
from codebase_indexer.source.checkout import CloneFailed, open_source

BACKEND = Path(subprocess.check_output(["git", "--exec-path"], text=True).strip()) / "git-http-backend"


@dataclass
class Host:
    """A git host that knows `shop.git` alone, and sends other names to `redirects`."""

    port: int
    folder: Path
    redirects: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    credentials: str | None = None

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}{path}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a private CA (ca.crt) and a certificate for localhost that it signed."""
    folder = tmp_path_factory.mktemp("ca")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(
        *new, "-x509", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=CA",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    openssl(*new, "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=localhost")
    openssl(
        "x509", "-req", "-in", "host.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
        "-out", "host.crt", "-extfile", "names",
    )  # fmt: skip
    return folder


@pytest.fixture
def host(authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    work = tmp_path / "work-tree"
    work.mkdir()
    (work / "a.py").write_text("answer = 42\n")
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@e.org", "GIT_COMMITTER_NAME": "a",
                "GIT_COMMITTER_EMAIL": "a@e.org", "GIT_CONFIG_GLOBAL": "/dev/null"}  # fmt: skip
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-C", work, *command], env={**os.environ, **identity}, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", work, tmp_path / "served" / "shop.git"], check=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "host.crt", authority / "host.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.git_host = Host(server.server_port, tmp_path / "served")  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.crt"))
    yield server.git_host  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        host: Host = self.server.git_host  # type: ignore[attr-defined]
        path, _, query = self.path.partition("?")
        repository, _, _rest = path.partition(".git/") if ".git/" in path else path.partition("/info/")
        name = repository + (".git" if ".git/" in path else "")
        host.seen.append(f"{self.command} {self.path}")
        if host.credentials and self.headers.get("Authorization") != host.credentials:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
        elif name in host.redirects:
            self.send_response(301)
            self.send_header("Location", host.redirects[name] + self.path[len(name) :])
        else:
            self._run_git(host.folder, path, query)
            return
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 (the library's name)

    def _run_git(self, folder: Path, path: str, query: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = {
            "GIT_PROJECT_ROOT": str(folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query,
            "REQUEST_METHOD": self.command, "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)), "PATH": os.environ["PATH"], "GIT_PROTOCOL": "version=2",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
        }  # fmt: skip
        answer = subprocess.run([BACKEND], input=body, env=env, capture_output=True).stdout
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None: ...


def fetch(host: Host, url: str, work: Path) -> str:
    policy = SourcePolicy(git_hosts=frozenset({f"localhost:{host.port}"}))
    spec = IndexingJobSpec.model_validate({"source": {"git": {"url": url}}})
    checkout = open_source(spec, policy, work, None, sleep=lambda _: None)
    return (checkout.folder / "a.py").read_text()


def test_a_repository_is_fetched_from_a_host_with_a_private_authority(host: Host, tmp_path: Path) -> None:
    assert fetch(host, host.url("/shop.git"), tmp_path / "work") == "answer = 42\n"


def test_a_host_whose_certificate_nobody_signed_is_not_spoken_to(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(CloneFailed, match="certificate"):
        fetch(host, host.url("/shop.git"), tmp_path / "work")
    assert not host.seen


def test_redirects_on_the_host_are_followed(host: Host, tmp_path: Path) -> None:
    host.redirects = {"/shop": "/renamed", "/renamed": host.url("/shop.git")}
    assert fetch(host, host.url("/shop"), tmp_path / "work") == "answer = 42\n"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://127.0.0.1:{port}/shop.git", "http://localhost:{port}/shop.git", "https://localhost:1/shop.git",
        "https://user:pw@localhost:{port}/shop.git",
    ],
)  # fmt: skip
def test_a_redirect_to_another_host_or_port_is_not(host: Host, tmp_path: Path, elsewhere: str) -> None:
    host.redirects = {"/shop": elsewhere.format(port=host.port)}
    with pytest.raises(CloneFailed, match="another host, which is not followed"):
        fetch(host, host.url("/shop"), tmp_path / "work")
    assert not any("shop.git" in request for request in host.seen)


def test_a_circle_of_redirects_ends(host: Host, tmp_path: Path) -> None:
    host.redirects = {"/a": "/b", "/b": "/a"}
    with pytest.raises(CloneFailed):
        fetch(host, host.url("/a"), tmp_path / "work")
    assert len(host.seen) < 30


def test_the_password_of_the_secret_is_sent_also_where_the_address_was_redirected(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "username").write_text("reader")
    (secret / "password").write_text("hunter2")
    monkeypatch.setattr(remote, "CREDENTIALS", secret)
    host.credentials = "Basic " + base64.b64encode(b"reader:hunter2").decode()
    host.redirects = {"/shop": "/shop.git"}
    assert fetch(host, host.url("/shop"), tmp_path / "work") == "answer = 42\n"


def test_the_helpers_of_the_user_are_asked_only_where_that_is_allowed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    helper = '"!f() { test \\"$1\\" = get && echo username=reader && echo password=hunter2; }; f"'
    (home / ".gitconfig").write_text(
        f'[credential "{host.url("")}"]\n\thelper = {helper}\n[core]\n\tfsmonitor = touch {home}/ran\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    host.credentials = "Basic " + base64.b64encode(b"reader:hunter2").decode()
    with pytest.raises(CloneFailed, match="--allow-user-credentials"):
        fetch(host, host.url("/shop.git"), tmp_path / "work")
    monkeypatch.setenv(remote.USER_VARIABLE, "true")
    assert fetch(host, host.url("/shop.git"), tmp_path / "work") == "answer = 42\n"
    assert not (home / "ran").exists()


def test_ssh_of_the_user_has_their_own_configuration_and_still_refuses_unknown_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(remote.USER_VARIABLE, "true")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    variables = remote.environment(tmp_path, "https:ssh")
    command = variables["GIT_SSH_COMMAND"]
    assert variables["SSH_AUTH_SOCK"] == "/run/agent"
    assert "/dev/null" not in command and "StrictHostKeyChecking=yes" in command
    monkeypatch.delenv(remote.USER_VARIABLE)
    assert "SSH_AUTH_SOCK" not in remote.environment(tmp_path, "https:ssh")


class _Proxy(socketserver.BaseRequestHandler):
    """Answers CONNECT, and notes to what it was asked to connect."""

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(4096)
        target = head.split()[1].decode()
        self.server.asked.append(target)  # type: ignore[attr-defined]
        with socket.create_connection(("127.0.0.1", int(target.rsplit(":", 1)[1]))) as upstream:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            other = {self.request: upstream, upstream: self.request}
            while True:
                for ready in select.select(list(other), [], [], 30)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    other[ready].sendall(data)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the proxy of this process, and of the programs that it starts, was asked to connect to."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Proxy)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    yield server.asked  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_git_and_the_search_for_redirects_go_through_the_proxy(
    host: Host, proxy: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.redirects = {"/shop": "/shop.git"}
    assert fetch(host, host.url("/shop"), tmp_path / "work") == "answer = 42\n"
    assert len(proxy) >= 3 and set(proxy) == {f"localhost:{host.port}"}
    proxy.clear()
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert fetch(host, host.url("/shop"), tmp_path / "work-2") == "answer = 42\n"
    assert not proxy


def test_embedding_services_are_reached_through_the_proxy_too(host: Host, proxy: list[str]) -> None:
    service = JsonService("the service", host.url(""), "look at it")
    with pytest.raises(EmbeddingError):
        service.post("v1/embeddings", {"input": "x"}, RetryBudget(1, 10.0))
    service.close()
    assert proxy == [f"localhost:{host.port}"] and host.seen == ["POST /v1/embeddings"]


@pytest.fixture
def empty_repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "shop.git"], check=True)
    return tmp_path / "shop.git"


async def test_ssh_speaks_only_to_hosts_whose_key_is_known(
    empty_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That git finds the repository empty means that everything before has worked."""
    host_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    secret = tmp_path / "secret"
    secret.mkdir()
    user_key.write_private_key(secret / "ssh-privatekey")
    user_key.write_public_key(tmp_path / "authorized")
    monkeypatch.setattr(remote, "CREDENTIALS", secret)
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[host_key], authorized_client_keys=str(tmp_path / "authorized"),
        process_factory=_serve_git, encoding=None,
    )  # fmt: skip
    port = server.get_port()
    policy = SourcePolicy(git_hosts=frozenset({f"localhost:{port}"}))
    url = f"ssh://git@localhost:{port}{empty_repository}"
    spec = IndexingJobSpec.model_validate({"source": {"git": {"url": url}}})
    try:
        with pytest.raises(CloneFailed, match="ssh does not know this host's key"):
            await asyncio.to_thread(open_source, spec, policy, tmp_path / "work", None)
        key = host_key.export_public_key().decode()
        monkeypatch.setenv("CODEBASE_SSH_KNOWN_HOSTS", f"[localhost]:{port} {key}")
        with pytest.raises(CloneFailed, match="remote ref HEAD"):
            await asyncio.to_thread(open_source, spec, policy, tmp_path / "work", None)
    finally:
        server.close()
        await server.wait_closed()


async def _serve_git(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    assert process.command is not None
    program = await asyncio.create_subprocess_shell(
        process.command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdin is not None and program.stdout is not None

    async def feed(target: asyncio.StreamWriter) -> None:
        while data := await process.stdin.read(65536):
            target.write(data)
        target.close()

    feeding = asyncio.create_task(feed(program.stdin))
    while data := await program.stdout.read(65536):
        process.stdout.write(data)
    process.exit(await program.wait())
    await feeding


def test_the_shipped_keys_are_those_that_the_hosts_publish() -> None:
    listed = subprocess.check_output(["ssh-keygen", "-lf", remote.SHIPPED_HOST_KEYS], text=True)
    assert {tuple(line.split()[1:3]) for line in listed.splitlines()} == {
        ("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU", "github.com"),
        ("SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM", "github.com"),
        ("SHA256:uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s", "github.com"),
        ("SHA256:eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8", "gitlab.com"),
        ("SHA256:HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw", "gitlab.com"),
        ("SHA256:ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ", "gitlab.com"),
    }


def test_without_debians_bundle_the_public_authorities_are_those_that_openssl_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "cert.pem"
    system.write_text("the system's\n")
    monkeypatch.setattr(trusted_ca, "PUBLIC", tmp_path / "none")
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    env = {"CODEBASE_TRUSTED_CA": "the site's"}
    trusted_ca.install(env)
    bundle = Path(env["SSL_CERT_FILE"])
    assert bundle.read_text() == "the system's\nthe site's\n"
    bundle.unlink()


def test_a_site_s_own_authority_is_trusted_beside_the_public_ones(
    host: Host, authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEBASE_TRUSTED_CA", (authority / "ca.crt").read_text())
    monkeypatch.delenv("SSL_CERT_FILE")
    trusted_ca.install()
    assert fetch(host, host.url("/shop.git"), tmp_path / "work") == "answer = 42\n"
    bundle = Path(os.environ["SSL_CERT_FILE"])
    if trusted_ca.PUBLIC.is_file():
        assert trusted_ca.PUBLIC.read_text().strip() in bundle.read_text()
    bundle.unlink()
