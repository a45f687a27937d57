"""What a language's own parser or compiler finds in files: programs built once, and asked by benchmarks."""

import shutil
import subprocess
from pathlib import Path


def build_go(source: Path, target: Path) -> list[str]:
    """Compile `main.go` of a folder; return the command. Raises CalledProcessError."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    subprocess.run([go, "build", "-o", target, "main.go"], cwd=source, check=True)
    return [str(target)]


def install_typescript(program: Path, folder: Path, *options: str) -> list[str]:
    """Install the compiler beside a copy of the program, where node looks for it; return the command."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, folder)
    if not (folder / "node_modules" / "typescript").is_dir():
        subprocess.run(["npm", "install", "--silent", "--prefix", folder, "typescript@5"], check=True)
    return ["node", *options, str(folder / program.name)]
