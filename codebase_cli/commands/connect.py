"""Standard input and output for MCP clients."""

from codebase_cli.bridge import bridge
from codebase_cli.servers.finding import reached
from codebase_cli.servers.options import ServerOptions


async def connect(*, options: ServerOptions) -> None:
    """Speak MCP on standard input and output, for a client that starts a command.

    The other end is the server that is found. One in a cluster is reached through the API server with your
    kubeconfig: that needs no ingress, no port-forward and no password of the database, only the rights to list
    services and pods and to get and create pods/portforward in its namespace. `setup` writes this command into a
    client's configuration.
    """
    await bridge(reached(options))
