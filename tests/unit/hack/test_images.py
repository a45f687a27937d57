"""The images: what their tags depend on, what the builders are asked to do, and what leaves this machine."""

import os
import re
import stat
import time
from pathlib import Path

import pytest

from hack.images import base, build, builders, catalog, load, process, settings
from hack.images.catalog import CHECKOUT, IMAGES, Image
from hack.local_cluster import kind
from hack.local_cluster.errors import ClusterError
from tests.support.packages import PACKAGES

PROGRAMS = [image for image in IMAGES if image.name != "postgres"]


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


IMAGE = Image("app", "app")


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


# --- settings of this machine -----------------------------------------------------------------------


def test_pip_settings_come_from_files_then_variables(tmp_path: Path) -> None:
    first, second = tmp_path / "first.conf", tmp_path / "second.conf"
    first.write_text("[global]\nindex-url = https://one.invalid\ntimeout = 5\nno-cache-dir = true\n")
    second.write_text("[install]\nindex-url = https://two.invalid\ntrusted-host =\n    a.invalid\n    b.invalid\n")
    environ = {"PIP_TIMEOUT": "60", "PIP_FIND_LINKS": "/only/here"}
    assert settings.pip_settings(environ, [first, second], with_ca=True) == (
        "[global]\nindex-url = https://two.invalid\ntimeout = 60\ntrusted-host = a.invalid\n    b.invalid\n"
        "cert = /run/secrets/ca.crt\n"
    )


def test_no_settings_give_an_empty_file() -> None:
    assert settings.pip_settings({}, [], with_ca=False) == "[global]\n"


def test_apt_settings_keep_what_says_how_to_reach_an_archive() -> None:
    dump = (
        'APT::Architecture "amd64";\nAcquire::http::Proxy "http://proxy.invalid:3128";\nAcquire::Retries "3";\n'
        'Acquire::https::CaInfo "/only/here.pem";\nAcquire::Check-Date "false";\nAcquire::http "";\n'
        'DPkg::Post-Invoke:: "/usr/bin/only-here";\n'
    )
    assert settings.apt_settings(dump) == (
        'Acquire::http::Proxy "http://proxy.invalid:3128";\nAcquire::Retries "3";\nAcquire::Check-Date "false";\n'
    )


def test_the_ca_bundle_is_the_first_that_is_named_and_there(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("certificates")
    named = {"PIP_CERT": str(tmp_path / "gone.pem"), "SSL_CERT_FILE": str(bundle)}
    assert settings.ca_bundle(named) == bundle
    assert settings.ca_bundle({}) is None


def test_proxies_are_handed_on_by_name_so_that_no_password_is_on_a_command_line() -> None:
    arguments = settings.proxy_arguments({"https_proxy": "http://user:secret@proxy.invalid", "NO_PROXY": ""})
    assert arguments == ["--build-arg=https_proxy"]


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_dockerfiles_read_settings_from_mounts_alone(image: Image) -> None:
    text = (CHECKOUT / image.dockerfile).read_text()
    offered = {"apt", "pip", "ca"}
    assert set(re.findall(r"--mount=type=secret,id=(\w+)", text)) <= offered
    assert not re.search(r"^(ARG|ENV|COPY).*(proxy|pip\.conf|index.url)", text, re.IGNORECASE | re.MULTILINE)


# --- builders ---------------------------------------------------------------------------------------


class Recorder:
    """Stands for `follow` and `run`: remembers the commands instead of running them."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.answers: dict[str, str] = {}

    def __call__(self, command: list[object], **_: object) -> str:
        words = [str(word) for word in command]
        self.commands.append(words)
        return next((answer for word, answer in self.answers.items() if word in words), "")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(builders, "follow", recorder)
    monkeypatch.setattr(builders, "run", recorder)
    monkeypatch.setattr(builders, "succeeds", recorder)
    return recorder


def test_docker_builds_with_the_secrets_and_saves_under_the_reference(recorder: Recorder, tmp_path: Path) -> None:
    docker = builders.Docker()
    docker.build(IMAGES[0], "name:tag", {"pip": tmp_path / "pip.conf"}, tmp_path / "log")
    docker.save("name:tag", tmp_path / "a.tar")
    built, saved = recorder.commands
    assert built[:2] == ["docker", "build"]
    assert f"--secret=id=pip,src={tmp_path}/pip.conf" in built
    assert built[-2:] == ["--tag=name:tag", str(CHECKOUT)]
    assert saved == ["docker", "save", f"--output={tmp_path}/a.tar", "name:tag"]


def test_buildah_never_pulls_and_forgets_the_tags_before(recorder: Recorder, tmp_path: Path) -> None:
    image = IMAGES[0]
    recorder.answers["images"] = f"{image.repository}:old\n{image.repository}:new\nother/{image.name}:old\n"
    builders.Buildah(tmp_path).build(image, f"{image.repository}:new", {}, tmp_path / "log")
    built, _, removed, pruned = recorder.commands
    assert {"--pull-never", "--layers"} <= set(built)
    assert removed[-2:] == ["rmi", f"{image.repository}:old"]
    assert pruned[-2:] == ["rmi", "--prune"]


def test_buildah_names_the_image_inside_its_archive(recorder: Recorder, tmp_path: Path) -> None:
    builders.Buildah(tmp_path).save("name:tag", tmp_path / "a.tar")
    assert recorder.commands[0][-2:] == ["name:tag", f"oci-archive:{tmp_path}/a.tar:name:tag"]


def test_a_failing_build_shows_its_last_lines_and_where_the_rest_is(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    with pytest.raises(ClusterError, match=r"(?s)failed \(3\).*no such package.*Look there.*build\.log"):
        process.follow(["sh", "-c", "echo no such package; exit 3"], log=log, hint="Look there.")
    assert log.read_text() == "no such package\n"


def test_a_step_is_shown_without_its_mounts_on_one_line() -> None:
    step = (
        "RUN --mount=type=secret,id=apt,target=/run/secrets/apt.conf     apt-get update     && apt-get install x"
    )
    assert process.shorten(step) == "RUN apt-get update && apt-get install x"
    assert len(process.shorten("RUN " + "x" * 500)) == 100


# --- the base ---------------------------------------------------------------------------------------


def test_a_young_base_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = _base(tmp_path, age_days=1)
    monkeypatch.setattr(base, "follow", _fails)
    assert base.ensure(tmp_path, "") == tar


def test_an_old_base_stays_in_use_when_no_new_one_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tar = _base(tmp_path, age_days=31)
    monkeypatch.setattr(base, "follow", _fails)
    assert base.ensure(tmp_path, "") == tar
    assert "no network" in capsys.readouterr().out


def test_no_base_and_no_network_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "follow", _fails)
    with pytest.raises(ClusterError, match="no network"):
        base.ensure(tmp_path, "")


def test_a_new_base_replaces_the_old_one_and_keeps_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = _base(tmp_path, age_days=31)
    seen: list[str] = []

    def make(command: list[object], **_: object) -> None:
        seen.extend(str(word) for word in command)
        Path(str(command[-1])).write_text("new")

    monkeypatch.setattr(base, "follow", make)
    new = base.ensure(tmp_path, 'Acquire::Retries "3";\n')
    assert new != old
    assert new.read_text() == "new"
    assert not old.exists()
    assert '--aptopt=Acquire::Retries "3"' in seen
    assert any(word.startswith("--customize-hook=rm ") for word in seen)


def _base(folder: Path, *, age_days: int) -> Path:
    tar = folder / f"{base.prefix()}20000101.tar"
    tar.write_text("old")
    made = time.time() - age_days * 86400
    os.utime(tar, (made, made))
    return tar


def _fails(*_: object, **__: object) -> None:
    raise ClusterError("no network")


# --- building and loading ---------------------------------------------------------------------------


class FakeBuilder:
    """Builds by writing the reference into the archive."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def prepare(self) -> str:
        return "base"

    def build(self, image: Image, reference: str, secrets: dict[str, Path], log: Path) -> None:
        assert all(
            stat.S_IMODE(file.parent.stat().st_mode) == 0o700 for file in secrets.values() if file.name != "ca"
        )
        self.built.append(image.name)

    def save(self, reference: str, archive: Path) -> None:
        archive.write_text(reference)


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBuilder:
    fake = FakeBuilder()
    monkeypatch.setattr(builders, "choose", lambda _: fake)
    monkeypatch.setattr(build, "OUTPUT", tmp_path / "out")
    monkeypatch.setattr(build, "_VALUES", tmp_path / "out" / "values.yaml")
    monkeypatch.setattr(build, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.setattr(Image, "tag", lambda image, base: f"{image.name}-1")
    for variable in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    return fake


def test_a_second_build_builds_nothing(builder: FakeBuilder) -> None:
    build.run()
    build.run()
    assert sorted(builder.built) == sorted(image.name for image in IMAGES)


def test_one_changed_image_is_built_alone_and_its_old_archive_goes(
    builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.run()
    builder.built.clear()
    monkeypatch.setattr(Image, "tag", lambda image, base: f"{image.name}-{2 if image.name == 'server' else 1}")
    build.run()
    assert builder.built == ["server"]
    assert not build.archive_of(Image("server", "mcp_server"), "server-1").exists()
    reference, archive = build.built()["server"]
    assert reference == archive.read_text() == f"{catalog.REGISTRY}/server:server-2"


def test_files_that_change_during_a_build_lead_to_another(
    builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited_once = {"indexer": ["a", "b", "b", "b"]}
    monkeypatch.setattr(Image, "tag", lambda image, base: (edited_once.get(image.name) or ["x"] * 4).pop(0))
    build.run()
    assert builder.built.count("indexer") == 2
    assert build.built()["indexer"][0].endswith(":b")


def test_an_interrupted_build_leaves_no_archive_that_looks_whole(
    builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(reference: str, archive: Path) -> None:
        archive.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(builder, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build.run()
    assert not list(build.OUTPUT.glob("*.tar"))
    with pytest.raises(ClusterError, match="not built yet"):
        build.built()


def test_a_full_disk_is_said_before_anything_is_built(
    builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_DISK_NEEDED_GIB", 10**9)
    with pytest.raises(ClusterError, match="XDG_CACHE_HOME"):
        build.run()
    assert not builder.built


def test_only_what_a_node_lacks_is_loaded(builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    build.run()
    built = {name: reference for name, (reference, _) in build.built().items()}
    nodes = {1: list(built.values()), 2: [ref for name, ref in built.items() if name != "indexer"]}
    loaded: list[str] = []
    monkeypatch.setattr(load, "own_state", lambda: type("State", (), {"recorded_nodes": lambda self: 2})())
    monkeypatch.setattr(kind, "is_ours", lambda _: False)
    monkeypatch.setattr(load, "_images_of", nodes.__getitem__)
    monkeypatch.setattr(load, "_load", lambda archive: loaded.append(archive.read_text()))
    load.run()
    assert loaded == [built["indexer"]]


def test_loading_without_a_build_says_what_to_run(builder: FakeBuilder) -> None:
    with pytest.raises(ClusterError, match=r"python3 -m hack\.images build"):
        load.run()
