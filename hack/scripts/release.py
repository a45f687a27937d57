"""Parts of a release that no tool has: `python3 -m hack.scripts.release check|notes|chart` (docs/release.md).

Only the standard library: the release's jobs run it before anything is installed.
"""

import argparse
import re
import shutil
import sys
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_TAG = re.compile(r"v(\d+\.\d+\.\d+)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHART = "charts/codebase-mcp"
# An image in values.yaml, as `make images` calls it; the release fills in the rest.
_IMAGE = re.compile(r'^    repository: codebase-mcp\.local/(\w+)\n    tag: ""\n    digest: ""\n', re.M)


class ReleaseError(Exception):
    """What keeps this commit from being released, and what to do about it."""


def check(tag: str, checkout: Path = CHECKOUT) -> str:
    """The version of a tag, when the project, the chart and the changelog are at it. Raises ReleaseError."""
    found = _TAG.fullmatch(tag)
    if found is None:
        raise ReleaseError(f"The tag {tag} is not vMAJOR.MINOR.PATCH, so it names no release. Delete it.")
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["version"]
    chart = (checkout / _CHART / "Chart.yaml").read_text()
    versions = {"pyproject.toml": project} | {
        f"Chart.yaml, {key}": value
        for key, value in re.findall(r"^(version|appVersion): \"?([^\"\n]+)\"?$", chart, re.M)
    }
    if wrong := [f"{place} says {version}" for place, version in versions.items() if version != found[1]]:
        raise ReleaseError(
            f"The tag is {tag}, but {' and '.join(wrong)}. Set the version in pyproject.toml, run `make "
            "generate`, and tag the commit that has it."
        )
    notes(tag, checkout)
    return found[1]


def notes(tag: str, checkout: Path = CHECKOUT) -> str:
    """The changelog's section for a tag. Raises ReleaseError where there is none, or it says unreleased."""
    version = tag.removeprefix("v")
    sections = re.split(r"^## ", (checkout / "CHANGELOG.md").read_text(), flags=re.M)[1:]
    text = {title: body.strip() for title, _, body in (section.partition("\n") for section in sections)}
    if not text.get(version):
        raise ReleaseError(
            f"CHANGELOG.md has no section `## {version}` with text in it; it has {', '.join(text) or 'none'}. "
            "Give the section of what is released this title."
        )
    if text.get("Unreleased"):
        raise ReleaseError(
            f"CHANGELOG.md still has text under Unreleased. Move it to `## {version}`: it is released now."
        )
    return text[version] + "\n"


def chart(registry: str, digests: Path, output: Path, checkout: Path = CHECKOUT) -> Path:
    """Write the chart below `output` with the released images in it, by digest; return its folder.

    `digests` has a file for each image, named as in the chart's values. Raises ReleaseError where one is missing
    or left over: a chart that names an image of another build must not be published.
    """
    there = {file.name: file.read_text().strip() for file in digests.iterdir()}
    if wrong := [f"{name}: {digest!r}" for name, digest in there.items() if not _DIGEST.fullmatch(digest)]:
        raise ReleaseError(f"Not digests: {', '.join(wrong)}. Look at the jobs that pushed these images.")
    folder = output / "codebase-mcp"
    shutil.copytree(checkout / _CHART, folder)
    values = folder / "values.yaml"
    text = values.read_text()
    named = set(_IMAGE.findall(text))
    if named != set(there):
        raise ReleaseError(
            f"The chart's values.yaml has the images {sorted(named)}, and there are digests for {sorted(there)}: "
            "the matrix of .github/workflows/release.yml and the chart must name the same."
        )
    values.write_text(
        _IMAGE.sub(
            lambda found: f'    repository: {registry}/{found[1]}\n    tag: ""\n    digest: {there[found[1]]}\n',
            text,
        )
    )
    return folder


def main() -> int:
    """Run one command. Exit codes: 0 done, 2 this commit cannot be released."""
    parser = argparse.ArgumentParser(prog="python3 -m hack.scripts.release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in {
        "check": "whether everything is at the tag's version",
        "notes": "the changelog's section",
    }.items():
        commands.add_parser(name, help=text).add_argument("tag", metavar="TAG", help="vMAJOR.MINOR.PATCH")
    packaged = commands.add_parser("chart", help="the chart, with the released images by digest")
    packaged.add_argument("--registry", required=True, help="HOST/PATH that the images lie below")
    packaged.add_argument("--digests", required=True, type=Path, help="folder with a file NAME for each image")
    packaged.add_argument("--output", required=True, type=Path, help="folder to write codebase-mcp/ into")
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "check":
                print(check(arguments.tag))
            case "notes":
                print(notes(arguments.tag), end="")
            case "chart":
                print(chart(arguments.registry, arguments.digests, arguments.output))
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
