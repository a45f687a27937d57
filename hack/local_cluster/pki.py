"""Certificates and kubeconfigs of the built-in cluster, made with openssl.

One certificate authority for everything: the cluster is one machine's, and ends with `down`.
"""

import base64
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from .console import run
from .network import API_SERVICE_ADDRESS, node_address
from .paths import MAX_NODES

_DAYS = "3650"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """`subject` as openssl writes it; `names` are the subject's alternative names."""

    file: str
    subject: str
    names: str


def certificates() -> list[Certificate]:
    """Every certificate the programs need, those of nodes that do not exist yet included."""
    api_names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
    api_addresses = ["127.0.0.1", node_address(1), API_SERVICE_ADDRESS]
    served = ",".join([f"DNS:{name}" for name in api_names] + [f"IP:{address}" for address in api_addresses])
    clients = {
        "admin": "/O=system:masters/CN=admin",
        "controller-manager": "/CN=system:kube-controller-manager",
        "scheduler": "/CN=system:kube-scheduler",
        "proxy": "/CN=system:kube-proxy",
        "front-proxy": "/CN=front-proxy-client",
    }
    nodes = [
        Certificate(
            f"node{number}",
            f"/O=system:nodes/CN=system:node:node{number}",
            f"DNS:node{number},IP:{node_address(number)}",
        )
        for number in range(1, MAX_NODES + 1)
    ]
    return [
        Certificate("apiserver", "/CN=kube-apiserver", served),
        *(Certificate(file, subject, f"DNS:{file}") for file, subject in clients.items()),
        *nodes,
    ]


def ensure(folder: Path) -> None:
    """Create the authority and all certificates, unless they are there: all of them, or none."""
    if folder.is_dir():
        return
    unfinished = folder.with_name("pki.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)
    _authority(unfinished)
    for certificate in certificates():
        _sign(unfinished, certificate)
    unfinished.rename(folder)


def _authority(folder: Path) -> None:
    key, certificate, account = folder / "ca.key", folder / "ca.crt", folder / "sa.key"
    subject = ("-subj", "/CN=codebase-mcp-local-ca")
    # Python from 3.13 on refuses an authority that does not say what its key is for.
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    run(["openssl", "req", "-x509", *_KEY, "-keyout", key, "-out", certificate, "-days", _DAYS, *usage, *subject])
    # The key pair that signs service account tokens.
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", account])
    run(["openssl", "ec", "-in", account, "-pubout", "-out", folder / "sa.pub"])


def _sign(folder: Path, certificate: Certificate) -> None:
    key, request, signed = (folder / f"{certificate.file}.{kind}" for kind in ("key", "csr", "crt"))
    extensions = folder / f"{certificate.file}.ext"
    extensions.write_text(
        f"subjectAltName={certificate.names}\nextendedKeyUsage=serverAuth,clientAuth\n"
        "keyUsage=critical,digitalSignature,keyEncipherment\nauthorityKeyIdentifier=keyid\n"
    )
    run(["openssl", "req", *_KEY, "-keyout", key, "-out", request, "-subj", certificate.subject])
    authority: tuple[str | Path, ...] = ("-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial")
    signing: tuple[str | Path, ...] = ("openssl", "x509", "-req", "-days", _DAYS, "-extfile", extensions)
    run([*signing, *authority, "-in", request, "-out", signed])
    request.unlink()
    extensions.unlink()


def write_kubeconfig(path: Path, *, pki: Path, user: str, server: str) -> None:
    """A kubeconfig (JSON, which is YAML) with the certificates inside, so that it can be copied anywhere."""

    def encoded(file: str) -> str:
        return base64.b64encode((pki / file).read_bytes()).decode()

    name = "codebase-mcp-local"
    cluster = {"server": server, "certificate-authority-data": encoded("ca.crt")}
    identity = {
        "client-certificate-data": encoded(f"{user}.crt"),
        "client-key-data": encoded(f"{user}.key"),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": identity}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    write_private(path, json.dumps(config, indent=1))


def write_private(path: Path, text: str) -> None:
    """Write a file that only root reads, in one step: a reader sees the old text or the new one."""
    unfinished = path.with_name(path.name + ".unfinished")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)
