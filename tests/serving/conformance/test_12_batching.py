"""Section 12: batching."""

import concurrent.futures
import statistics
import time

import numpy as np
import pytest
import tensorflow as tf

from serving.server.errors import ServingError

#: A batch waits until 8 rows are there, or for two seconds.
EIGHT = "max_batch_size { value: 8 } batch_timeout_micros { value: 2000000 } num_batch_threads { value: 2 }"


@pytest.fixture(scope="module")
def base(shelf, tmp_path_factory):
    base = tmp_path_factory.mktemp("kinds")
    shelf.put(base, 1, "kinds")
    return base


@pytest.fixture(scope="module")
def batching(serve, base, tmp_path_factory):
    """Starts a server with the given parameters."""
    folder = tmp_path_factory.mktemp("batching")

    def start(text, **flags):
        file = folder / f"{abs(hash(text))}.config"
        file.write_text(text)
        options = {"enable_batching": True, "batching_parameters_file": file, "grpc_max_threads": 32}
        return serve(**{"model_base_path": base, **options, **flags})

    return start


@pytest.fixture(scope="module")
def eight(batching):
    with batching(EIGHT) as caller:
        yield caller


def together(calls):
    """The results of calls made at the same time; errors as (code, details)."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def floats(*values):
    return {"x": np.array(values, np.float32)}


def rows(caller, *sizes, signature="batch", **spec):
    """Sends requests of so many rows at once; the `batch` signature answers with the size of the batch it ran in."""
    return together([lambda size=size: caller.predict(floats(*range(size)), signature=signature) for size in sizes])


def test_upstreams_predict_batching(serve, shelf, tmp_path):
    """testPredictBatching with upstream's batching_config.txt: 3.0, with and without output_filter."""
    shelf.put(tmp_path / "m", 123)
    (tmp_path / "batching_config.txt").write_text(
        "max_batch_size { value: 128 } batch_timeout_micros { value: 0 } max_enqueued_batches { value: 1000000 } "
        "num_batch_threads { value: 8 }"
    )
    flags = {"enable_batching": True, "batching_parameters_file": tmp_path / "batching_config.txt"}
    with serve(model_base_path=tmp_path / "m", **flags) as caller:
        for outputs in ([], ["y"]):
            assert caller.predict(floats(2.0), outputs) == {"y": [3.0]}


def test_rows_are_joined_and_split_back(eight):
    assert rows(eight, 1, 2, 5) == [{"rows": [8] * size} for size in (1, 2, 5)]


def test_each_caller_gets_its_own_rows(eight):
    pairs = [(float(i), float(10 * i)) for i in range(8)]
    calls = [
        lambda a=a, b=b: eight.predict(
            {"a": np.array([a], np.float32), "b": np.array([b], np.float32)}, signature="two"
        )
        for a, b in pairs
    ]
    assert together(calls) == [{"sum": [a + b], "difference": [a - b]} for a, b in pairs]


def test_rest_and_grpc_share_a_queue(eight):
    def rest():
        body = {"signature_name": "batch", "instances": [1.0] * 5}
        return eight.rest("/v1/models/default:predict", body)[1]["predictions"]

    def over_grpc():
        return eight.predict(floats(1, 2, 3), signature="batch")["rows"]

    assert together([rest, over_grpc]) == [[8] * 5, [8] * 3]


def test_an_output_filter_has_a_queue_of_its_own(batching):
    """Sec. 12: it never joins a batch of full requests; both wait for more, and run alone."""
    inputs = {"a": np.ones(4, np.float32), "b": np.ones(4, np.float32)}
    with batching(EIGHT.replace("2000000", "300000")) as caller:
        together(
            [lambda: caller.predict(inputs, ["sum"], signature="two"), lambda: caller.predict(inputs, signature="two")]
        )
        assert caller.batches() == 2
        full = [lambda: caller.predict(inputs, ["difference", "sum"], signature="two")]
        together([*full, lambda: caller.predict(inputs, signature="two")])
        assert caller.batches() == 3  # the same set of outputs


def test_inputs_need_one_and_the_same_first_dimension(eight):
    scalar = eight.predict_error({"x": np.float32(1)}, signature="batch")
    assert scalar == ("INVALID_ARGUMENT", "Batching Run() input tensors must have at least one dimension")
    uneven = {"a": np.ones(2, np.float32), "b": np.ones(3, np.float32)}
    expected = ("INVALID_ARGUMENT", "Batching Run() input tensors must have equal 0th-dimension size")
    assert eight.predict_error(uneven, signature="two") == expected


def test_more_rows_than_a_batch_takes(eight):
    expected = ("INVALID_ARGUMENT", "Task size 9 is larger than maximum input batch size 8")
    assert eight.predict_error(floats(*range(9)), signature="batch") == expected
    body = {"signature_name": "batch", "instances": [1.0] * 9}
    assert eight.rest("/v1/models/default:predict", body) == (400, expected[1])


def test_a_wrong_type_fails_alone_with_the_sessions_text(eight):
    expected = ("INVALID_ARGUMENT", "Expects arg[0] to be float but int64 is provided")
    calls = [lambda: eight.predict_error({"x": np.array([1])}, signature="batch")]
    calls += [lambda: eight.predict(floats(*range(4)), signature="batch")] * 2
    assert together(calls) == [expected, {"rows": [8] * 4}, {"rows": [8] * 4}]


def test_one_bad_kernel_input_fails_its_whole_batch(eight):
    calls = [
        lambda values=values: eight.predict_error({"n": np.array(values)}, signature="failing")
        for values in ([1] * 4, [1, 1, 1, 0])
    ]
    for code, details in together(calls):
        assert code == "INVALID_ARGUMENT"
        assert "bad row" in details
    assert eight.predict({"n": np.array([1] * 8)}, signature="failing") == {"n": [1.0] * 8}


OUTPUTS = [
    ("scalar", "Batched output tensor has 0 dimensions"),
    (
        "shorter",
        "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
    ),
]


@pytest.mark.parametrize(("signature", "details"), OUTPUTS)
def test_outputs_that_cannot_be_split(eight, signature, details):
    assert eight.predict_error(floats(*range(8)), signature=signature) == ("FAILED_PRECONDITION", details)


def words(*texts):
    return {"words": np.array([[text.encode() for text in texts]], object), "length": np.array([len(texts)])}


def test_different_shapes_in_one_batch_without_padding(eight):
    calls = [lambda: eight.predict_error(words("a"), signature="variable")]
    calls += [lambda: eight.predict_error(words("bb", "c"), signature="variable")]
    for code, details in together(calls):
        assert code == "FAILED_PRECONDITION"
        assert details.startswith(
            "Tensors with name 'words:0' from different tasks have different shapes and padding is turned off."
        )


def test_padding_of_variable_lengths(batching):
    """Sec. 12: each input is padded with its own first value, and each caller gets what it gets alone."""
    lists = [("a",), ("bb", "c"), ("ddd", "e", "ff"), ("g",) * 7, ("h",), ("ii",), ("j", "k"), ("l",)]
    expected = [{"letters": [sum(map(len, texts))]} for texts in lists]
    with batching(EIGHT + " pad_variable_length_inputs: true") as caller:
        calls = [lambda texts=texts: caller.predict(words(*texts), signature="variable") for texts in lists]
        assert together(calls) == expected
        assert caller.batches() == 1

        def matrix(values):
            return {"m": np.array(values, np.float32)}

        one = np.arange(4).reshape(4, 1) + 1
        answers = together(
            [
                lambda: caller.predict(matrix(one), ["m"], signature="echo"),
                lambda: caller.predict(matrix(10 * np.ones((4, 2))), ["m"], signature="echo"),
            ]
        )
        # The first value, not the row's own.
        assert answers[0]["m"] == [[1, 1], [2, 1], [3, 1], [4, 1]]


def test_allowed_batch_sizes_pad_with_rows_that_nobody_sees(batching):
    parameters = EIGHT.replace("2000000", "50000") + " allowed_batch_sizes: 4 allowed_batch_sizes: 8"
    with batching(parameters) as caller:
        assert rows(caller, 1) == [{"rows": [4]}]
        assert rows(caller, 5) == [{"rows": [8] * 5}]
        sizes = {
            'padding_size_sum{execution_batch_size="4"}': 3,
            'padding_size_sum{execution_batch_size="8"}': 3,
            "input_batch_size_sum{}": 6,
            "processed_batch_size_sum{}": 12,
            'queuing_latency_count{thread_pool_name=""}': 2,  # bundle_factory_util.cc gives no name
        }
        assert {name: caller.metric(f"batching_session:{name}") for name in sizes} == sizes


def test_large_batches_are_split(batching):
    parameters = (
        "max_batch_size { value: 20 } max_execution_batch_size { value: 4 } num_batch_threads { value: 1 } "
        "enable_large_batch_splitting { value: true } batch_timeout_micros { value: 50000 }"
    )
    with batching(parameters) as caller:
        assert rows(caller, 10) == [{"rows": [4, 4, 4, 4, 4, 4, 4, 4, 2, 2]}]
        values = np.arange(11, dtype=np.float32)
        answer = caller.predict({"a": values, "b": values}, signature="two")
        assert answer == {"sum": (2 * values).tolist(), "difference": [0.0] * 11}
        expected = ("INVALID_ARGUMENT", "Task size 21 is larger than maximum input batch size 20")
        assert caller.predict_error(floats(*range(21)), signature="batch") == expected


@pytest.mark.embedded
def test_a_request_whose_parts_are_padded_differently(batching):
    """Its output has no one shape then; the other request of the batch is none the worse."""
    parameters = (
        "max_batch_size { value: 20 } max_execution_batch_size { value: 4 } num_batch_threads { value: 2 } "
        "enable_large_batch_splitting { value: true } batch_timeout_micros { value: 2000000 } "
        "pad_variable_length_inputs: true"
    )

    def matrix(rows, columns):
        return {"m": np.ones([rows, columns], np.float32)}

    with batching(parameters) as caller:
        calls = [
            lambda: caller.predict_error(matrix(6, 1), signature="same"),
            lambda: caller.predict(matrix(2, 3), signature="same"),
        ]
        (code, details), answer = together(calls)
    assert code == "FAILED_PRECONDITION"
    assert "was split into 2 batches has different shapes in them, (1,) and (3,) a row" in details
    assert answer == {"m": [[1.0] * 3] * 2}


def test_every_version_has_a_queue_of_its_own(serve, shelf, tmp_path, config_file, wait_for):
    for version in (1, 2):
        shelf.put(tmp_path / "m", version, "kinds")
    (tmp_path / "batching.config").write_text(EIGHT.replace("2000000", "500000"))
    file = config_file(tmp_path / "models.config", {"default": (tmp_path / "m", "model_version_policy { all {} }")})
    flags = {"enable_batching": True, "batching_parameters_file": tmp_path / "batching.config"}
    with serve(model_config_file=file, **flags) as caller:
        wait_for(lambda: caller.status() == [(2, 30), (1, 30)])
        calls = [
            lambda version=version: caller.predict(floats(1, 2, 3, 4), signature="batch", version=version)
            for version in (1, 2)
        ]
        assert together(calls) == [{"rows": [4] * 4}] * 2
        assert caller.batches() == 2


@pytest.mark.parametrize(("threads", "code", "patience"), [(1, "DEADLINE_EXCEEDED", 0.5), (2, "OK", 2)])
def test_all_queues_share_the_threads(batching, wait_for, threads, code, patience):
    """Sec. 12: a batch that runs holds up those of other queues, but for threads that are free."""
    parameters = f"num_batch_threads {{ value: {threads} }} batch_timeout_micros {{ value: 0 }}"
    with batching(parameters) as caller:
        endless = caller.predict_request({"n": np.array([2**60])}, signature="slow")
        running = caller.prediction.Predict.future(endless, timeout=3)
        wait_for(lambda: caller.batches() == 1)
        request = caller.predict_request(floats(1), signature="batch")
        asked = caller.prediction.Predict.future(request, timeout=patience)
        assert asked.code().name == code
        running.cancel()


def test_a_full_queue(batching, wait_for):
    """Sec. 12: UNAVAILABLE; REST 503."""
    parameters = (
        "max_batch_size { value: 1 } max_enqueued_batches { value: 2 } num_batch_threads { value: 1 } "
        "batch_timeout_micros { value: 0 }"
    )
    with batching(parameters) as caller:
        endless = caller.predict_request({"n": tf.constant([2**60], tf.int64)}, signature="slow")
        running = caller.prediction.Predict.future(endless, timeout=3)
        wait_for(lambda: caller.batches() == 1)
        further = [caller.prediction.Predict.future(endless, timeout=3) for _ in range(5)]
        wait_for(lambda: sum(call.done() for call in further) == 3)
        for call in further:
            if call.done():
                assert call.code().name == "UNAVAILABLE"
                full = "The batch scheduling queue to which this task was submitted is full"
                assert call.details().startswith(full)
        body = {"signature_name": "slow", "instances": [1]}
        assert caller.rest("/v1/models/default:predict", body)[0] == 503
        for call in [running, *further]:
            assert call.exception(30).code().name in ("DEADLINE_EXCEEDED", "UNAVAILABLE")


def test_ten_times_too_much_is_refused_at_once_and_nothing_stays_of_it(batching):
    """One runs and two wait, of thirty callers: the others are refused sooner than these are answered."""
    parameters = (
        "max_batch_size { value: 1 } max_enqueued_batches { value: 2 } num_batch_threads { value: 1 } "
        "batch_timeout_micros { value: 0 } "
    )
    with batching(parameters) as caller:
        request = caller.predict_request({"n": np.array([30_000])}, signature="slow")

        def ask():
            began = time.perf_counter()
            code = caller.prediction.Predict.future(request, timeout=60).code().name
            return code, time.perf_counter() - began

        for _ in range(3):
            found = together([ask] * 30)
            assert {code for code, _ in found} == {"OK", "UNAVAILABLE"}
            refused = [seconds for code, seconds in found if code == "UNAVAILABLE"]
            assert len(refused) >= 20
            # Whoever was refused has not waited for those who were served.
            assert statistics.median(refused) < max(seconds for code, seconds in found if code == "OK") / 2
            assert [ask()[0] for _ in range(3)] == ["OK"] * 3


def test_time_over_in_the_queue(batching):
    """RESOURCE_EXHAUSTED for the run, which REST shows as 429."""
    with batching(EIGHT, rest_api_timeout_in_ms=100) as caller:
        body = {"signature_name": "batch", "instances": [1.0]}
        assert caller.rest("/v1/models/default:predict", body) == (
            429,
            "Run() timeout exceeded while waiting in batching queue",
        )


def test_a_batch_runs_as_long_as_one_of_its_callers_waits(batching):
    """batching_session.cc: a task whose time is over goes along with the others."""
    with batching(EIGHT.replace("2000000", "1000000"), rest_api_timeout_in_ms=100) as caller:
        body = {"signature_name": "batch", "instances": [1.0]}
        calls = [
            lambda: caller.rest("/v1/models/default:predict", body),
            lambda: caller.predict(floats(1, 2), signature="batch"),
        ]
        assert together(calls) == [(200, {"predictions": [3]}), {"rows": [3, 3]}]


def test_examples_are_batched_too(eight):
    calls = [
        lambda: [
            regression.value
            for regression in eight.prediction.Regress(
                eight.regress_request([{"x": 1.0}] * 4, signature="regress_flat")
            ).result.regressions
        ]
    ] * 2
    assert together(calls) == [[0.25] * 4] * 2


def test_zero_rows_do_not_wait(batching):
    with batching(EIGHT.replace("2000000", "60000000")) as caller:
        assert caller.predict({"x": np.zeros([0], np.float32)}, signature="batch", timeout=20) == {"rows": []}


WRONG = [
    ("allowed_batch_sizes: 4 allowed_batch_sizes: 6 max_batch_size { value: 8 }", "must match max_batch_size; last"),
    ("allowed_batch_sizes: 8 allowed_batch_sizes: 4", "must be monotonically increasing"),
    ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
    ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
    ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
    ("max_batch_size: 8", "Invalid protobuf file"),
    ("maximum_batch_size { value: 8 }", "Invalid protobuf file"),
]


@pytest.mark.embedded
@pytest.mark.parametrize(("text", "message"), WRONG, ids=[case[1] for case in WRONG])
def test_parameters_that_are_refused(batching, text, message):
    with pytest.raises(ServingError, match=message), batching(text):
        pass


@pytest.mark.embedded
def test_a_file_without_the_flag(batching):
    with (
        pytest.raises(ServingError, match="batching_parameters_file is set without setting"),
        batching(EIGHT, enable_batching=False),
    ):
        pass


def test_per_model_parameters(serve, shelf, tmp_path, config_file):
    """Sec. 12: `batching_params.pbtxt` in the version directory; a model without one is not batched."""
    for name in ("batched", "plain"):
        path = shelf.put(tmp_path / name, 1, "kinds")
        if name == "batched":
            (path / "batching_params.pbtxt").write_text("max_batch_size { value: 4 } allowed_batch_sizes: 4")
    models = {name: (tmp_path / name, "") for name in ("batched", "plain")}
    file = config_file(tmp_path / "models.config", models)
    flags = {"enable_batching": True, "enable_per_model_batching_parameters": True}
    with serve(model_config_file=file, **flags) as caller:
        assert caller.predict(floats(1, 2, 3), name="batched", signature="batch") == {"rows": [4] * 3}
        assert caller.predict(floats(1, 2, 3), name="plain", signature="batch") == {"rows": [3] * 3}
        assert caller.predict(floats(*range(5)), name="plain", signature="batch") == {"rows": [5] * 5}


@pytest.mark.embedded
def test_per_model_parameters_that_are_refused_fail_the_load(serve, shelf, tmp_path):
    path = shelf.put(tmp_path, 1, "kinds")
    (path / "batching_params.pbtxt").write_text("max_batch_size { value: 4 } allowed_batch_sizes: 3")
    flags = {"enable_batching": True, "enable_per_model_batching_parameters": True}
    with (
        pytest.raises(ServingError, match="Last entry in allowed_batch_sizes must match max_batch_size"),
        serve(model_base_path=tmp_path, **flags),
    ):
        pass


def test_batches_and_hot_swap(serve, shelf, tmp_path, wait_for):
    """No request fails."""
    shelf.put(tmp_path, 1)
    with (
        serve(model_base_path=tmp_path, enable_batching=True) as caller,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        swapped = []

        def ask():
            answers = set()
            while not swapped or len(answers) < 2:
                answers.add(caller.half())
            return answers

        asked = [pool.submit(ask) for _ in range(4)]
        shelf.put(tmp_path, 2, "half_plus_three")
        wait_for(lambda: caller.status() == [(2, 30), (1, 50)])
        swapped.append(True)
        for future in asked:
            assert future.result(60) <= {(3.0, 1), (4.0, 2)}
