"""A small API server for the calls that the operator makes: resourceVersions, preconditions, faults on demand."""

import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

from codebase_index.api.job import GROUP, KIND, LABEL_COMPONENT, PLURAL, VERSION

JOBS = f"/apis/{GROUP}/{VERSION}/namespaces/ns/{PLURAL}"
CORE = "/api/v1/namespaces/ns"


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Fault:
    """The next `times` requests that match get this answer instead; 0 cuts the connection."""

    request: str
    status: int
    message: str = "injected"
    times: int = 1
    before: bool = True
    """Whether it strikes before the server acts, or after it: then only the answer is lost."""


@dataclass
class FakeApi:
    """Objects by kind and name; every request is noted."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    """The last Accept header of each request."""
    version: int = 100

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    def create_job(self, name: str, /, **spec: Any) -> dict[str, Any]:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {
                "name": name, "namespace": "ns", "uid": str(uuid4()), "generation": 1,
                "creationTimestamp": f"2026-05-01T12:00:{len(self.jobs):02}Z",
            },
            "spec": {"source": {"path": f"/repos/{name}"}, **spec},
        }  # fmt: skip
        return self._keep(self.jobs, name, body)

    def change_job(self, name: str, **spec: Any) -> None:
        found = self.jobs[name]
        self._keep(self.jobs, name, {**found, "spec": {**found["spec"], **spec}})

    def _keep(self, kind: dict[str, dict[str, Any]], name: str, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        kind[name] = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return kind[name]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        line = f"{request.method} {request.path}"
        self.requests.append(line)
        self.accepted[line] = request.headers.get("Accept", "")
        fault = next((f for f in self.faults if f.times and re.search(f.request, line)), None)
        if fault and fault.before:
            return self._strike(request, fault)
        try:
            body = await request.json() if request.can_read_body else {}
            if request.path == JOBS and (fields := request.query.get("fieldSelector")):
                raise Refused(400, f"field label not supported: {fields}")  # as Kubernetes before 1.31
            selector = request.query.get("labelSelector") or request.query.get("fieldSelector", "")
            status = 201 if request.method == "POST" else 200
            answer = web.json_response(self.answer(request.method, request.path, body, selector), status=status)
        except Refused as error:
            answer = web.json_response({"kind": "Status", "message": str(error)}, status=error.status)
        return self._strike(request, fault) if fault else answer

    @staticmethod
    def _strike(request: web.Request, fault: Fault) -> web.StreamResponse:
        fault.times -= 1
        if fault.status == 0:
            assert request.transport
            request.transport.close()
        return web.json_response({"kind": "Status", "message": fault.message}, status=fault.status or 500)

    def answer(self, method: str, path: str, body: dict[str, Any], selector: str) -> dict[str, Any]:
        served = {"pods": self.pods, "events": self.events, "secrets": self.secrets}
        for prefix, kind in ((JOBS, self.jobs), *((f"{CORE}/{name}", kind) for name, kind in served.items())):
            if path == prefix and method == "GET":
                found = [body for body in kind.values() if selected(body, selector)]
                return {"metadata": {"resourceVersion": str(self.version)}, "items": found}
            if path == prefix and method == "DELETE":
                return self._delete_all_about(kind, selector.removeprefix("involvedObject.uid="))
            if path == prefix and method == "POST":
                return self._create(kind, body)
            if path.startswith(prefix + "/"):
                name, _, subresource = path.removeprefix(prefix + "/").partition("/")
                return self._one(method, kind, name, subresource, body)
        raise Refused(404, f"no route for {method} {path}")

    def _create(self, kind: dict[str, dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
        name = body["metadata"]["name"]
        if name in kind:
            raise Refused(409, f'"{name}" already exists')
        if kind is self.pods:
            assert body["metadata"]["labels"][LABEL_COMPONENT] == "indexer"
        if kind is self.secrets:
            body = encoded(body)
        given = {"namespace": "ns", "generation": 1, "creationTimestamp": "2026-05-01T12:00:00Z"}
        body["metadata"] = {**given, **body["metadata"], "uid": str(uuid4())}
        return self._keep(kind, name, body)

    @staticmethod
    def _delete_all_about(kind: dict[str, dict[str, Any]], uid: str) -> dict[str, Any]:
        for name in [name for name, body in kind.items() if body["involvedObject"]["uid"] == uid]:
            del kind[name]
        return {"kind": "Status", "status": "Success"}

    def _one(
        self, method: str, kind: dict[str, dict[str, Any]], name: str, subresource: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        if name not in kind:
            raise Refused(404, f'"{name}" not found')
        found = kind[name]
        if method == "GET":
            return found
        if method == "PATCH" and subresource == "status":
            if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
                raise Refused(409, "the object has been modified")
            status = merge(found.get("status", {}), body["status"])
            return self._keep(kind, name, {**found, "status": status})
        if method == "PATCH" and kind is self.secrets:
            if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
                raise Refused(409, "the object has been modified")
            return self._keep(kind, name, encoded(merge(found, body)))
        assert method == "DELETE"
        if body["preconditions"]["uid"] != found["metadata"]["uid"]:
            raise Refused(409, "the UID in the precondition does not match")
        if kind is self.pods and body.get("gracePeriodSeconds") != 0:
            found["metadata"]["deletionTimestamp"] = "2999-01-01T00:00:00Z"  # its grace period never ends here
            return {**self._keep(kind, name, found), "kind": "Pod"}
        del kind[name]
        return {"kind": "Status", "status": "Success"}


def selected(body: dict[str, Any], selector: str) -> bool:
    """Whether an object has the labels of a selector, and lacks what that excludes: `a=b,c in (d,e),!f`."""
    labels = body["metadata"].get("labels", {})
    for part in re.findall(r"(?:[^,(]|\([^)]*\))+", selector):
        if among := re.fullmatch(r"(\S+) in \((.*)\)", part):
            met = labels.get(among[1]) in among[2].split(",")
        elif part.startswith("!"):
            met = part[1:] not in labels
        else:
            name, _, value = part.partition("=")
            met = labels.get(name) == value
        if not met:
            return False
    return True


def encoded(secret: dict[str, Any]) -> dict[str, Any]:
    """Take what is written as text into the data, as the API server does."""
    texts = secret.pop("stringData", {})
    return merge(secret, {"data": {key: b64encode(text.encode()).decode() for key, text in texts.items()}})


def merge(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Apply a merge patch (RFC 7396)."""
    result = dict(old)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key) or {}, value) if isinstance(value, dict) else value
    return result
