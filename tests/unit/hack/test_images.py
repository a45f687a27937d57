"""What an image is made of: its inputs, its tag, and what its Dockerfile may do."""

import re
from pathlib import Path

import pytest

from hack.images import catalog
from hack.images.catalog import CHECKOUT, IMAGES, Image
from tests.support.packages import PACKAGES
from tests.unit.hack.image_sample import IMAGE, PROGRAMS


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one image of two inputs, and a file that is none."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").write_text(
        "FROM debian AS code\nCOPY --chmod=0755 lib start.sh /app/\n"
        "FROM debian\nCOPY --from=code /app /app\nCOPY lib /lib\n"
    )
    (tmp_path / ".dockerignore").write_text("*\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "one.py").write_text("1")
    (tmp_path / "start.sh").write_text("exit")
    (tmp_path / "README").write_text("not copied")
    return tmp_path


def test_inputs_are_what_the_dockerfile_copies_from_the_checkout(checkout: Path) -> None:
    assert IMAGE.inputs(checkout) == ["app/Dockerfile", ".dockerignore", "lib", "start.sh"]


def test_a_copy_of_the_whole_context_has_what_dockerignore_lets_in_as_input(checkout: Path) -> None:
    (checkout / "app" / "Dockerfile").write_text("FROM debian\nCOPY . /src\n")
    (checkout / ".dockerignore").write_text("*\n!lib\n!*.sh\n**/*.pyc\n")
    assert IMAGE.inputs(checkout) == ["app/Dockerfile", ".dockerignore", "lib", "start.sh"]


@pytest.mark.parametrize("changed", ["lib/one.py", "lib/new.py", "start.sh", "app/Dockerfile", ".dockerignore"])
def test_a_changed_input_changes_the_tag(checkout: Path, changed: str) -> None:
    before = IMAGE.tag("base", checkout)
    with (checkout / changed).open("a") as file:
        file.write("\n# other\n")
    assert IMAGE.tag("base", checkout) != before


def test_a_renamed_file_and_a_new_mode_change_the_tag(checkout: Path) -> None:
    tags = {IMAGE.tag("base", checkout)}
    (checkout / "lib" / "one.py").rename(checkout / "lib" / "two.py")
    tags.add(IMAGE.tag("base", checkout))
    (checkout / "start.sh").chmod(0o755)
    tags.add(IMAGE.tag("base", checkout))
    assert len(tags) == 3


def test_another_base_changes_the_tag(checkout: Path) -> None:
    assert IMAGE.tag("base-1", checkout) != IMAGE.tag("base-2", checkout)


def test_bytecode_and_files_that_are_not_copied_leave_the_tag(checkout: Path) -> None:
    before = IMAGE.tag("base", checkout)
    (checkout / "README").write_text("changed")
    (checkout / "lib" / "__pycache__").mkdir()
    (checkout / "lib" / "__pycache__" / "one.cpython-313.pyc").write_bytes(b"\0")
    assert IMAGE.tag("base", checkout) == before


def test_tags_do_not_depend_on_where_the_checkout_lies(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("elsewhere") / "clone"
    checkout.rename(other)
    other_tag = IMAGE.tag("base", other)
    other.rename(checkout)
    assert IMAGE.tag("base", checkout) == other_tag


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_every_input_of_the_real_images_exists_and_gets_past_dockerignore(image: Image) -> None:
    allowed = [
        line.removeprefix("!") for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    for name in image.inputs()[2:]:
        assert (CHECKOUT / name).exists(), f"{image.dockerfile} copies {name}, which is not there"
        assert any(Path(name).is_relative_to(entry) or Path(name).match(entry) for entry in allowed), name


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_dockerfiles_end_as_a_numbered_user_that_is_not_root(image: Image) -> None:
    users = re.findall(r"^USER (.+)$", (CHECKOUT / image.dockerfile).read_text(), re.MULTILINE)
    assert users == ["999:999" if image.name == "postgres" else "10001:10001"]


@pytest.mark.parametrize("image", PROGRAMS, ids=lambda image: image.name)
def test_only_hashed_packages_are_installed_and_code_comes_after_them(image: Image) -> None:
    text = (CHECKOUT / image.dockerfile).read_text()
    last_stage = text[text.rindex("\nFROM ") :]
    assert "--require-hashes" in last_stage
    assert last_stage.index("--require-hashes") < last_stage.index("COPY --from=wheel")


def test_the_stages_base_and_wheel_are_equal_byte_by_byte_so_that_their_layers_are_shared() -> None:
    stages = {}
    for image in PROGRAMS:
        text = (CHECKOUT / image.dockerfile).read_text()
        stages[image.name] = text[text.index("FROM debian") : text.index("\nFROM base\n")]
    assert stages["indexer"] == stages["server"]
    shared, _, more = stages["operator"].partition("# The operator embeds nothing")
    assert shared.rstrip("\n") == stages["indexer"].rstrip("\n")
    assert re.fullmatch(r"[^\n]*\nRUN rm -r \S+/minilm-static-256\n*", more)  # on top of the shared layers


def test_every_package_of_the_wheel_gets_past_dockerignore() -> None:
    let_in = (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert {f"!{package}" for package in PACKAGES} <= set(let_in)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_names_have_a_domain_that_is_not_a_public_registry(image: Image) -> None:
    assert image.repository.split("/")[0] == catalog.REGISTRY
    assert "." in catalog.REGISTRY
