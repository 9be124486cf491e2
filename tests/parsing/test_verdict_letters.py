"""Which option of a yes-or-no question means a defect."""

import pytest

from anomalyr1.parsing.verdict_letters import verdict_letters
from anomalyr1.schema import Question

N, D = "normal", "abnormal"


@pytest.mark.parametrize(
    ("question", "options", "meant"),
    [
        # A bare yes says what the question asks.
        ("Is there any defect in the object?", ["Yes.", "No."], [D, N]),
        ("Does this item show any flaw?", ["No.", "Yes."], [N, D]),
        ("Are there any anomalies in the image?", ["Yes", "No"], [D, N]),
        ("Is there something wrong with it?", ["yes", "no"], [D, N]),
        ("Is it good, or does it have a defect?", ["Yes.", "No."], [D, N]),
        ("Is the product normal?", ["Yes.", "No."], [N, D]),
        ("Is the product not normal?", ["Yes.", "No."], [D, N]),
        ("Is the object free of defects?", ["Yes.", "No."], [N, D]),
        ("Does the object have no visible damage?", ["Yes.", "No."], [N, D]),
        ("Is the surface free of scratches?", ["Yes.", "No."], [N, D]),
        ("Is the product free of problems?", ["Yes.", "No."], [N, D]),
        ("Is it without any irregularity?", ["Yes.", "No."], [N, D]),
        # The normal sample of a comparison is not what is asked about.
        ("Does the product differ from the normal sample?", ["Yes.", "No."], [D, N]),
        (
            "Is there any difference between the object and the normal template?",
            ["Yes.", "No."],
            [D, N],
        ),
        ("Is the object different from the good reference image?", ["Yes.", "No."], [D, N]),
        ("Compared with the normal sample, is there a scratch?", ["Yes.", "No."], [D, N]),
        ("Is there anything unusual compared with the normal sample?", ["Yes.", "No."], [D, N]),
        ("Does the object match the normal sample?", ["Yes.", "No."], [N, D]),
        ("Is it the same as the normal template?", ["Yes.", "No."], [N, D]),
        ("Does the image show a normal product?", ["Yes.", "No."], [N, D]),
        ("Is this in order?", ["Yes.", "No."], [N, D]),
        ("产品是否有缺陷？", ["是。", "否。"], [D, N]),
        ("产品正常吗？", ["是。", "否。"], [N, D]),
        # An option that says it by itself does not need the question.
        ("Which?", ["Normal.", "Abnormal."], [N, D]),
        ("Is it normal?", ["Yes, it is defective.", "No, there is no defect."], [D, N]),
        ("Which?", ["No defect.", "A defect is visible."], [N, D]),
        ("Verdict?", ["Good", "Not good"], [N, D]),
        # Options that say neither are left out.
        ("Any defect?", ["Yes.", "No.", "Cannot tell."], [D, N, None]),
    ],
)
def test_meaning(question, options, meant):
    letters = dict(zip("ABC", options, strict=False))
    said = verdict_letters(Question(question, "Anomaly Detection", letters))
    assert said == {k: m for k, m in zip("ABC", meant, strict=False) if m}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Anomaly Detection", {"A": "Yes.", "B": "Perhaps."}),
        ("Anomaly Detection", {"A": "Yes.", "B": "Yes, a hole."}),
        ("Anomaly Detection", {"A": "Hole.", "B": "Stain."}),
        ("Object Classification", {"A": "Yes.", "B": "No."}),
        ("Defect Grounding", {}),
    ],
)
def test_no_verdict_without_both(kind, options):
    assert verdict_letters(Question("Is there any defect?", kind, options)) is None
