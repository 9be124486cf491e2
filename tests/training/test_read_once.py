"""Pictures read once a rollout: the rows that a data set gives, whatever was asked before."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_augmented_rows import same
from tiny_trainer import SMALL, WIDE
from tiny_trainer import dataset as pictures_in_the_table

from anomalyr1.config import PolicyConfig, PromptConfig
from anomalyr1.policy.load import load_policy
from anomalyr1.rows import build_rows, open_benchmark
from anomalyr1.training.dataset import to_dataset
from anomalyr1.training.read_once import ReadOnce
from anomalyr1.training.row_pictures import RowPicture


@pytest.fixture(scope="module")
def dataset(tiny_policy, toy_benchmark):
    policy = load_policy(PolicyConfig(path=str(tiny_policy), max_pixels=12544))
    prompt = PromptConfig(references=1)
    _, samples = open_benchmark(str(toy_benchmark), "data.benchmark", prompt)
    return to_dataset(build_rows(samples, prompt, policy.processor, policy.family))


@settings(max_examples=20)
@given(batches=st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=9), max_size=4))
def test_every_batch_has_the_rows_of_the_data_set(dataset, batches):
    rows = ReadOnce(dataset)
    assert len(rows) == len(dataset)
    for batch in batches:
        for row, index in zip(rows.__getitems__(batch), batch, strict=True):
            assert same(row, dataset[index])
        assert same(rows[batch[0]], dataset[batch[0]])


def test_a_picture_is_decoded_once_for_a_batch_and_not_again_for_the_next(dataset, monkeypatch):
    decoded = []
    stock = RowPicture.decode_example
    monkeypatch.setattr(
        RowPicture,
        "decode_example",
        lambda self, value, **kwargs: decoded.append(value["path"]) or stock(self, value, **kwargs),
    )
    files = ReadOnce(dataset)._rows["images"]
    shown = [{file["path"] for file in row} for row in files]
    other = next(number for number, paths in enumerate(shown) if paths != shown[0])
    rows = ReadOnce(dataset)
    rows.__getitems__([0, 0, 0, 0])
    assert sorted(decoded) == sorted(shown[0]) and len(decoded) == 2  # an image, its reference
    rows.__getitems__([0, 0, other, other])
    assert sorted(decoded) == sorted(shown[0] | shown[other])
    rows.__getitems__([other])
    rows.__getitems__([0])  # no longer kept
    assert len(decoded) == len(shown[0] | shown[other]) + len(shown[0] - shown[other]) > 3


def test_what_is_done_to_one_row_is_not_done_to_its_copies(dataset):
    first, second = ReadOnce(dataset).__getitems__([2, 2])
    first["images"].clear()
    first["prompt"][0]["content"].clear()
    assert same(second, dataset[2])


def test_pictures_without_a_file_are_told_apart():
    data = pictures_in_the_table([[SMALL, WIDE], [WIDE], [], [SMALL]])
    rows = ReadOnce(data).__getitems__([0, 1, 2, 3, 0])
    for row, index in zip(rows, [0, 1, 2, 3, 0], strict=True):
        assert same(row, data[index])
    assert rows[0]["images"][1] is rows[4]["images"][1]
