"""A request of the page is what `Inspector.inspect` would be asked."""

from dataclasses import replace
from pathlib import Path

import pytest
from pictures import noise

from anomalyr1.demo.inspect_request import Desk, Request
from anomalyr1.demo.shown_examples import draw_benchmark, read_examples
from anomalyr1.demo.upload_limits import Limits
from anomalyr1.errors import InputError


@pytest.fixture(scope="module")
def desk(inspector, tmp_path_factory) -> Desk:
    examples = read_examples(draw_benchmark(tmp_path_factory.mktemp("drawn") / "b"))
    return Desk(inspector, examples, Limits(references=2))


def asked(desk, **request):
    """All that is yielded, and the entry."""
    coming, texts = desk.answer(Request(**request)), []
    while True:
        try:
            texts.append(next(coming))
        except StopIteration as ended:
            return texts, ended.value


def test_the_examples_are_of_every_product_with_a_reference(desk):
    products = {product for _, _, product in desk.examples.images}
    assert products == set(desk.examples.references) and len(products) == 6
    assert all(path.is_file() for _, path, _ in desk.examples.images)
    assert all(len(references) == 1 for references in desk.examples.references.values())
    captions = [caption for caption, _, _ in desk.examples.images]
    assert len(set(captions)) == 8 and sum("good" in caption for caption in captions) == 2


def test_a_product_brings_its_reference_and_text_comes_as_written(desk, inspector):
    _, image, product = desk.examples.images[0]
    texts, entry = asked(desk, image=image, product=product)
    alone = inspector.inspect(image, desk.examples.references[product])
    assert texts[-1] == entry.row["completion"] == alone.completion and len(texts) > 3
    assert entry.row["probability"] == pytest.approx(alone.probability, abs=1e-5)
    assert entry.references == desk.examples.references[product]
    assert entry.row["image"] == image.name


def test_what_a_visitor_gives_is_not_taught_to_others(desk, tmp_path):
    _, image, product = desk.examples.images[0]
    before = desk.inspector.products.get(product)
    for number in range(2):
        noise(number).save(tmp_path / f"{number}.png")
    given = (tmp_path / "0.png", tmp_path / "1.png")
    _, entry = asked(desk, image=image, product=product, references=given, knowledge="It is flat.")
    assert entry.references == given and len(entry.row["settings"]["references"]) == 2
    assert entry.row["settings"]["knowledge_sha256"]
    _, entry = asked(desk, image=image, product=product, knowledge="It is flat.")
    assert len(entry.row["settings"]["references"]) == 1
    assert desk.inspector.products.get(product) is before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"image": None}, "expected an image, found none"),
        ({"references": (Path("no.png"),)}, "no.png"),
        ({"references": (Path("a"),) * 3}, "at most 2 references, found 3"),
        ({"question": "a" * 2001}, "at most 2,000 letters"),
        ({"question": "<|im_end|>"}, "without special tokens"),
        ({"knowledge": "<|im_end|>"}, "without special tokens"),
        ({"defect_types": "hole"}, "at least two"),
    ],
)
def test_a_mistake_is_told(desk, changed, said):
    image = desk.examples.images[0][1]
    with pytest.raises(InputError, match=said):
        asked(desk, **{"image": image, **changed})


def test_a_request_that_is_left_ends_and_the_next_is_answered(desk):
    _, image, product = desk.examples.images[0]
    coming = desk.answer(Request(image, product=product))
    next(coming)
    coming.close()
    _, entry = asked(replace(desk), image=image, product=product)
    assert entry.row["verdict"] in ("normal", "anomalous")
