"""Hand-labelled conclusions of a reasoning: which option, or which verdict, it ends on."""

import pytest

from anomalyr1.parsing import parse_response
from anomalyr1.schema import Question

PLACES = {"A": "Top left.", "B": "Left.", "C": "The rim.", "D": "Base."}
YES_NO = {"A": "No.", "B": "Yes."}
YES_NO_SWAPPED = {"A": "Yes.", "B": "No."}
KINDS = {
    "A": "Broken rim",
    "B": "Contamination",
    "C": "Scratch",
    "D": "No defect",
    "E": "All of the above",
}

CHOICE = [
    # The sentences our own prompt asks for.
    (PLACES, "The lip is chipped. So the answer is B.", "B"),
    (PLACES, "So the answer is B", "B"),
    (PLACES, "So the answer is C.\n", "C"),
    (YES_NO, "This fits: Yes. So the answer is B.", "B"),
    # The released code reads the article as choice A.
    (PLACES, "A scratch is visible", None),
    (PLACES, "A scratch is visible. So the answer is D.", "D"),
    (PLACES, "There is A scratch. It is a dent.", None),
    (PLACES, "The answer is a scratch on the surface.", None),
    (PLACES, "The answer is A scratch on the surface.", None),
    (PLACES, "So a scratch can be seen.", None),
    # A place on the right side is no right answer.
    (PLACES, "Option A is the top, option B is the right side, option C is the rim.", None),
    (PLACES, "Option B is right-hand of it.", None),
    (PLACES, "Option B is right.", "B"),
    # Supposed is what follows the condition, not every sentence that has the word.
    (PLACES, "It looks as if the rim is chipped, so the answer is C.", "C"),
    (PLACES, "Since the question asks whether there is a dent, the answer is B.", "B"),
    (PLACES, "I wonder whether the answer is B.", None),
    (PLACES, "If the rim is chipped, the answer is C.", None),
    # The released code reads B here.
    (PLACES, "the answer is C because A B D are wrong", "C"),
    (PLACES, "The answer is C, because A, B and D are wrong.", "C"),
    (PLACES, "The answer is C, A and B are wrong.", "C"),
    # "CAD part DEFECT" reads as C there.
    (PLACES, "CAD part DEFECT", None),
    (PLACES, "A CAD drawing, a D-shaped part, a C-ring.", None),
    # Ways of naming a letter.
    (PLACES, "the answer is b", "B"),
    (PLACES, "The answer is: (B)", "B"),
    (PLACES, "The answer is **B**.", "B"),
    (PLACES, "The answer is 'B'.", "B"),
    (PLACES, "The answer is [B].", "B"),
    (PLACES, "The final answer is $\\boxed{B}$.", "B"),
    (PLACES, "The answer is \\boxed{\\text{B}}", "B"),
    (PLACES, "Answer: D", "D"),
    (PLACES, "Answer:\nD", "D"),
    (PLACES, "### Answer\nD", "D"),
    (PLACES, "**Answer:** D", "D"),
    (PLACES, "SO THE ANSWER IS D", "D"),
    (PLACES, "The correct option is C", "C"),
    (PLACES, "The best choice is option C.", "C"),
    (PLACES, "The answer is therefore B", "B"),
    (PLACES, "The answer must be D.", "D"),
    (PLACES, "The answer should be D, given the dent.", "D"),
    (PLACES, "The correct answer would be B.", "B"),
    (PLACES, "The answer's B.", "B"),
    (PLACES, "I choose B.", "B"),
    (PLACES, "I will go with option D.", "D"),
    (PLACES, "This corresponds to option C.", "C"),
    (PLACES, "So, B.", "B"),
    (PLACES, "Therefore: C.", "C"),
    (PLACES, "Hence it is D.", "D"),
    (PLACES, "So it must be A.", "A"),
    (PLACES, "B is correct.", "B"),
    (PLACES, "Option B is the correct answer.", "B"),
    (PLACES, "Only B is right; A, C and D are wrong.", "B"),
    (PLACES, "The answer is \uff22\u3002", "B"),
    (PLACES, "The answer is B. The dent is on the left, after all.", "B"),
    (PLACES, "The answer is B (left).", "B"),
    (PLACES, "The answer is B: left.", "B"),
    (PLACES, "The answer is B - left.", "B"),
    (PLACES, "The answer is B, not A.", "B"),
    (PLACES, "The answer is B and not A.", "B"),
    (PLACES, "The answer is B rather than C.", "B"),
    # An option's text in place of the letter.
    (YES_NO, "So the answer is yes.", "B"),
    (YES_NO_SWAPPED, "So the answer is yes.", "A"),
    (YES_NO, "So the answer is: Yes, there is a scratch.", "B"),
    (YES_NO, "Therefore, no.", "A"),
    (YES_NO, "So no part is missing.", None),
    (YES_NO, "The answer is no surprise to me.", None),
    (PLACES, "So the answer is the rim.", "C"),
    (PLACES, "The answer is top left.", "A"),
    (PLACES, "So the answer is left.", "B"),
    (KINDS, "So it is contamination.", "B"),
    (KINDS, "So it is a scratch.", "C"),
    (KINDS, "It is a scratch.", None),
    (KINDS, "Therefore the answer is 'no defect'.", "D"),
    (KINDS, "So the answer is broken rim because the lip is chipped.", "A"),
    (KINDS, "The answer is not a scratch.", None),
    (KINDS, "So the answer is all of the above.", "E"),
    # Negations.
    (PLACES, "The answer is not B.", None),
    (PLACES, "The answer isn't B.", None),
    (PLACES, "The answer cannot be B.", None),
    (PLACES, "It can't be B.", None),
    (PLACES, "not B", None),
    (PLACES, "B is not correct.", None),
    (PLACES, "B is wrong.", None),
    (PLACES, "I do not think the answer is B.", None),
    (PLACES, "I don't choose B.", None),
    (PLACES, "It is not A, so the answer is C.", "C"),
    (PLACES, "The answer is not A but the answer is C.", "C"),
    (PLACES, "So the answer is B. No, the answer is not B.", None),
    (PLACES, "So the answer is B. Not A.", "B"),
    (PLACES, "Neither A nor B is correct.", None),
    # Enumerations.
    (PLACES, "A, B and D are wrong.", None),
    (PLACES, "A, B and D are wrong, so the answer is C.", "C"),
    (PLACES, "A and B are correct.", None),
    (PLACES, "The answer is A or B.", None),
    (PLACES, "The answer is either A or B.", None),
    (PLACES, "The answer is B or maybe C.", None),
    (PLACES, "The answer is C and A B D are wrong.", "C"),
    (PLACES, "The options are A, B, C and D.", None),
    (PLACES, "So the answer is A, B, C, D.", None),
    (PLACES, "A. Top left. B. Left. C. The rim. D. Base.", None),
    (PLACES, "A B C D A B C D", None),
    # Self-corrections: the last one counts.
    (PLACES, "The answer is A. Wait, so it is C.", "C"),
    (PLACES, "So the answer is A. No, wait: the answer is B.", "B"),
    (PLACES, "At first I thought the answer is A, but it is C.", "C"),
    (PLACES, "So the answer is B. Hmm. Actually, it's D.", "D"),
    (PLACES, "B is correct. Actually, B is wrong. So the answer is D.", "D"),
    (PLACES, "The answer is C. So the answer is A or B.", None),
    # Conditions and questions are no conclusions.
    (PLACES, "If the rim is chipped, the answer is C.", None),
    (PLACES, "Is the answer B? The answer is B?", None),
    (PLACES, "I wonder whether the answer is B.", None),
    (PLACES, "The answer could be B.", None),
    # Letters that are no options.
    (YES_NO, "So the answer is C.", None),
    (YES_NO, "So the answer is I.", None),
    # Nothing named.
    (PLACES, "", None),
    (PLACES, "...", None),
    (PLACES, "The left side is bent.", None),
    # Chinese.
    (PLACES, "杯口有缺损。答案是B。", "B"),
    (PLACES, "所以答案是C", "C"),
    (PLACES, "因此选B。", "B"),
    (PLACES, "所以选择 D", "D"),
    (PLACES, "答案：B", "B"),
    (PLACES, "正确答案为选项A。", "A"),
    (PLACES, "答案应该是B，因为左侧有划痕。", "B"),
    (PLACES, "答案不是B。", None),
    (PLACES, "不选B。", None),
    (PLACES, "答案不是B，而是C。", "C"),
    (PLACES, "A、B和D都是错的，所以选C。", "C"),
    (PLACES, "A、B和D都是错的。", None),
    (PLACES, "选项B是正确的。", "B"),
    (PLACES, "选项B不正确。", None),
    (PLACES, "B项正确。", "B"),
    (PLACES, "故选A", "A"),
    (PLACES, "排除A、C、D，选B。", "B"),
    (PLACES, "我不认为答案是C。", None),
    (PLACES, "答案是A或B。", None),
    (PLACES, "答案是A。不对，应该是C。", "C"),
    ({"A": "有", "B": "没有缺陷"}, "所以答案是“没有缺陷”。", "B"),
    (PLACES, "如果边缘破损，答案是C。", None),
]

GROUNDING = [
    ("A dark line crosses the rim. So the product is abnormal.", "abnormal"),
    ("The surface is even, no defect is visible. So the product is normal.", "normal"),
    ("So the product is not abnormal.", "normal"),
    ("So the product is not normal.", "abnormal"),
    ("It isn't normal.", "abnormal"),
    ("There is no defect.", "normal"),
    ("No defects or anomalies are visible.", "normal"),
    ("There are no scratches, dents or other defects.", "normal"),
    ("The surface is free of defects.", "normal"),
    ("The product is without any visible flaw.", "normal"),
    ("The item is defect-free.", "normal"),
    ("The item is not defect-free.", "abnormal"),
    ("The item is not free of defects.", "abnormal"),
    ("There is a small defect on the left.", "abnormal"),
    ("A defect is visible.", "abnormal"),
    ("Defects are not visible.", "normal"),
    ("The bottle has two defects.", "abnormal"),
    ("The bottle does not have any defects.", "normal"),
    ("The bottle looks damaged.", "abnormal"),
    ("The bottle does not look damaged.", "normal"),
    ("The bottle is clearly defective.", "abnormal"),
    ("The bottle appears to be perfectly normal.", "normal"),
    ("So this is a normal product.", "normal"),
    ("It is neither bent nor damaged.", "normal"),
    ("There is no doubt that there is a defect.", "abnormal"),
    ("Verdict: abnormal", "abnormal"),
    ("So, normal.", "normal"),
    ("It looks normal at first glance, but the rim is chipped, so it is abnormal.", "abnormal"),
    ("It is damaged. Wait, that is a shadow. So the product is normal.", "normal"),
    ("The product is normal, not abnormal.", "normal"),
    ("Compared to the normal reference image, the product is abnormal.", "abnormal"),
    ("The product is defective, unlike the reference.", "abnormal"),
    ("Nothing abnormal is seen.", "normal"),
    ("Nothing is abnormal.", "normal"),
    ("Anomaly detected.", "abnormal"),
    ("It cannot be normal.", "abnormal"),
    ("The product does not appear to have any defects.", "normal"),
    ("It doesn't seem to show a flaw.", "normal"),
    ("The part seems not to have a flaw.", "normal"),
    ("It never shows a defect.", "normal"),
    ("It appears to have a defect.", "abnormal"),
    # A part that is missing is the defect.
    ("The nut has no hole, which is a defect.", None),
    ("There is no screw, indicating a defect.", None),
    ("The absence of the cap indicates a defect.", None),
    ("The lack of a cable tie is a defect.", None),
    ("There are no visible marks indicating damage.", "normal"),
    ("There is no sign that there is a defect.", "normal"),
    ("It is by no means a defect.", "normal"),
    # A list of what is absent has any length.
    ("No scratches, dents, cracks, chips, stains, or other defects are visible.", "normal"),
    ("There are no scratches, dents, cracks, discoloration, or other defects visible.", "normal"),
    # The subject denies it.
    ("No part of the capsule is damaged.", "normal"),
    ("None of the components show any damage.", "normal"),
    ("There is no sign that the bottle is damaged.", "normal"),
    ("Nothing in the image appears damaged.", "normal"),
    ("Not a single defect is visible.", "normal"),
    ("There is no cap and the bottle is damaged.", "abnormal"),
    ("No cap means the bottle is damaged.", "abnormal"),
    # What is normal is not the product.
    ("One candle is damaged. The other candles look normal.", "abnormal"),
    ("No defects are visible, except for a scratch on the rim.", None),
    ("In the normal images, the surface is intact, but here it is scratched.", None),
    ("The rim is not as smooth as normal.", None),
    ("In other words the product is normal.", "normal"),
    # What is well with the rest makes no product normal.
    ("No other defects are visible.", None),
    ("There are no additional defects.", None),
    ("There is a defect. There are no defects other than the scratch.", "abnormal"),
    ("There is a defect on the rim. The rest of the surface is intact.", "abnormal"),
    ("The product is damaged; otherwise it looks normal.", "abnormal"),
    ("There is more than one defect.", "abnormal"),
    ("There are no scratches, dents, or other defects.", "normal"),
    ("The product is normal. No further inspection is needed.", "normal"),
    ("So the product is not normal but abnormal.", "abnormal"),
    # About something else, or nothing.
    ("The reference image is normal.", None),
    ("Compare it with the normal product.", None),
    ("Is the product normal?", None),
    ("If there is a defect, the product is abnormal.", None),
    ("It might be abnormal.", None),
    ("A scratch runs along the rim.", None),
    ("This is anomaly detection.", None),
    ("", None),
    # Both words, the last sentence decides.
    ("A normal product has a round rim. This one is abnormal.", "abnormal"),
    # Chinese.
    ("产品表面有划痕。所以该产品异常。", "abnormal"),
    ("该产品是正常的。", "normal"),
    ("该产品不正常。", "abnormal"),
    ("没有发现缺陷，所以产品正常。", "normal"),
    ("没有缺陷。", "normal"),
    ("存在明显的缺陷。", "abnormal"),
    ("产品没有任何异常。", "normal"),
    ("产品不合格。", "abnormal"),
]


@pytest.mark.parametrize(("options", "reasoning", "expected"), CHOICE)
def test_choice_conclusion(options, reasoning, expected):
    question = Question("?", "Defect Localization", options, "B")
    response = parse_response(f"<think>{reasoning}</think><answer>B</answer>", question)
    assert response.conclusion == expected
    assert response.answer == "B"


@pytest.mark.parametrize(("reasoning", "expected"), GROUNDING)
def test_grounding_conclusion(reasoning, expected):
    question = Question("?", "Defect Grounding")
    response = parse_response(f"<think>{reasoning}</think><answer>[]</answer>", question)
    assert response.conclusion == expected
    assert response.boxes == ()
