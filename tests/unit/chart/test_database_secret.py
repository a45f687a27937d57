"""How the programs learn the database's address, and that its password is nowhere else."""

import json
import re

from tests.unit.chart.rendering import of_kind, pods, render, rendered


def test_all_programs_read_the_database_from_one_secret_that_may_change_under_them() -> None:
    """From a file of it, the whole folder mounted: a variable, or a single file, stays as it was at the start."""
    for case, secret in (
        ("default", "own"),
        ("everything", "elsewhere"),
        ("generated password", "rel-codebase-mcp-database"),
    ):
        for component, pod in pods(rendered(case)):
            container = pod["spec"]["containers"][0]
            env = {e["name"]: e for e in container.get("env", [])}
            if component in ("operator", "server", "indexer"):
                folder, _, file = env["CODEBASE_DATABASE_URL_FILE"]["value"].rpartition("/")
                (mount,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == folder]
                (volume,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == mount["name"]]
                assert (volume["secret"]["secretName"], "subPath" in mount) == (secret, False), (case, component)
                assert volume["secret"]["items"] == [{"key": "url", "path": file}]
                assert "CODEBASE_DATABASE_URL" not in env


def test_a_generated_password_is_in_its_url_and_in_nothing_else() -> None:
    objects = rendered("generated password")
    (secret,) = of_kind(objects, "Secret")
    password = secret["stringData"]["password"]
    assert re.fullmatch(r"\w{32}", password)
    assert (
        secret["stringData"]["url"]
        == f"postgresql://codebase:{password}@rel-codebase-mcp-postgres.ns.svc:5432/codebase"
    )
    assert password not in json.dumps([o for o in objects if o is not secret])
    assert password != of_kind(render({}), "Secret")[0]["stringData"]["password"]


def test_an_existing_database_brings_no_postgres() -> None:
    objects = rendered("everything")
    assert not of_kind(objects, "StatefulSet") and not of_kind(objects, "Secret")
