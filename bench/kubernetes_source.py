"""Index the Kubernetes source in the cluster, and make ten searches that its developers would make.

    .venv/bin/python -m bench.kubernetes_source FOLDER [--json bench/results/kubernetes_source.json]

FOLDER holds a checkout of k8s.io/kubernetes: `go mod download -json k8s.io/kubernetes@v1.34.4` prints one. Needs
`make demo-cluster` to have run. Each search counts as found when a place that answers it is among the first ten
results.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

from hack.deployment.chart import deploy, root_above
from hack.deployment.mcp_client import connect, finished, port_forward

SEARCHES = {
    "evict pods when the node is under memory pressure": "pkg/kubelet/eviction/eviction_manager.go",
    "preempt lower priority pods to make room": "pkg/scheduler/framework/preemption/",
    "job controller backoff limit exceeded": "pkg/controller/job/",
    "garbage collector attempts to delete an item whose owners are gone": "pkg/controller/garbagecollector/",
    "sync iptables rules for services": "pkg/proxy/iptables/proxier.go",
    "taint nodes that are unreachable with NoExecute": "pkg/controller/nodelifecycle/",
    "ValidatePodSpec": "pkg/apis/core/validation/validation.go",
    "rolling update of a deployment scales old replica sets down": "pkg/controller/deployment/rolling.go",
    "compute desired replicas from metric utilization": "pkg/controller/podautoscaler/",
    "RBAC authorizer checks whether rules allow a request": "plugin/pkg/auth/authorizer/rbac/rbac.go",
}

SHOWN = ("status", "files_total", "files_indexed", "files_skipped", "chunks_created")


async def main() -> int:
    """Index, search, print; 1 when a search or a file is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.kubernetes_source")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    deploy([root_above(folder)])
    with port_forward() as url:
        async with connect(url) as tools:
            began = time.monotonic()
            job = await tools.call("start_indexing_background", repo_path=str(folder))
            status = await finished(tools, job["job_id"], timeout=1800)
            took = time.monotonic() - began
            searches = [await ask(tools, str(folder), query, place) for query, place in SEARCHES.items()]
    figures = {
        "job": {
            k: status[k] for k in ("status", "files_total", "files_indexed", "files_skipped", "chunks_created")
        },
        "message": status["progress_message"],
        "seconds": round(took, 1),
        "found": sum(search["rank"] is not None for search in searches),
        "searches": searches,
    }
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    accounted = status["files_indexed"] + status["files_skipped"] == status["files_total"]
    return 0 if accounted and figures["found"] == len(SEARCHES) else 1


async def ask(tools: Any, folder: str, query: str, place: str) -> dict[str, Any]:
    """Search, and say at which rank (from 1) the expected place came; None: not in the first ten."""
    began = time.monotonic()
    answer = await tools.call("search_code", query=query, repo=folder, limit=10)
    took = 1000 * (time.monotonic() - began)
    paths = [result["path"] for result in answer["results"]]
    rank = next((n for n, path in enumerate(paths, 1) if path.startswith(place)), None)
    return {"query": query, "expected": place, "rank": rank, "ms": round(took), "first": paths[:3]}


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
