"""The wheel, as a person and the images install it: into empty environments, each program with its own lock."""

import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.packages import CHECKOUT, PACKAGES, PROJECT

PROGRAMS = {"operator": "codebase_operator", "indexer": "codebase_indexer", "server": "codebase_mcp"}

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
print(package.__file__)
"""


@dataclass(frozen=True)
class Environment:
    """An installed environment, used from a folder and with variables that know nothing of the checkout."""

    folder: Path

    def run(self, program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs to the end."""
        return subprocess.run(
            [self.folder / "bin" / program, *arguments], cwd=self.folder, env=variables, text=True,
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip

    def distributions(self) -> set[str]:
        """Names of what is installed."""
        found = self.run(
            "python", "-c", "from importlib import metadata as m; print(*(d.name for d in m.distributions()))"
        )
        return {re.sub("[-_.]+", "-", name).lower() for name in found.stdout.split()}


def uv(*arguments: str | Path) -> None:
    """Run uv, whose cache lets the second run go without a network."""
    subprocess.run([Path(sys.executable).with_name("uv"), "--quiet", *arguments], cwd=CHECKOUT, check=True)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built with what `make venv` installed."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
         "--wheel-dir", folder, CHECKOUT], check=True,
    )  # fmt: skip
    (wheel,) = folder.iterdir()
    return wheel


def environment(folder: Path, wheel: Path, *requirements: str | Path) -> Environment:
    """Make an environment with the wheel and these requirements."""
    uv("venv", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    if requirements:
        uv("pip", "install", "--python", python, *requirements)
    uv("pip", "install", "--python", python, "--no-deps", "--no-index", wheel)
    return Environment(folder)


@pytest.fixture(scope="session")
def environments(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Environment]:
    """One for each program, from the lock that its image installs."""
    folder = tmp_path_factory.mktemp("environments")
    return {
        program: environment(
            folder / program, wheel, "--no-deps", "--require-hashes", "-r", f"requirements/{program}.txt"
        )
        for program in PROGRAMS
    }


@pytest.fixture(scope="session")
def whole(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A person's, as pipx and uvx make it: with what the wheel asks for."""
    folder = tmp_path_factory.mktemp("whole") / "env"
    return environment(folder, wheel, *PROJECT["project"]["dependencies"])


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    folders = [CHECKOUT / package for package in PACKAGES]
    there = {
        str(file.relative_to(package.parent))
        for package in folders
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == there
    assert {f"{package.name}/py.typed" for package in folders} <= held


@pytest.mark.parametrize("command", ["codebase-mcp", "kubectl-codebase"])
def test_a_person_has_the_command_and_the_plugin_of_kubectl(whole: Environment, command: str) -> None:
    assert whole.run(command, "--version").stdout == f"codebase-mcp {PROJECT['project']['version']}\n"


@pytest.mark.parametrize("package", [Path(package).name for package in PACKAGES])
def test_each_module_imports_with_what_the_wheel_asks_for(whole: Environment, package: str) -> None:
    imported = whole.run("python", "-c", IMPORT_ALL, package)
    assert imported.returncode == 0, imported.stderr
    assert Path(imported.stdout.strip()).is_relative_to(whole.folder)


def test_what_a_program_imports_is_among_what_the_wheel_asks_for() -> None:
    asked_for = {re.split(r"[\[>=<]", text)[0] for text in PROJECT["project"]["dependencies"]}
    groups = PROJECT["dependency-groups"]
    for program in (*PROGRAMS, "store", "embedding"):
        assert {name for name in groups[program] if isinstance(name, str)} <= asked_for


def test_the_administrators_command_runs_in_the_operators_image(environments: dict[str, Environment]) -> None:
    listed = environments["operator"].run("codebase-mcp", "admin", "list")
    assert (listed.returncode, listed.stdout) == (1, "")
    assert listed.stderr.startswith("codebase-mcp admin: CODEBASE_DATABASE_URL is not set; set it to")


def test_in_an_image_the_command_says_where_it_is_complete(environments: dict[str, Environment]) -> None:
    ended = environments["operator"].run("codebase-mcp", "list")
    assert ended.returncode == 2
    assert ended.stderr.startswith("codebase-mcp: the package typer is not installed: this is the image of one")


@pytest.mark.parametrize(("program", "package"), PROGRAMS.items(), ids=PROGRAMS)
def test_each_module_of_a_program_imports_with_the_programs_own_lock(
    environments: dict[str, Environment], program: str, package: str
) -> None:
    imported = environments[program].run("python", "-c", IMPORT_ALL, package)
    assert imported.returncode == 0, imported.stderr
    assert Path(imported.stdout.strip()).is_relative_to(environments[program].folder)


def test_no_program_carries_what_it_does_not_import(environments: dict[str, Environment]) -> None:
    installed = {program: environments[program].distributions() for program in PROGRAMS}
    assert installed["operator"] > {"codebase-mcp-server", "kopf", "asyncpg"}
    assert not installed["operator"] & {
        "numpy",
        "scipy",
        "httpx",
        "tokenizers",
        "mcp",
        "uvicorn",
        "tree-sitter",
    }
    assert not installed["server"] & {"kopf", "tree-sitter", "tree-sitter-language-pack"}
    assert not installed["indexer"] & {"kopf", "kubernetes", "mcp", "uvicorn"}
    assert not any("huggingface-hub" in names for names in installed.values())


@pytest.mark.parametrize(
    ("program", "command", "says"),
    [
        ("operator", ["python", "-m", "codebase_operator"], "CODEBASE_NAMESPACE is not set"),
        ("server", ["python", "-m", "codebase_mcp"], "CODEBASE_DATABASE_URL is not set"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_program_starts_and_reads_its_settings(
    environments: dict[str, Environment], program: str, command: Sequence[str], says: str
) -> None:
    ended = environments[program].run(*command)
    assert ended.returncode == 2
    assert says in ended.stderr and "Traceback" not in ended.stderr


def test_the_indexer_starts_its_worker(environments: dict[str, Environment]) -> None:
    folder = environments["indexer"].folder
    # Its settings come from the operator alone: without them the indexer crashes, and is restarted.
    with subprocess.Popen(
        [folder / "bin" / "python", "-m", "codebase_indexer.supervisor"],
        cwd=folder, env={"HOME": str(folder)}, text=True, stderr=subprocess.PIPE,
    ) as indexer:  # fmt: skip
        assert indexer.stderr is not None
        first = indexer.stderr.readline()
        os.kill(indexer.pid, signal.SIGTERM)
        indexer.stderr.read()
    assert '"message": "the indexer crashed and will be restarted"' in first
    assert "KeyError: 'CODEBASE_JOB_ID'" in first


def test_the_chart_and_the_images_that_it_runs_are_at_the_version_of_the_wheel(wheel: Path) -> None:
    version = PROJECT["project"]["version"]
    chart = yaml.safe_load((CHECKOUT / "charts/codebase-mcp/Chart.yaml").read_text())
    assert wheel.name.startswith(f"codebase_mcp_server-{version}-")
    assert (chart["version"], chart["appVersion"]) == (version, version)
