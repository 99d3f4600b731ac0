"""What failed calls say."""

import grpc
import pytest

from serving.client import Request
from serving.results import CallError

ASKED = Request(candidates=["ab"])


def failure(call, *arguments, **options):
    with pytest.raises(CallError) as caught:
        call(*arguments, **options)
    return caught.value


def test_unknown_model(server, make_client):
    client = make_client(server.address, "nobody")
    error = failure(client.rank, ASKED)
    assert error.code == "NOT_FOUND"
    assert error.details == "Servable not found for request: nobody"
    assert str(error) == (
        f"rank of model `nobody` on {server.address} failed with NOT_FOUND: Servable not found for request: nobody. "
        "`status` tells which versions of `nobody` the server has, or that it does not know the name."
    )
    assert str(failure(client.status)).endswith(
        "Is `nobody` the model's name there (--model_name, or `name` in the server's model config)?"
    )


@pytest.mark.parametrize(
    ("given", "had", "hint"),
    [
        (
            ("country",),
            ("country", "gender"),
            "The context columns of `toy` are country, gender; the client sent country.",
        ),
        ((), ("country",), "The context columns of `toy` are country; the client sent none."),
        (("city",), (), "The context columns of `toy` are none; the client sent city."),
    ],
)
def test_other_context_columns(make_server, make_client, given, had, hint):
    server = make_server(7, columns=had)
    error = failure(make_client(server.address, "toy", given).rank, ASKED)
    assert error.code == "INVALID_ARGUMENT"
    assert error.details.startswith("input size does not match signature")
    assert str(error).endswith(hint)


def test_what_no_context_columns_put_right_is_not_sent_for_ever(server, make_client):
    refusal = (grpc.StatusCode.INVALID_ARGUMENT, "input size does not match signature: 1!=2")
    client = make_client(server.address, "toy")
    client.rank(ASKED)
    server.calls.clear()
    metadata = server._GetModelMetadata

    def describe(request, context):
        server.failures.extend([refusal] * 2)
        return metadata(request, context)

    server._GetModelMetadata = describe
    server.failures.extend([refusal] * 2)
    assert failure(client.rank, ASKED).details == refusal[1]
    assert server.methods() == ["Predict", "Predict", "GetModelMetadata"] * 2


def test_a_server_that_will_not_describe_the_model_leaves_the_error_as_it_is(server, make_client):
    server.failures.extend(
        [
            (grpc.StatusCode.INVALID_ARGUMENT, "input size does not match signature: 1!=2"),
            (grpc.StatusCode.UNIMPLEMENTED, "no"),
        ]
    )
    error = failure(make_client(server.address, "toy", ("country",)).rank, ASKED)
    assert (error.code, error.details) == ("INVALID_ARGUMENT", "input size does not match signature: 1!=2")
    assert server.methods() == ["Predict", "GetModelMetadata"]


def test_other_faults_in_a_request_are_the_servers_to_explain(server, make_client):
    server.failures.append((grpc.StatusCode.INVALID_ARGUMENT, "The batch is too large"))
    error = failure(make_client(server.address, "toy", ("country",)).rank, ASKED)
    assert str(error) == (
        f"rank of model `toy` on {server.address} failed with INVALID_ARGUMENT: The batch is too large"
    )
    assert server.methods() == ["Predict"]


@pytest.mark.parametrize("columns", [None, ("country",)])
def test_a_signature_that_the_model_lacks(server, make_client, columns):
    server.signatures = ("rank", "suggest")
    # The context is not to blame, although no signature of that name declares it.
    asked = Request(context={"country": "DE"})
    assert str(failure(make_client(server.address, "toy", columns).search, asked)) == (
        f'search of model `toy` on {server.address} failed with FAILED_PRECONDITION: Serving signature key "search" '
        "not found. The signatures of `toy` are rank, suggest."
    )


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("UNAUTHENTICATED", "Give a token (`token`, or --token-file)."),
        ("PERMISSION_DENIED", "The token or the client's certificate does not allow this."),
        ("UNIMPLEMENTED", "Expected the gRPC port of a server that offers this, not the one of REST."),
    ],
)
def test_codes_with_something_to_do(server, make_client, code, hint):
    server.failures.append((grpc.StatusCode[code], "no"))
    error = failure(make_client(server.address, "toy").status)
    assert str(error) == f"status of model `toy` on {server.address} failed with {code}: no. {hint}"


def test_of_a_long_text_of_the_server_both_ends_are_in_the_message(server, make_client):
    server.failures.append((grpc.StatusCode.INTERNAL, "first " + "x" * 3000 + " last"))
    error = failure(make_client(server.address, "toy").status)
    assert len(error.details) == 3011
    assert len(str(error)) < 700 and "INTERNAL: first x" in str(error) and str(error).endswith("x last")
