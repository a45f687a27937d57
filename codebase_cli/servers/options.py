"""Which server a person asks for, by options and environment variables."""

import os
from dataclasses import dataclass, field

_ONLY_CLUSTERS = "CODEBASE_ONLY_CLUSTERS"


@dataclass(frozen=True)
class ServerOptions:
    """What options and variables say of the server. All empty: find one (`finding.py` says how)."""

    url: str | None = None
    """Address of an MCP endpoint: nothing is searched for."""

    token: str | None = field(default=None, repr=False)
    """Bearer token for the server at `url`, or in a cluster."""

    service_account: str | None = field(default_factory=lambda: os.environ.get("CODEBASE_SERVICE_ACCOUNT"))
    """Service account whose tokens a server in a cluster is sent, where there is no `token`."""

    embedded: bool = False
    """The one of this machine, whatever kubeconfig says."""

    cluster: bool = field(default_factory=lambda: _ONLY_CLUSTERS in os.environ)
    """One in a cluster, whatever runs on this machine."""

    context: str | None = None
    """Context of the kubeconfig; None: its current one."""

    namespace: str | None = None
    """Namespace of the release; None: the context's, else the only one that has a release."""

    @property
    def means_cluster(self) -> bool:
        """Whether only a server in a cluster will do."""
        return bool(self.cluster or self.context or self.namespace)

    @property
    def means_any(self) -> bool:
        """Whether the first server that is found will do."""
        return not (self.url or self.embedded or self.means_cluster)


def only_clusters() -> None:
    """Let this process and its children ask only servers in clusters: a plugin of kubectl is about its cluster."""
    os.environ[_ONLY_CLUSTERS] = "1"
