"""Settings of a repository: Actions, runners, environments, names of secrets, branch protection and rulesets."""

from __future__ import annotations

from urllib.parse import quote

from trackside.sandbox.problem import Problem, not_found
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc
from trackside.sandbox.views.core import repo_url

_R = "/repos/{owner}/{repo}"
_P = _R + "/actions/permissions"
_READ, _WRITE = "administration:read", "administration:write"


@route("GET", _P, _READ, role="admin")
def get_permissions(call: Call) -> Reply:
    allowed = call.hub.setting(call.repo, "allowed_actions") or "all"
    made: Doc = {"enabled": call.hub.setting(call.repo, "actions_enabled") is not False, "allowed_actions": allowed}
    if allowed == "selected":
        made["selected_actions_url"] = f"{repo_url(call.hub, call.repo)}/actions/permissions/selected-actions"
    return Reply(body=made)


@route("GET", _P + "/selected-actions", _READ, role="admin")
def get_selected_actions(call: Call) -> Reply:
    if call.hub.setting(call.repo, "allowed_actions") != "selected":
        raise Problem(409, "Conflict")
    known = call.hub.setting(call.repo, "selected_actions") or {}
    return Reply(body={"github_owned_allowed": True, "verified_allowed": False, "patterns_allowed": []} | known)


@route("GET", _P + "/workflow", _READ, role="admin")
def get_workflow_permissions(call: Call) -> Reply:
    may = bool(call.hub.setting(call.repo, "actions_can_create_pull_requests"))
    default = call.hub.setting(call.repo, "default_workflow_permissions") or "read"
    return Reply(body={"default_workflow_permissions": default, "can_approve_pull_request_reviews": may})


@route("PUT", _P + "/workflow", _WRITE, role="admin")
def put_workflow_permissions(call: Call) -> Reply:
    if "can_approve_pull_request_reviews" in call.fields:
        may = call.fields["can_approve_pull_request_reviews"]
        call.hub.set_setting(call.repo, "actions_can_create_pull_requests", may)
    if "default_workflow_permissions" in call.fields:
        default = call.fields["default_workflow_permissions"]
        call.hub.set_setting(call.repo, "default_workflow_permissions", default)
    return Reply(status=204)


@route("GET", _P + "/fork-pr-contributor-approval", _READ, role="admin")
def get_fork_approval(call: Call) -> Reply:
    policy = call.hub.setting(call.repo, "fork_approval") or "first_time_contributors"
    return Reply(body={"approval_policy": policy})


@route("PUT", _P + "/fork-pr-contributor-approval", _WRITE, role="admin")
def put_fork_approval(call: Call) -> Reply:
    call.hub.set_setting(call.repo, "fork_approval", call.fields["approval_policy"])
    return Reply(status=204)


@route("GET", _R + "/actions/runners", _READ, role="admin")
def list_runners(call: Call) -> Reply:
    def view(doc: Doc) -> Doc:
        labels = [{"id": number, "name": name, "type": "custom"} for number, name in enumerate(doc["labels"], 1)]
        known = {name: doc[name] for name in ("id", "name", "os", "status", "busy")}
        return known | {"labels": labels, "runner_group_id": 1, "ephemeral": doc["ephemeral"]}

    return call.page(call.hub.state.list("runner", call.repo), view, key="runners")


# Environments and secrets


def _environment(call: Call) -> Doc:
    found = call.hub.state.get("environment", call.repo, call.params["environment_name"])
    if found is None:
        raise not_found()
    return found


@route("GET", _R + "/environments/{environment_name}", "actions:read")
def get_environment(call: Call) -> Reply:
    doc = _environment(call)
    link = f"{repo_url(call.hub, call.repo)}/environments/{quote(doc['name'])}"
    known: Doc = {name: doc[name] for name in ("id", "name", "created_at", "deployment_branch_policy")}
    rule = {"id": doc["id"] + 1, "node_id": f"GA_{doc['id']}", "type": "branch_policy"}
    more: Doc = {
        "node_id": f"EN_{doc['id']}",
        "url": link,
        "html_url": f"{call.hub.url}/{call.repo}/deployments/activity_log?environments_filter={quote(doc['name'])}",
        "updated_at": doc["created_at"],
        "protection_rules": [rule] if doc["deployment_branch_policy"] else [],
    }
    return Reply(body=known | more)


@route("GET", _R + "/environments/{environment_name}/deployment-branch-policies", "actions:read")
def list_branch_policies(call: Call) -> Reply:
    rows = [
        {"id": number, "name": name, "type": "branch"} for number, name in enumerate(_environment(call)["branches"], 1)
    ]
    return call.page(rows, key="branch_policies")


@route("GET", _R + "/environments/{environment_name}/secrets", "environments:read", role="write")
def list_environment_secrets(call: Call) -> Reply:
    return _secrets(call, _environment(call)["name"])


@route("GET", _R + "/actions/secrets", "secrets:read", role="write")
def list_secrets(call: Call) -> Reply:
    return _secrets(call, "")


def _secrets(call: Call, environment: str) -> Reply:
    """Names only: nobody reads a secret back."""
    created = call.hub.repo(call.repo)["created_at"]
    docs = call.hub.state.list("secret", call.repo, environment=environment)
    dates = {"created_at": created, "updated_at": created}
    return call.page(docs, lambda doc: {"name": doc["name"], **dates}, key="secrets")


# Branches


@route("GET", _R + "/branches/{branch}/protection/required_status_checks", _READ, role="admin")
def get_required_checks(call: Call) -> Reply:
    rule = call.hub.state.get("protection", call.repo, call.params["branch"])
    if rule is None:
        raise Problem(404, "Branch not protected")
    link = f"{repo_url(call.hub, call.repo)}/branches/{quote(call.params['branch'])}/protection/required_status_checks"
    names = [one["context"] for one in rule["checks"]]
    more = {"url": link, "contexts_url": f"{link}/contexts", "strict": False, "contexts": names}
    return Reply(body=more | {"checks": rule["checks"]})


@route("GET", _R + "/rules/branches/{branch}")
def list_rules(call: Call) -> Reply:
    """Active rules of rulesets that name the branch, or `~DEFAULT_BRANCH`."""
    branch = call.params["branch"]
    default = call.hub.repo(call.repo)["default_branch"]
    found = []
    for doc in call.hub.state.list("ruleset", call.repo):
        if branch in doc["branches"] or ("~DEFAULT_BRANCH" in doc["branches"] and branch == default):
            parameters = {"strict_required_status_checks_policy": False, "required_status_checks": doc["checks"]}
            source = {"ruleset_id": doc["id"], "ruleset_source": call.repo, "ruleset_source_type": "Repository"}
            found.append({"type": "required_status_checks", "parameters": parameters} | source)
    return call.page(found)
