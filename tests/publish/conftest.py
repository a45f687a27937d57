"""A real registry on loopback, empty at the start and gone at the end."""

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.local_cluster.host import ensure_packages

_CONFIGURATION = """\
version: 0.1
log: {{accesslog: {{disabled: true}}, formatter: text}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:0"}}
"""
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """HOST:PORT of the registry of the distribution project, as Debian packages it."""
    ensure_packages({"docker-registry": "docker-registry"})
    configuration = tmp_path / "registry.yaml"
    configuration.write_text(_CONFIGURATION.format(folder=tmp_path / "registry"))
    with subprocess.Popen(
        ["docker-registry", "serve", configuration], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            lines: list[str] = []
            for line in process.stderr:
                lines.append(line)
                if found := _LISTENING.search(line):
                    break
            else:
                pytest.fail("the registry ended before it listened:\n" + "".join(lines[-10:]))
            # Read on, or the registry would wait for room in the pipe.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield found[1]
        finally:
            process.terminate()
