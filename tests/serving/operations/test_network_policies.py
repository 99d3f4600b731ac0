"""Who may talk to whom in Kubernetes: the policies together, as a network would follow them."""

import pytest
from manifests import kind

NAME = "app.kubernetes.io/name"
#: Ports of Kubernetes itself that policies may name: of its DNS; and Redis', which is somewhere else.
FOREIGN_PORTS = {53, 6379}
#: Not a Deployment here, but a Job that an operator may run.
GUESTS = {"release"}
OWN, OTHER = "shop-ranker", "shop"


def test_policies_name_what_is_there(documents):
    policies = kind(documents, "NetworkPolicy")
    assert policies.pop("nobody")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    deployments = kind(documents, "Deployment")
    assert policies.keys() == deployments.keys() | GUESTS
    ports = {}
    for name, each in deployments.items():
        (container,) = each["spec"]["template"]["spec"]["containers"]
        ports[name] = {port["name"] for port in container["ports"]}
    for name, policy in policies.items():
        assert policy["spec"]["podSelector"]["matchLabels"] == {NAME: name}
        for rule in policy["spec"].get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= ports[name]
        for rule in policy["spec"].get("egress", []):
            to = [peer["podSelector"]["matchLabels"][NAME] for peer in rule.get("to", []) if "podSelector" in peer]
            allowed = ports[to[0]] if to else FOREIGN_PORTS
            assert {port["port"] for port in rule["ports"]} <= allowed


@pytest.mark.parametrize(
    ("source", "target", "port", "passes"),
    [
        ((OWN, "gateway"), (OWN, "serving"), "grpc", True),
        ((OWN, "gateway"), (OWN, "serving"), "rest", False),
        ((OWN, "release"), (OWN, "serving"), "grpc", True),
        ((OWN, "release"), (OWN, "gateway"), "http", True),
        ((OWN, "release"), ("kube-system", "dns"), 53, True),
        ((OWN, "release"), ("elsewhere", "redis"), 6379, False),
        ((OWN, "gateway"), ("kube-system", "dns"), 53, True),
        ((OWN, "gateway"), ("elsewhere", "redis"), 6379, True),
        ((OWN, "gateway"), ("elsewhere", "web"), 443, False),
        ((OWN, "serving"), ("kube-system", "dns"), 53, False),
        ((OWN, "serving"), (OWN, "gateway"), "http", False),
        ((OWN, "something"), (OWN, "serving"), "grpc", False),
        ((OTHER, "gateway"), (OWN, "serving"), "grpc", False),
        ((OTHER, "application"), (OWN, "gateway"), "http", True),
        (("monitoring", "prometheus"), (OWN, "serving"), "rest", True),
        (("monitoring", "prometheus"), (OWN, "serving"), "grpc", False),
        (("monitoring", "prometheus"), (OWN, "gateway"), "http", True),
    ],
)
def test_policies_let_through_what_is_needed_and_nothing_else(documents, source, target, port, passes):
    policies = [each["spec"] for each in kind(documents, "NetworkPolicy").values()]
    found = lets_through(policies, source, target, port, "egress") and lets_through(
        policies, target, source, port, "ingress"
    )
    assert found == passes


def lets_through(policies, pod, peer, port, direction):
    """Whether the policies about a pod, given as (namespace, name), allow it a connection with a peer."""
    about = [
        each
        for each in policies
        if direction.title() in each["policyTypes"] and pod[0] == OWN and selects(each["podSelector"], {NAME: pod[1]})
    ]
    far = {"egress": "to", "ingress": "from"}[direction]
    return not about or any(
        port in [each["port"] for each in rule["ports"]]
        and (far not in rule or any(is_peer(each, peer) for each in rule[far]))
        for policy in about
        for rule in policy.get(direction, [])
    )


def is_peer(selector, peer):
    namespace, name = peer
    if "namespaceSelector" in selector:
        here = selects(selector["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
    else:
        here = namespace == OWN
    return here and selects(selector.get("podSelector", {}), {NAME: name})


def selects(selector, labels):
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )
