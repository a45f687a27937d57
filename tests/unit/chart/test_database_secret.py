"""How the programs learn the database's address, and that its password is nowhere else."""

import json

from tests.unit.chart.rendering import Object, environment, named, of_kind, pods, render, rendered

HOOK = "helm.sh/hook"
GENERATED: Object = {}
"""Values by which the chart makes the Secret."""


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
                each = case == "generated password"
                own = [{"key": f"{component}-url" if each else "url", "path": file}]
                owner = [{"key": "url", "path": "owner-url"}] if each and component == "operator" else []
                assert volume["secret"]["items"] == own + owner, "no other program's address"
                assert "CODEBASE_DATABASE_URL" not in env


def test_no_password_is_rendered_and_two_renderings_are_the_same() -> None:
    """So none is kept in a release, and no rollback, `kubectl apply` or Argo CD brings back or changes one."""
    objects = render(GENERATED)
    assert not of_kind(objects, "Secret") and objects == render(GENERATED)


def test_a_job_makes_the_secret_first_and_may_do_little_else() -> None:
    objects = rendered("generated password")
    (job,) = of_kind(objects, "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    env = environment(container)
    secret = env["CODEBASE_SECRET"]
    assert env["CODEBASE_DATABASE_HOST"] == "rel-codebase-mcp-postgres.ns.svc"
    assert json.loads(env["CODEBASE_SECRET_LABELS"])["app.kubernetes.io/component"] == "postgres"
    assert named(objects, "Role", secret)["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret], "verbs": ["get", "patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    ]
    hooks = [o for o in objects if HOOK in (o["metadata"].get("annotations") or {}) and o["kind"] != "Pod"]
    assert {o["kind"] for o in hooks} == {"ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "Job"}
    weights = {o["kind"]: int(o["metadata"]["annotations"].get("helm.sh/hook-weight", 0)) for o in hooks}
    assert all(weights[kind] < weights["Job"] for kind in weights.keys() - {"Job"})
    for o in hooks:
        assert o["metadata"]["annotations"][HOOK] == "pre-install,pre-upgrade"
        assert o["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_another_pod_is_another_job_since_none_can_be_changed() -> None:
    names = [of_kind(render({"images": {"tag": tag}}), "Job")[0]["metadata"]["name"] for tag in ("1", "2", "2")]
    assert names[0] != names[1] == names[2]


def test_postgres_has_the_passwords_of_the_roles_that_the_programs_use() -> None:
    roles = ["operator-password", "server-password", "indexer-password"]
    for values, expected in (
        (GENERATED, roles), ({"postgres": {"existingSecret": "own"}}, []), ({"database": {"roles": "one"}}, []),
        ({"postgres": {"existingSecret": "own"}, "database": {"roles": "each"}}, roles),
    ):  # fmt: skip
        (postgres,) = of_kind(render(values), "StatefulSet")
        (volume,) = [v for v in postgres["spec"]["template"]["spec"]["volumes"] if v["name"] == "password"]
        assert [item["key"] for item in volume["secret"]["items"]] == ["password", *expected]


def test_a_certificate_is_served_and_checked_by_all_that_connect() -> None:
    values = {"postgres": {"tls": {"existingSecret": "cert"}, "backup": {"enabled": True, "existingClaim": "b"}}}
    for component, pod in pods(render(values)):
        (container,) = pod["spec"]["containers"]
        secrets = {v["name"]: v["secret"]["secretName"] for v in pod["spec"]["volumes"] if "secret" in v}
        if component == "postgres":
            assert secrets["tls"] == "cert" and "ssl=on" in container["args"]
        elif component in ("operator", "server", "indexer", "backup"):
            env = environment(container)
            assert secrets["database-ca"] == "cert" and env["PGSSLMODE"] == "verify-full", component
            assert env["PGSSLROOTCERT"].rpartition("/")[0] in [m["mountPath"] for m in container["volumeMounts"]]


def test_an_existing_database_brings_no_postgres() -> None:
    objects = rendered("everything")
    assert not of_kind(objects, "StatefulSet") and not of_kind(objects, "Job")
