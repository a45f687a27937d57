"""The pages of the repository: every link leads somewhere, and every file and command that they name exists."""

import functools
import itertools
import json
import re
import shlex
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from hack.local_cluster.build import tool
from tests.unit.chart.rendering import helm

CHECKOUT = Path(__file__).resolve().parents[2]
# Of the files that git knows or would add: what make leaves behind is none of ours.
_LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=CHECKOUT, capture_output=True, text=True, check=True,
).stdout.split()  # fmt: skip
FILES = frozenset(name for name in _LISTED if (CHECKOUT / name).exists())
PAGES = sorted(CHECKOUT / name for name in FILES if name.endswith(".md"))
MAKEFILE = (CHECKOUT / "Makefile").read_text()
TARGETS = frozenset(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.M))
VALUES = ".images/values.yaml", ".images/published.yaml"


def name(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name)


@functools.cache
def tokens(page: Path) -> list[Token]:
    """Every token of a page, those inside of paragraphs and tables too."""
    blocks = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    return [token for block in blocks for token in (block, *(block.children or []))]


def links(page: Path) -> list[str]:
    """Targets of links and sources of pictures."""
    found = [token.attrGet("href") or token.attrGet("src") for token in tokens(page)]
    return [str(target) for target in found if target]


@functools.cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them: letters, digits, dashes; repeated ones counted."""
    seen: Counter[str] = Counter()
    found = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", page.read_text()))
    for opening, inline in itertools.pairwise(tokens(page)):
        if opening.type == "heading_open":
            text = "".join(part.content for part in inline.children or [] if part.type in ("text", "code_inline"))
            kept = "".join(c for c in text.lower() if c in "-_ " or unicodedata.category(c)[0] in "LN")
            slug = kept.replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return frozenset(found)


def broken(page: Path, target: str) -> str:
    """What is wrong with a link; empty when nothing is. What lies elsewhere on the internet is not asked for."""
    if re.match(r"[a-z]+:", target):
        return ""
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.is_relative_to(CHECKOUT):
        return "leads out of the repository"
    if not file.exists():
        return "there is no such file"
    if anchor and file.suffix == ".md" and anchor not in anchors(file):
        return f"{name(file)} has no such heading"
    return ""


@every_page
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    wrong = {target: reason for target in links(page) if (reason := broken(page, target))}
    assert not wrong


def test_links_to_nothing_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.CHECKOUT", tmp_path)
    (tmp_path / "there.md").write_text("# What it `does`, twice\n\n# Same\n\n# Same\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n\n[a](there.md) [b](there.md#what-it-does-twice) [c](there.md#same-1) [d](https://example.org/x)\n"
        "[e](#here) `[f](code.md)`\n\n"
        "[g](gone.md) [h](there.md#same-2) [i](../out.md) ![j](gone.png) [k][l]\n\n[l]: gone.txt\n"
    )
    wrong = [target for target in links(page) if broken(page, target)]
    assert wrong == ["gone.md", "there.md#same-2", "../out.md", "gone.png", "gone.txt"]


# --- files ------------------------------------------------------------------------------------------

ENDINGS = frozenset(
    "/" + "/".join(parts[start:]) for parts in (name.split("/") for name in FILES) for start in range(len(parts))
)
FOLDERS = frozenset(f"/{parent}/" for name in FILES for parent in Path(name).parents)
TOP = frozenset(name.split("/")[0] for name in FILES if "/" in name)


def named_files(page: Path) -> list[str]:
    """What a page names in code as a file of Python or SQL, or as something below a folder of the checkout."""
    texts = [token.content for token in tokens(page) if token.type == "code_inline"]
    return [text for text in texts if re.fullmatch(r"[\w./-]+\.(py|sql)", text) or _lies_below_ours(text)]


def _lies_below_ours(text: str) -> bool:
    return bool(re.fullmatch(r"[\w./-]+", text)) and "/" in text and text.split("/")[0] in TOP


def is_there(text: str) -> bool:
    """Whether the checkout has such a file, given by its whole path or by the end of it, or such a folder."""
    return f"/{text}" in ENDINGS or any(folder.endswith(f"/{text.rstrip('/')}/") for folder in FOLDERS)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """The changelog is history, and may name what is gone."""
    assert not [text for text in named_files(page) if not is_there(text)]


def test_names_of_files_that_do_not_exist_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`tests/unit/test_docs.py` `test_docs.py` `tests/unit` `docs/gone.md` `gone.py` `tests/gone/` `a/b`"
    )
    assert [text for text in named_files(page) if not is_there(text)] == ["docs/gone.md", "gone.py", "tests/gone/"]


def test_the_index_of_the_pages_names_each_of_them() -> None:
    index = CHECKOUT / "docs" / "README.md"
    listed = {(index.parent / target).resolve() for target in links(index)}
    assert {page for page in PAGES if page.parent == index.parent} - listed == {index}


# --- commands ---------------------------------------------------------------------------------------


def commands(page: Path, pattern: str) -> Iterator[str]:
    """The commands that begin with `pattern`, in code blocks and in code within sentences, each on one line."""
    for token in tokens(page):
        if token.type not in ("code_inline", "fence", "code_block"):
            continue
        for line in re.sub(r"\\\n\s*", "", token.content).splitlines():
            for command in line.split("&&"):
                bare = re.sub(r"^(\$ )?([A-Z_]+=\S+ )*", "", command.strip())
                if re.match(pattern, bare):
                    yield bare


def calls(pattern: str) -> list[tuple[str, str]]:
    """Page and command, each command once."""
    found = {command: name(page) for page in PAGES for command in commands(page, pattern)}
    return [(page, command) for command, page in found.items()]


def test_every_make_target_in_a_page_exists() -> None:
    made = calls(r"make [a-z]")
    assert made
    for page, command in made:
        for word in shlex.split(command, comments=True)[1:]:
            variable, assigned, _ = word.partition("=")
            if assigned:
                known = rf"\b{variable}=|\({variable}\)"
                assert re.search(known, MAKEFILE), f"{page}: `{command}`: no {variable} in the Makefile"
            elif re.fullmatch(r"[a-z0-9-]+", word):
                assert word in TARGETS, f"{page}: `{command}`: no such target"


OURS = r"\S*python3? -m [a-z]|(kubectl exec .* -- )?(\.venv/bin/)?codebase-mcp [a-z]"


@pytest.mark.parametrize(("page", "command"), calls(OURS), ids=str)
def test_every_program_of_ours_knows_what_a_page_gives_it(page: str, command: str) -> None:
    """Asked for its help, which needs no cluster: the subcommands of the page lead there, and it has the flags."""
    words = shlex.split(command.rpartition(" -- ")[2] if "kubectl" in command else command, comments=True)
    program, given = (words[1:3], words[3:]) if words[1] == "-m" else (["-m", "codebase_cli"], words[1:])
    for alternative in given[0].split("|") if given else [""]:  # as in `build|load`
        path = [word for word in (alternative, *given[1:]) if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)]
        known = "".join(help_of(*program, *path[:depth]) for depth in range(len(path) + 1))
        unknown = {word for word in given if word.startswith("--")} - set(re.findall(r"--[a-z-]+", known))
        assert not unknown, f"{page}: `{command}`: no {', '.join(unknown)} in its help"


@pytest.mark.parametrize("arguments", [["-m", "hack.gone"], ["-m", "hack.images", "gone"]], ids=str)
def test_programs_and_subcommands_that_do_not_exist_are_noticed(arguments: list[str]) -> None:
    with pytest.raises(AssertionError):
        help_of(*arguments)


@functools.cache
def help_of(*arguments: str) -> str:
    """What one of our programs says of itself."""
    done = subprocess.run(
        [sys.executable, *arguments, "--help"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"`{' '.join(arguments)} --help`: {done.stderr}"
    return done.stdout


OF_UPGRADES = ("--install", "--reset-then-reuse-values")
"""Flags that are about a release that is there, which `helm template` does not know."""


@pytest.mark.parametrize(("page", "command"), calls("helm (install|upgrade) [^ ]+ "), ids=str)
def test_every_helm_command_gives_values_that_the_chart_takes(page: str, command: str, tmp_path: Path) -> None:
    """Rendered without a cluster; `…` stands for the release and the chart."""
    words = shlex.split(command, comments=True)[2:]
    if words[0] == "…":
        words[:1] = ["codebase-mcp", "charts/codebase-mcp"]
    if words[1].startswith("oci://"):  # a release of ours, which this checkout becomes
        words[1] = "charts/codebase-mcp"
    words = [images(tmp_path) if word in VALUES else word for word in words if word not in OF_UPGRADES]
    done = subprocess.run(
        [helm(), "template", "--kube-version=1.34.0", *words],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page}: `{command}`: {done.stderr}"


def images(folder: Path) -> str:
    """A file such as `make images` and `make publish` write."""
    names = ("indexer", "operator", "server", "postgres")
    named = {image: {"repository": f"registry.invalid/{image}", "tag": "1"} for image in names}
    values = folder / "values.yaml"
    values.write_text(json.dumps({"images": named}))
    return str(values)


@pytest.mark.parametrize(("page", "command"), calls("kubectl [a-z]+ [^ ]+"), ids=str)
def test_every_kubectl_command_is_understood(page: str, command: str) -> None:
    answer = kubectl(command)
    assert "refused" in answer, f"{page}: {answer}"


@pytest.mark.parametrize("command", ["kubectl get ij --namspace=a", "kubectl gett ij", "kubectl logs -l a=b pod"])
def test_a_kubectl_command_that_is_wrong_is_noticed(command: str) -> None:
    assert "refused" not in kubectl(command)


def kubectl(command: str) -> str:
    """What kubectl says to a command, up to a pipe: that nobody answers, once it has understood the rest."""
    words = shlex.split(re.split(r"\s\|\s", command)[0], comments=True)[1:]
    nobody = ["--server=http://127.0.0.1:1", "--request-timeout=1s"]
    end = words.index("--") if "--" in words else len(words)
    done = subprocess.run(
        [*tool("kubectl"), *words[:end], *nobody, *words[end:]],
        capture_output=True, text=True, check=False, env={"KUBECONFIG": "/dev/null", "HOME": "/nonexistent"},
    )  # fmt: skip
    return done.stderr
