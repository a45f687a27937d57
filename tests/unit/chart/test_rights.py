"""The rights of each component at the API server: the least."""

from tests.unit.chart.rendering import every_case, named, of_kind, pods, rendered

SECRET_RIGHTS: dict[str, dict[str, list[str]]] = {
    "everything": {"secrets one two": ["get"]}, "folders alone": {},
}  # fmt: skip


@every_case
def test_rights_are_these_and_no_others(case: str) -> None:
    objects = rendered(case)
    rules = {
        o["metadata"]["labels"]["app.kubernetes.io/component"]: {
            " ".join([f"{group}/{resource}".lstrip("/"), *rule.get("resourceNames", [])]): verbs
            for rule in o["rules"]
            for verbs in [rule["verbs"]]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        }
        for o in of_kind(objects, "Role")
    }
    group = "indexing.codebase-mcp.io"
    (lease,) = [o["metadata"]["name"] for o in of_kind(objects, "Lease")]
    makes_secret = rules.pop("database-secret", None)  # test_database_secret.py has its rights
    assert (makes_secret is not None) == bool(of_kind(objects, "Job"))
    assert rules == {
        "operator": {
            f"{group}/indexingjobs": ["get", "list", "watch", "patch", "delete"],
            f"{group}/indexingjobs/status": ["get", "patch"],
            f"{group}/indexingjobs/finalizers": ["update"],
            "pods": ["get", "list", "watch", "create", "delete"],
            "events": ["create", "patch", "deletecollection"],
            f"coordination.k8s.io/leases {lease}": ["get", "update"],
            "coordination.k8s.io/leases": ["create"],
            **SECRET_RIGHTS.get(case, {"secrets": ["get"]}),
        },
        "server": {f"{group}/indexingjobs": ["get", "list", "watch", "create", "patch"], "events": ["create"]},
    }
    assert not of_kind(objects, "ClusterRoleBinding")
    assert bool(of_kind(objects, "ClusterRole")) == (case == "everything")


@every_case
def test_each_binding_gives_a_role_to_the_account_of_its_own_component(case: str) -> None:
    objects = rendered(case)
    for binding in of_kind(objects, "RoleBinding"):
        (subject,) = binding["subjects"]
        assert binding["roleRef"]["name"] == subject["name"] == binding["metadata"]["name"]
        named(objects, "ServiceAccount", subject["name"])
        named(objects, "Role", subject["name"])


@every_case
def test_only_operator_and_server_get_a_token_and_the_job_that_makes_the_secret(case: str) -> None:
    objects = rendered(case)
    assert all(o["automountServiceAccountToken"] is False for o in of_kind(objects, "ServiceAccount"))
    with_token = {component for component, pod in pods(objects) if pod["spec"]["automountServiceAccountToken"]}
    assert with_token - {"database-secret"} == {"operator", "server"}


def test_aggregated_roles_name_the_custom_resource_alone() -> None:
    roles = of_kind(rendered("everything"), "ClusterRole")
    assert {rule["apiGroups"][0] for role in roles for rule in role["rules"]} == {"indexing.codebase-mcp.io"}
    viewers = [r for r in roles if "rbac.authorization.k8s.io/aggregate-to-view" in r["metadata"]["labels"]]
    assert [verb for role in viewers for rule in role["rules"] for verb in rule["verbs"]] == [
        "get", "list", "watch", "get",
    ]  # fmt: skip
