"""Every pod of the chart is one that the Pod Security Standard `restricted` admits."""

import copy
from collections.abc import Iterator
from typing import Any

from tests.unit.chart.rendering import HOST_PATH, Object, every_case, pods, render, rendered

_ALLOWED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


def violations(pod: Object) -> list[str]:
    """What the Pod Security standard `restricted` (v1.34) has against a pod; none is allowed a default."""
    spec = pod["spec"]
    context = spec.get("securityContext") or {}
    found = [f"{field} is true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    for volume in spec.get("volumes", []):
        found += [f"volume type {kind}" for kind in set(volume) - {"name"} - _ALLOWED_VOLUMES]
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext") or {}
        effective = {**context, **own}
        found += [f"{container['name']}: {fault}" for fault in _container_violations(container, own, effective)]
    return found


def _container_violations(container: Object, own: Object, effective: Object) -> Iterator[str]:
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if "ALL" not in own.get("capabilities", {}).get("drop", []):
        yield "capabilities not dropped"
    if set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities added"
    if effective.get("runAsNonRoot") is not True or effective.get("runAsUser") == 0:
        yield "may run as root"
    if effective.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"
    if effective.get("procMount", "Default") != "Default" or effective.get("windowsOptions"):
        yield "procMount or windowsOptions"
    if set(effective.get("seLinuxOptions", {})) & {"user", "role"}:
        yield "seLinuxOptions"


@every_case
def test_every_pod_is_restricted(case: str) -> None:
    checked = {component: violations(pod) for component, pod in pods(rendered(case))}
    assert checked.keys() >= {"operator", "server", "indexer", "test"}
    assert not any(checked.values()), checked


def test_a_host_path_is_what_the_standard_refuses() -> None:
    faults = {component: violations(pod) for component, pod in pods(render(HOST_PATH))}
    assert faults["server"] == faults["indexer"] == ["volume type hostPath"]
    assert not faults["operator"] and not faults["postgres"]


def test_the_checker_finds_each_fault() -> None:
    (_, good), *_ = pods(rendered("default"))
    faults: list[tuple[str, Any]] = [
        ("hostPID", lambda spec: spec.update(hostPID=True)),
        ("hostPath", lambda spec: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
        ("root", lambda spec: spec["securityContext"].pop("runAsNonRoot")),
        ("seccompProfile", lambda spec: spec["securityContext"].pop("seccompProfile")),
        ("capabilities", lambda spec: spec["containers"][0]["securityContext"].pop("capabilities")),
        ("allowPrivilege", lambda spec: spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation")),
    ]
    for expected, spoil in faults:
        bad = copy.deepcopy(good)
        spoil(bad["spec"])
        assert any(expected in fault for fault in violations(bad)), expected


@every_case
def test_every_container_has_a_read_only_root_resources_and_a_place_for_temporary_files(case: str) -> None:
    for component, pod in pods(rendered(case)):
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, component
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), component
        assert "memory" in container["resources"]["limits"], component
        assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]], component
        assert not container["image"].endswith((":latest", ":")), component
