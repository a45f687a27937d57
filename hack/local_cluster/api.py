"""A very small client of the Kubernetes API, for what this package itself asks and does."""

import base64
import http.client
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 10


class Api:
    """Requests with the certificates of a kubeconfig that pki.write_kubeconfig made."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._address = urlsplit(cluster["server"]).netloc
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pair:  # ssl reads certificates from files only
            pair.write(base64.b64decode(user["client-certificate-data"]))
            pair.write(base64.b64decode(user["client-key-data"]))
            pair.flush()
            self._tls.load_cert_chain(pair.name)

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status code and decoded answer. Raises OSError or HTTPException when the API does not answer."""
        connection = http.client.HTTPSConnection(self._address, context=self._tls, timeout=_TIMEOUT_SECONDS)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        is_json = (answer.headers.get("Content-Type") or "").startswith("application/json")
        return answer.status, json.loads(text) if is_json else text

    def ready(self) -> bool:
        """Whether the API server answers and says that it is ready."""
        try:
            return self.request("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def items(self, path: str) -> list[dict[str, Any]]:
        """The objects of a list; empty where the API refuses or does not know it."""
        status, answer = self.request("GET", path)
        return list(answer["items"]) if status == 200 else []
