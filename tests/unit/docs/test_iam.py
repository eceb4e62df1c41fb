"""The policies of ``iam/`` allow real actions, as few as needed, on all resources only where AWS knows no finer way."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest

ROOT = Path(__file__).parents[3]
POLICIES = sorted((ROOT / "iam").glob("*.json"))
# Actions that AWS lets nobody restrict to a resource.
ON_EVERYTHING = {
    "ecr:GetAuthorizationToken": "a token is for the whole registry of an account",
    "cloudwatch:PutMetricData": "metrics have no ARN; the condition names their namespaces",
    "ec2:DescribeDhcpOptions": "EC2 restricts no description",
    "ec2:DescribeNetworkInterfaces": "EC2 restricts no description",
    "ec2:DescribeSecurityGroups": "EC2 restricts no description",
    "ec2:DescribeSubnets": "EC2 restricts no description",
    "ec2:DescribeVpcs": "EC2 restricts no description",
}
# Actions that are not called as an operation of the same name.
OPERATION = {"s3:ListBucket": "ListObjectsV2"}
PERMISSION_ONLY = {"iam:PassRole"}
PLACEHOLDERS = {"${ACCOUNT}", "${BUCKET}", "${KEY}", "${REGION}", "${ROLE}"}


def statements(path: Path) -> list[dict[str, Any]]:
    policy = json.loads(path.read_text(encoding="utf-8"))
    assert set(policy) == {"Version", "Statement"}
    assert policy["Version"] == "2012-10-17"
    return policy["Statement"]


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def actions(path: Path) -> list[str]:
    return [action for statement in statements(path) for action in listed(statement["Action"])]


@cache
def operations(service: str) -> frozenset[str]:
    # Endpoints answer by a service of their own, whose actions are SageMaker's.
    services = ("sagemaker", "sagemaker-runtime") if service == "sagemaker" else (service,)
    session = botocore.session.get_session()
    return frozenset(name for each in services for name in session.get_service_model(each).operation_names)


def by_name(path: Path) -> str:
    return path.name


def test_there_are_three_policies_and_two_for_those_who_need_them() -> None:
    assert [path.name for path in POLICIES] == [
        "execution-role-trust.json", "execution-role-vpc.json", "execution-role.json", "operator.json", "own-keys.json",
    ]  # fmt: skip


@pytest.mark.parametrize("path", POLICIES, ids=by_name)
def test_a_policy_has_the_form_of_one(path: Path) -> None:
    for statement in statements(path):
        assert set(statement) <= {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
        assert re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"])
        assert statement["Effect"] == "Allow"
        assert ("Principal" in statement) != ("Resource" in statement)
    sids = [statement["Sid"] for statement in statements(path)]
    assert len(set(sids)) == len(sids)


@pytest.mark.parametrize("path", POLICIES, ids=by_name)
def test_an_action_is_a_real_operation_without_wildcard(path: Path) -> None:
    for action in actions(path):
        service, _, name = action.partition(":")
        assert "*" not in action
        assert action in PERMISSION_ONLY or OPERATION.get(action, name) in operations(service), action
    assert len(set(actions(path))) == len(actions(path))


@pytest.mark.parametrize("path", POLICIES, ids=by_name)
def test_everything_is_allowed_only_where_aws_knows_no_resource(path: Path) -> None:
    for statement in statements(path):
        for resource in listed(statement.get("Resource", [])):
            if resource == "*":
                assert set(listed(statement["Action"])) <= ON_EVERYTHING.keys()
            else:
                # A partition, service, account and kind are named: only the last part may be a wildcard.
                assert re.fullmatch(r"arn:aws:[a-z0-9-]+:[^*:]*:[^*:]*:[^*]+(\*[^*]*)*", resource), resource


@pytest.mark.parametrize("path", POLICIES, ids=by_name)
def test_placeholders_are_those_that_the_page_explains(path: Path) -> None:
    placeholders = set(re.findall(r"\$\{[^}]*\}", path.read_text(encoding="utf-8")))
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    assert placeholders <= PLACEHOLDERS
    assert all(placeholder in page for placeholder in placeholders)


def test_the_role_can_be_passed_to_sagemaker_only() -> None:
    [statement] = [one for one in statements(ROOT / "iam/operator.json") if "iam:PassRole" in listed(one["Action"])]
    assert statement["Resource"] == ["arn:aws:iam::${ACCOUNT}:role/${ROLE}"]
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_sagemaker_assumes_the_role_for_this_account_only() -> None:
    [statement] = statements(ROOT / "iam/execution-role-trust.json")
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "${ACCOUNT}"}


@pytest.mark.parametrize("service", ["sagemaker", "ecr", "logs", "application-autoscaling"])
def test_the_operator_may_make_the_calls_of_the_commands(service: str) -> None:
    named = {
        node.value
        for path in (ROOT / "src/multimodal_algo/aws").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    needed = {f"{service}:{name}" for name in named & operations(service)}
    assert needed - set(actions(ROOT / "iam/operator.json")) == set()
