"""Batches: joined, padded and divided arrays against NumPy; queues under many callers."""

import concurrent.futures
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.server import batch_arrays
from serving.server.batch_scheduler import BatchQueue, BatchScheduler, BatchTask
from serving.server.batching_options import BatchingOptions
from serving.server.errors import ServingError

ROWS = st.lists(st.integers(1, 4), min_size=1, max_size=6)


@given(ROWS, st.integers(0, 3), st.sampled_from([np.int64, np.float32, np.bool_, "S3"]), st.data())
def test_merge_joins_and_split_divides(rows, extra, dtype, data):
    arrays = [data.draw(hnp.arrays(dtype, (count, 2))) for count in rows]
    size = sum(rows) + extra
    merged = batch_arrays.merge([{"x": array} for array in arrays], size, pad=False)["x"]
    expected = np.concatenate([*arrays, np.repeat(arrays[-1][:1], extra, axis=0)])
    np.testing.assert_array_equal(merged, expected)
    for array, (part,) in zip(arrays, batch_arrays.split([merged], rows, size), strict=True):
        np.testing.assert_array_equal(part, array)


@given(st.lists(hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=4), min_size=1, max_size=5))
def test_padding_is_numpys_with_the_first_value(shapes):
    arrays = [np.arange(np.prod(shape)).reshape(shape) + 10 * i for i, shape in enumerate(shapes)]
    widest = np.max([array.shape[1:] for array in arrays], axis=0)
    expected = [
        np.pad(
            array,
            [(0, 0), *((0, most - size) for most, size in zip(widest, array.shape[1:], strict=True))],
            constant_values=array.flat[0],
        )
        for array in arrays
    ]
    merged = batch_arrays.merge([{"x": array} for array in arrays], sum(map(len, arrays)), pad=True)["x"]
    np.testing.assert_array_equal(merged, np.concatenate(expected))


def test_strings_are_padded_too():
    arrays = [np.array([[b"a"]], object), np.array([[b"b", b"c"]], object)]
    merged = batch_arrays.merge([{"s": array} for array in arrays], 2, pad=True)["s"]
    assert merged.tolist() == [[b"a", b"a"], [b"b", b"c"]]


def test_what_cannot_be_padded_fails_alone():
    empty, full = (BatchTask({"x": array}, 1) for array in (np.zeros([1, 0]), np.ones([1, 2])))
    assert batch_arrays.refuse_unpaddable([empty, full]) == [full]
    with pytest.raises(ServingError, match="Got empty tensor in batch of non-empty tensors"):
        empty.outputs.result(0)
    deep = [BatchTask({"x": np.ones([1] * 6 + [size])}, 1) for size in (1, 2)]
    assert batch_arrays.refuse_unpaddable(deep) == [deep[1]]
    with pytest.raises(ServingError, match="Only tensors with rank from 1 to 6 can be padded"):
        deep[0].outputs.result(0)


def test_parts_are_joined_where_their_rows_have_one_shape():
    parts = [np.arange(4).reshape(2, 2), np.arange(2).reshape(1, 2)]
    assert batch_arrays.join("y:0", parts).tolist() == [[0, 1], [2, 3], [0, 1]]
    with pytest.raises(ServingError, match=r"FAILED_PRECONDITION: Output tensor 'y:0' .* \(2,\) and \(3,\) a row"):
        batch_arrays.join("y:0", [*parts, np.ones([1, 3])])


def echo(tasks):
    """Answers each row with itself."""
    for task in tasks:
        task.outputs.set_result({"y": task.feeds["x"]})


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=20),
    st.integers(1, 3),
    st.sampled_from([0, 2000]),
    st.booleans(),
)
def test_many_callers_get_their_own_rows_in_batches_of_the_allowed_size(sizes, threads, timeout, splitting):
    options = BatchingOptions(
        max_batch_size=8,
        batch_timeout_micros=timeout,
        max_enqueued_batches=100,
        enable_large_batch_splitting=splitting,
        max_execution_batch_size=3 if splitting else 8,
    )
    running, most, batches = [0], [0], []
    lock = threading.Lock()

    def process(tasks):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            batches.append(sum(task.rows for task in tasks))
        echo(tasks)
        with lock:
            running[0] -= 1

    queue = BatchQueue(options, BatchScheduler(threads, "test"), process)
    starts = np.cumsum([0, *sizes]).tolist()
    with concurrent.futures.ThreadPoolExecutor(len(sizes)) as pool:
        rows = [np.arange(start, start + size) for start, size in zip(starts, sizes, strict=False)]
        futures = [pool.submit(queue.run, BatchTask({"x": array}, len(array))) for array in rows]
        for array, future in zip(rows, futures, strict=True):
            np.testing.assert_array_equal(np.concatenate([part["y"] for part in future.result(30)]), array)
    assert sum(batches) == sum(sizes)
    assert max(batches) <= options.max_execution_batch_size
    assert most[0] <= threads
    assert queue.waiting == 0


def test_a_failure_in_the_server_itself_reaches_every_caller():
    def process(tasks):
        raise ZeroDivisionError

    queue = BatchQueue(BatchingOptions(), BatchScheduler(1, "test"), process)
    with pytest.raises(ZeroDivisionError):
        queue.run(BatchTask({"x": np.ones(1)}, 1))
    assert queue.waiting == 0


def test_the_rest_of_a_split_request_that_waits_holds_up_nobody():
    options = BatchingOptions(
        max_batch_size=8,
        batch_timeout_micros=60_000_000,
        enable_large_batch_splitting=True,
        max_execution_batch_size=4,
    )
    scheduler = BatchScheduler(1, "test")
    waiting, other = (BatchQueue(options, scheduler, echo) for _ in range(2))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(waiting.run, BatchTask({"x": np.arange(6)}, 6))
        while waiting.waiting != 1:
            pass
        second = pool.submit(other.run, BatchTask({"x": np.arange(8)}, 8))
        assert [part["y"].tolist() for part in second.result(20)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
        assert not first.done()
        scheduler.close()
        assert [part["y"].tolist() for part in first.result(20)] == [[0, 1, 2, 3], [4, 5]]


def test_a_queue_made_after_the_end_waits_for_nobody():
    scheduler = BatchScheduler(1, "test")
    scheduler.close()
    queue = BatchQueue(BatchingOptions(batch_timeout_micros=60_000_000), scheduler, echo)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            assert len(pool.submit(queue.run, BatchTask({"x": np.ones(1)}, 1)).result(20)) == 1


def test_closing_lets_what_waits_run():
    options = BatchingOptions(batch_timeout_micros=60_000_000)
    scheduler = BatchScheduler(1, "test")
    queue = BatchQueue(options, scheduler, echo)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(queue.run, BatchTask({"x": np.ones(1)}, 1))
        while not queue.waiting:
            pass
        scheduler.close()
        assert len(future.result(20)) == 1
        assert len(queue.run(BatchTask({"x": np.ones(1)}, 1))) == 1
