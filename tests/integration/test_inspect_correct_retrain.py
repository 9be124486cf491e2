"""A policy inspects, an annotator corrects its boxes, the corrected benchmark trains a policy."""

from __future__ import annotations

import json

from integration.test_loop import config, overrides, run

SPOT = {"x": 25.0, "y": 25.0, "width": 25.0, "height": 25.0, "rotation": 0}


def test_inspect_correct_retrain(tmp_path, tiny_policy, toy_benchmark):
    inspected, sent, corrected = tmp_path / "inspected", tmp_path / "sent", tmp_path / "corrected"
    run(
        "eval",
        config(tmp_path, "eval.yaml"),
        f"run_dir={inspected}",
        f"policy.path={tiny_policy}",
        f"eval.benchmark={toy_benchmark}",
        "policy.max_pixels=12544",
        "prompt.references=1",
        "eval.max_new_tokens=16",
    )
    run("data", "export", inspected, "--out", sent, "--format", "label-studio")
    # The annotator accepts nothing of a policy that knows nothing, and marks a spot in half of
    # the eight images.
    tasks = json.loads((sent / "tasks.json").read_text())
    assert len(tasks) == 8
    for task in tasks:
        region = {
            "type": "rectanglelabels",
            "original_width": 112 if int(task["data"]["image"][-5]) < 4 else 160,
            "original_height": 112 if int(task["data"]["image"][-5]) < 4 else 90,
            "image_rotation": 0,
            "value": {**SPOT, "rectanglelabels": ["spot"]},
        }
        marked = [region] if "__spot__" in task["data"]["image"] else []
        task["annotations"] = [{"result": marked}]
    (sent / "tasks.json").write_text(json.dumps(tasks))
    said = run("data", "build", "label-studio", sent, "--out", corrected, "--against", sent)
    assert "4 added" in said and "4 defective; each change:" in said.replace("\n", " ")
    changes = json.loads((corrected / "changes.json").read_text())
    assert {c["image"].split("/")[3] for c in changes["changes"]} == {"spot"}
    assert "0 errors" in run("data", "check", corrected)
    options = overrides("sft", tiny_policy, corrected, tmp_path / "retrained", max_steps=2)
    run("sft", config(tmp_path, "sft.yaml"), *options)
    assert (tmp_path / "retrained/policy/model.safetensors").is_file()
