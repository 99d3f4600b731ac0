"""Reads the Kubernetes manifests, and holds them against the types of Kubernetes' own Python client.

The client (a dependency of kfp) knows the types of Kubernetes 1.16. What has come since and is used here stands below,
as Kubernetes 1.24 has it: renamed versions of unchanged types, and further fields.
"""

import yaml
from kubernetes import client

TYPES = {
    ("v1", "Namespace"): "V1Namespace",
    ("v1", "PersistentVolumeClaim"): "V1PersistentVolumeClaim",
    ("v1", "Secret"): "V1Secret",
    ("v1", "Service"): "V1Service",
    ("apps/v1", "Deployment"): "V1Deployment",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "V2HorizontalPodAutoscaler",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
}
#: Types by the name of 1.24 -> of 1.16, with the same fields.
RENAMED = {
    "V2HorizontalPodAutoscaler": "V2beta2HorizontalPodAutoscaler",
    "V1PodDisruptionBudget": "V1beta1PodDisruptionBudget",
}
#: type -> field -> its type; a dict is a type of its own, `!` behind a name says that it must be there.
NEWER = {
    "V1Probe": {"grpc": {"port!": "int", "service": "str"}},
    "V1PodSecurityContext": {"seccompProfile": {"type!": "str", "localhostProfile": "str"}},
    "V2beta2HorizontalPodAutoscalerSpec": {
        "behavior": {"scaleUp": "scaling", "scaleDown": "scaling"},
    },
    "scaling": {"stabilizationWindowSeconds": "int", "selectPolicy": "str", "policies": "list[policy]"},
    "policy": {"type!": "str", "value!": "int", "periodSeconds!": "int"},
}
_PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def read(file):
    """The documents of a YAML file."""
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def kind(documents, name):
    """The documents of one kind, by their names."""
    return {each["metadata"]["name"]: each for each in documents if each["kind"] == name}


def problems(document):
    """What is wrong with a manifest, as sentences."""
    kind = TYPES.get((document.get("apiVersion"), document.get("kind")))
    if kind is None:
        return [f"{document.get('apiVersion')} {document.get('kind')}: not a kind that is known here"]
    return list(_of_type(document, RENAMED.get(kind, kind), document["kind"]))


def _of_type(value, kind, place):
    if isinstance(kind, dict):
        yield from _of_fields(value, kind, place)
    elif kind.startswith("list["):
        if not isinstance(value, list):
            yield f"{place}: {value!r} is no list"
            return
        for number, item in enumerate(value):
            yield from _of_type(item, kind[5:-1], f"{place}[{number}]")
    elif kind.startswith("dict("):
        if not isinstance(value, dict):
            yield f"{place}: {value!r} is no mapping"
            return
        for key, item in value.items():
            yield from _of_type(key, "str", f"{place}, key {key!r}")
            yield from _of_type(item, kind[5:-1].partition(", ")[2], f"{place}.{key}")
    elif kind in _PLAIN:
        if not isinstance(value, _PLAIN[kind]) or (isinstance(value, bool) and kind != "bool"):
            yield f"{place}: {value!r} is no {kind}"
    elif kind in NEWER and not hasattr(client, kind):
        yield from _of_fields(value, NEWER[kind], place)
    elif kind == "object":  # a number or a name, of a port, say
        if not isinstance(value, (int, str)) or isinstance(value, bool):
            yield f"{place}: {value!r} is neither a number nor a text"
    else:
        yield from _of_class(value, getattr(client, kind), place)


def _of_class(value, cls, place):
    fields = {cls.attribute_map[name]: kind for name, kind in cls.openapi_types.items()}
    newer = NEWER.get(cls.__name__, {})
    yield from _of_fields(value, {**fields, **newer}, place)
    if isinstance(value, dict):
        names = {json_name: name for name, json_name in cls.attribute_map.items()}
        try:  # the client itself knows what must be there
            cls(**{names[key]: item for key, item in value.items() if key in names})
        except ValueError as error:
            yield f"{place}: {error}"


def _of_fields(value, fields, place):
    if not isinstance(value, dict):
        yield f"{place}: {value!r} is no mapping"
        return
    named = {name.rstrip("!"): kind for name, kind in fields.items()}
    for key in fields:
        if key.endswith("!") and key[:-1] not in value:
            yield f"{place}: lacks {key[:-1]}"
    for key, item in value.items():
        if key not in named:
            yield f"{place}: has no field {key!r}"
        elif item is not None:
            yield from _of_type(item, named[key], f"{place}.{key}")
