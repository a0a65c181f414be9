"""Rules of a repository's settings: each test has its row in docs/sandbox.md."""

from __future__ import annotations

from sandbox_client import Api, refused
from trackside.sandbox.server import Sandbox

CLOSED = (
    "/actions/permissions",
    "/actions/permissions/workflow",
    "/actions/permissions/fork-pr-contributor-approval",
    "/actions/runners",
    "/branches/main/protection/required_status_checks",
)


def test_settings_are_closed(sandbox: Sandbox, repo: str, person: Api, job: Api) -> None:
    """Public or not: administrators, and tokens with the permission."""
    owner = Api(sandbox, repo, "token-acme")
    granted = Api(sandbox, repo, sandbox.seed.job_token(repo, {"administration": "read"}))
    sandbox.seed.protect(repo, "main", {"ci": None})
    for path in CLOSED:
        refused(person("GET", path), 403)
        refused(job("GET", path), 403, "Resource not accessible by integration")
        refused(Api(sandbox, repo, None)("GET", path), 401)
        assert [one("GET", path).status_code for one in (owner, granted)] == [200, 200], path
    refused(granted("PUT", "/actions/permissions/workflow", {"can_approve_pull_request_reviews": True}), 403)
    body = {"default_workflow_permissions": "write", "can_approve_pull_request_reviews": True}
    assert owner("PUT", "/actions/permissions/workflow", body).status_code == 204
    assert owner("GET", "/actions/permissions/workflow").json() == body
    policy = {"approval_policy": "all_external_contributors"}
    assert owner("PUT", "/actions/permissions/fork-pr-contributor-approval", policy).status_code == 204
    assert owner("GET", "/actions/permissions/fork-pr-contributor-approval").json() == policy
    refused(owner("GET", "/actions/permissions/selected-actions"), 409)


def test_names_of_secrets(sandbox: Sandbox, repo: str, person: Api, stranger: Api) -> None:
    sandbox.seed.environment(repo, "training")
    sandbox.seed.secret(repo, "INNER", "text-of-a-secret", "training")
    sandbox.seed.secret(repo, "OUTER", "text-of-a-secret")
    for path, name in (("/environments/training/secrets", "INNER"), ("/actions/secrets", "OUTER")):
        refused(stranger("GET", path), 403)
        answer = person("GET", path)
        assert [one["name"] for one in answer.json()["secrets"]] == [name]
        assert "text-of-a-secret" not in answer.text
    refused(person("GET", "/environments/none/secrets"), 404)


def test_environments(sandbox: Sandbox, repo: str, stranger: Api) -> None:
    """Who may use one: everybody's to see."""
    refused(stranger("GET", "/environments/training"), 404)
    for branches, policy in ((None, None), ([], (True, False)), (["main", "v*"], (False, True))):
        sandbox.seed.environment(repo, "training", branches=branches)
        found = stranger("GET", "/environments/training").json()["deployment_branch_policy"]
        assert (found and (found["protected_branches"], found["custom_branch_policies"])) == policy
        rows = stranger("GET", "/environments/training/deployment-branch-policies").json()["branch_policies"]
        assert [row["name"] for row in rows] == (branches or [])


def test_required_checks(sandbox: Sandbox, repo: str, stranger: Api) -> None:
    """Classic protection is told with the branch, rules of rulesets by branch: both to whoever reads."""
    assert stranger("GET", "/branches/main").json()["protected"] is False
    assert stranger("GET", "/rules/branches/main").json() == []
    sandbox.seed.protect(repo, "main", {"a": 1, "b": None})
    found = stranger("GET", "/branches/main").json()
    assert found["protected"] is True
    assert found["protection"]["required_status_checks"]["contexts"] == ["a", "b"]
    sandbox.seed.ruleset(repo, ["~DEFAULT_BRANCH"], {"c": 7})
    sandbox.seed.ruleset(repo, ["other"], {"d": None})
    (rule,) = stranger("GET", "/rules/branches/main").json()
    assert rule["parameters"]["required_status_checks"] == [{"context": "c", "integration_id": 7}]
    owner = Api(sandbox, repo, "token-acme")
    refused(owner("GET", "/branches/other/protection/required_status_checks"), 404, "Branch not protected")
