"""A release is refused where a tag, a version, the changelog or the images do not belong together."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from hack.scripts import release
from tests.unit.chart.rendering import call

DIGESTS = {
    name: f"sha256:{number * 64}"
    for number, name in zip("1234", ["indexer", "operator", "server", "postgres"], strict=True)
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that is ready for v1.2.0, with the real chart."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    chart = tmp_path / "charts" / "codebase-mcp"
    shutil.copytree(release.CHECKOUT / "charts" / "codebase-mcp", chart)
    described = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(re.sub(r"^((?:appV|v)ersion): .*$", r"\1: 1.2.0", described, flags=re.M))
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n## 1.2.0\n\n- New.\n\n## 1.1.0\n\n- Old.\n"
    )
    return tmp_path


def test_a_commit_is_released_when_everything_is_at_the_tags_version(checkout: Path) -> None:
    assert release.check("v1.2.0", checkout) == "1.2.0"
    assert release.notes("v1.2.0", checkout) == "- New.\n"


@pytest.mark.parametrize("tag", ["1.2.0", "v1.2", "v1.2.0-rc.1", "latest"])
def test_a_tag_that_names_no_release_is_refused(checkout: Path, tag: str) -> None:
    with pytest.raises(release.ReleaseError, match=f"{tag} is not vMAJOR"):
        release.check(tag, checkout)


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("pyproject.toml", "1.2.0", "1.3.0", r"pyproject\.toml says 1\.3\.0"),
        ("charts/codebase-mcp/Chart.yaml", "\nversion: 1.2.0", "\nversion: 1.1.0", r"yaml, version says 1\.1\.0"),
        ("charts/codebase-mcp/Chart.yaml", "appVersion: 1.2.0", "appVersion: 1.1.0", "appVersion says"),
        ("CHANGELOG.md", "## 1.2.0", "## 1.2.0 (unreleased)", r"no section `## 1\.2\.0`"),
        ("CHANGELOG.md", "- New.\n", "", "with text in it"),
        ("CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n- Later.\n", "still has text under Unreleased"),
    ],
    ids=["project", "chart", "images' tag", "still unreleased", "nothing to say", "forgotten entry"],
)  # fmt: skip
def test_what_is_not_at_the_version_is_named(checkout: Path, file: str, old: str, new: str, reason: str) -> None:
    text = (checkout / file).read_text()
    assert old in text
    (checkout / file).write_text(text.replace(old, new, 1))
    with pytest.raises(release.ReleaseError, match=reason):
        release.check("v1.2.0", checkout)


@pytest.fixture
def digests(tmp_path: Path) -> Path:
    folder = tmp_path / "digests"
    folder.mkdir()
    for name, digest in DIGESTS.items():
        (folder / name).write_text(f"{digest}\n")
    return folder


def test_the_released_chart_runs_the_released_images_and_no_others(digests: Path, tmp_path: Path) -> None:
    folder = release.chart("ghcr.io/someone/search", digests, tmp_path / "out")
    rendered = call("template", "rel", values={}, chart=folder).stdout
    images = set(re.findall(r"(?:image|INDEXER_IMAGE)[\"']?: [\"']?(\S+?)[\"']?,?$", rendered, re.M))
    assert images
    known = {f"ghcr.io/someone/search/{name}@{digest}" for name, digest in DIGESTS.items()}
    assert images <= known
    assert "codebase-mcp.local" not in rendered
    for reference in known:
        assert reference in rendered


def test_the_released_chart_differs_in_its_images_alone(digests: Path, tmp_path: Path) -> None:
    folder = release.chart("ghcr.io/someone/search", digests, tmp_path / "out")
    before = yaml.safe_load((release.CHECKOUT / "charts/codebase-mcp/values.yaml").read_text())
    after = yaml.safe_load((folder / "values.yaml").read_text())
    images = after.pop("images")
    assert images.pop("tag") == before.pop("images")["tag"]
    assert {name: image["digest"] for name, image in images.items()} == DIGESTS
    assert after == before


@pytest.mark.parametrize("what", ["missing", "left over", "empty"])
def test_a_chart_for_other_images_than_were_pushed_is_refused(digests: Path, tmp_path: Path, what: str) -> None:
    match what:
        case "missing":
            (digests / "server").unlink()
        case "left over":
            (digests / "helper").write_text(DIGESTS["server"])
        case "empty":
            (digests / "server").write_text("")
    with pytest.raises(release.ReleaseError, match="Not digests: server" if what == "empty" else "name the same"):
        release.chart("ghcr.io/someone/search", digests, tmp_path / "out")
