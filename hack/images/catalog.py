"""The four images: what each is built from, and the tag that follows from it."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

# A name with a domain, and one that no resolver on the internet answers: without it Kubernetes would look for a
# missing image in a public registry, where anybody may have taken the name.
REGISTRY = "codebase-mcp.local"

_TAG_HEX_DIGITS = 12
_COPY = re.compile(r"^COPY\s+(?P<words>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Image:
    """One image. `name` is its key in the chart's values; `folder` holds its Dockerfile."""

    name: str
    folder: str

    @property
    def repository(self) -> str:
        """The image's name without a tag."""
        return f"{REGISTRY}/{self.name}"

    @property
    def dockerfile(self) -> str:
        """Path of the Dockerfile in the checkout."""
        return f"{self.folder}/Dockerfile"

    def inputs(self, checkout: Path = CHECKOUT) -> list[str]:
        """Paths that the image is made of: the Dockerfile, and what it copies from the checkout."""
        text = (checkout / self.dockerfile).read_text()
        copied: list[str] = []
        for instruction in _COPY.finditer(text):
            words = instruction["words"].split()
            if not any(word.startswith("--from=") for word in words):
                sources = [word for word in words[:-1] if not word.startswith("--")]
                copied += _context(checkout) if sources == ["."] else sources
        return [self.dockerfile, ".dockerignore", *dict.fromkeys(copied)]

    def tag(self, base: str, checkout: Path = CHECKOUT) -> str:
        """Tag for the inputs as they are now: other content, another tag, so that pods get the new code.

        `base` identifies the base image that the build will start from.
        """
        digest = hashlib.sha256(base.encode())
        for path in _files(self.inputs(checkout), checkout):
            # The length goes first: no two lists of files may read as the same bytes.
            content = path.read_bytes()
            executable = os.access(path, os.X_OK)
            digest.update(f"\0{path.relative_to(checkout)}\0{executable}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()[:_TAG_HEX_DIGITS]


IMAGES = (
    Image("indexer", "indexer_image"),
    Image("operator", "operator"),
    Image("server", "mcp_server"),
    Image("postgres", "postgres_image"),
)


def _context(checkout: Path) -> list[str]:
    """What .dockerignore lets into the build context; the bytecode that it keeps out is left out by `_files`."""
    let_in = [line[1:] for line in (checkout / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    return [str(path.relative_to(checkout)) for entry in let_in for path in sorted(checkout.glob(entry))]


def _files(inputs: list[str], checkout: Path) -> Iterator[Path]:
    """Every file below the inputs, in a fixed order, less what .dockerignore leaves out of them."""
    for name in inputs:
        path = checkout / name
        if path.is_dir():
            yield from sorted(
                file
                for file in path.rglob("*")
                if file.is_file() and file.suffix != ".pyc" and "__pycache__" not in file.parts
            )
        else:
            yield path
