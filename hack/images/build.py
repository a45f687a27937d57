"""Builds what has changed into `.images/`: an archive per image, and the names for the chart."""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hack.local_cluster.console import say, step
from hack.local_cluster.errors import ClusterError
from hack.local_cluster.paths import cache_root

from . import builders, settings
from .catalog import CHECKOUT, IMAGES, Image

OUTPUT = CHECKOUT / ".images"
_VALUES = OUTPUT / "values.yaml"
_GIB = 1024**3
_DISK_NEEDED_GIB = 6


def archive_of(image: Image, tag: str) -> Path:
    """Where the archive of an image with a tag lies."""
    return OUTPUT / f"{image.name}-{tag}.tar"


def built() -> dict[str, tuple[str, Path]]:
    """Reference and archive by image name, of the last complete build. Raises ClusterError when there is none."""
    if not _VALUES.is_file():
        raise ClusterError("The images are not built yet. Run `python3 -m hack.images build` (or `make images`).")
    names = json.loads(_VALUES.read_text())["images"]
    by_name = {image.name: image for image in IMAGES}
    return {
        name: (f"{entry['repository']}:{entry['tag']}", archive_of(by_name[name], entry["tag"]))
        for name, entry in names.items()
    }


def run() -> None:
    """Build every image whose inputs have changed. Safe to repeat, and to interrupt at any point."""
    OUTPUT.mkdir(exist_ok=True)
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    _require_disk(cache)
    with _one_at_a_time(cache), tempfile.TemporaryDirectory(prefix="codebase-mcp-") as private:
        builder = builders.choose(cache)
        base = builder.prepare()
        secrets = settings.write_secrets(Path(private))
        tags = {image: _build(builder, image, base, secrets) for image in IMAGES}
    _write_values(tags)
    _remove_old({archive_of(image, tag) for image, tag in tags.items()})


def show() -> None:
    """Print the reference of each image of the last build, and the size of its archive."""
    for reference, archive in built().values():
        size = f"{archive.stat().st_size / 1024**2:.0f} MiB" if archive.is_file() else "missing"
        print(f"{reference}\t{size}")


def clean() -> None:
    """Remove the archives and what the builder keeps between builds. The next build starts from nothing."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    if _cache().is_dir():
        with _one_at_a_time(_cache()):
            shutil.rmtree(_cache(), ignore_errors=True)


def _cache() -> Path:
    return cache_root() / "images"


def _build(builder: builders.Builder, image: Image, base: str, secrets: dict[str, Path]) -> str:
    """Build one image unless its archive is there, and return its tag."""
    tag = image.tag(base)
    archive, reference = archive_of(image, tag), f"{image.repository}:{tag}"
    if archive.is_file():
        say(f"{reference} is up to date")
        return tag
    with step(f"Building {reference}"):
        builder.build(image, reference, secrets, OUTPUT / f"{image.name}.log")
        if image.tag(base) != tag:
            say("  its files were changed meanwhile, so it is built again")
            return _build(builder, image, base, secrets)
        unfinished = archive.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)  # buildah adds to an archive that is there
        builder.save(reference, unfinished)
        unfinished.rename(archive)
    return tag


def _write_values(tags: dict[Image, str]) -> None:
    """JSON is YAML: Helm reads it, and so do we."""
    names = {image.name: {"repository": image.repository, "tag": tag} for image, tag in tags.items()}
    unfinished = _VALUES.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({"images": names}, indent=2) + "\n")
    unfinished.rename(_VALUES)


def _remove_old(current: set[Path]) -> None:
    for archive in OUTPUT.glob("*.tar"):
        if archive not in current:
            archive.unlink()


def _require_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free / _GIB
    if free < _DISK_NEEDED_GIB:
        raise ClusterError(
            f"Only {free:.1f} GiB are free at {folder}, and building the images needs {_DISK_NEEDED_GIB} GiB. "
            "Free some space, or set XDG_CACHE_HOME to another disk."
        )


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    """Two builds at once would remove each other's images from the shared storage."""
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another build runs on this machine; waiting for it to end.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
