"""What helm prints after an installation."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.unit.chart.rendering import CASES, CHART, CRD, HOST_PATH, Object, named, render


def notes(values: Object, folder: Path) -> str:
    """NOTES.txt as helm prints it after an installation, which `helm template` does not: rendered as an object."""
    chart = folder / "chart"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "NOTES.txt")
    (chart / "templates" / "notes.yaml").write_text(
        "apiVersion: v1\nkind: Notes\nmetadata: {name: notes}\n"
        'text: {{ tpl (.Files.Get "NOTES.txt") . | toJson }}\n'
    )
    return str(named(render(values, chart), "Notes", "notes")["text"])


def test_the_notes_submit_a_job_that_the_definition_accepts(tmp_path: Path) -> None:
    text = notes(CASES["everything"], tmp_path)
    found = re.search(r"<<END\n(.*?)\n +END", text, re.DOTALL)
    assert found
    submitted = yaml.safe_load(found[1])
    assert (submitted["apiVersion"], submitted["kind"]) == (
        f"{CRD['spec']['group']}/{CRD['spec']['versions'][0]['name']}", CRD["spec"]["names"]["kind"],
    )  # fmt: skip
    assert submitted["spec"] == {"source": {"path": "/srv/a"}}
    assert "service/index-server 80:80" in text


def test_the_notes_say_what_stays_and_warn_of_host_paths(tmp_path: Path) -> None:
    text = notes(HOST_PATH, tmp_path)
    assert "kubectl delete crd indexingjobs.indexing.codebase-mcp.io" in text
    assert "kubectl delete pvc,secret" in text
    assert "pod-security.kubernetes.io/enforce=privileged" in text
    assert "pod-security" not in notes({}, tmp_path / "other")


ENTRANCES: dict[str, tuple[Object, list[str]]] = {
    "the default": ({}, ["networkPolicy.serverFrom"]),
    "no policies": ({"networkPolicy": {"enabled": False}}, ["networkPolicy.enabled"]),
    "named clients": ({"networkPolicy": {"serverFrom": [{"podSelector": {}}]}}, []),
    "ways from outside": (
        {"networkPolicy": {"serverFrom": [{"podSelector": {}}]}, "server": {
            "ingress": {"enabled": True, "hosts": [{"host": "*.code.invalid"}]},
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["route.invalid"]},
            "service": {"type": "NodePort"},
        }},
        ["*.code.invalid", "route.invalid", "server.service.type"],
    ),
    "a load balancer": (
        {"server": {"service": {"type": "LoadBalancer"}}},
        ["server.service.loadBalancerSourceRanges", "networkPolicy.serverFrom"],
    ),
    "callers that are known": (
        {"auth": {"mode": "kubernetes"}, "networkPolicy": {"enabled": False}, "server": {
            "ingress": {"enabled": True, "hosts": [{"host": "code.invalid"}]}, "service": {"type": "NodePort"},
        }}, [],
    ),
    "one for a network": (
        {"networkPolicy": {"serverFrom": [{"podSelector": {}}]},
         "server": {"service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]}}}, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ENTRANCES)
def test_the_notes_name_every_open_entrance_and_how_it_is_closed(what: str, tmp_path: Path) -> None:
    values, said = ENTRANCES[what]
    _, _, warning = notes(values, tmp_path).partition("whoever reaches the server")
    lines = [line for line in warning.splitlines() if line.startswith("     ")]
    assert len(lines) == len(said)
    assert all(words in line for words, line in zip(said, lines, strict=True))
