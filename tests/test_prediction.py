"""What `siseon predict` leaves."""

import json

import numpy as np
import torch
from faster_coco_eval.core import mask as runs_code

from siseon import pictures
from siseon.interface import Detections
from siseon.prediction import predict_files


class Masked:
    """Finds one object with a shape in every picture."""

    task = "detection"
    classes = ("세포",)

    def predict(self, given, **options):
        masks = torch.zeros(1, 20, 30, dtype=torch.bool)
        masks[0, 3:8, 10:13] = True
        box = torch.tensor([[10.0, 3.0, 13.0, 8.0]])
        return [Detections(box, torch.tensor([0]), torch.tensor([0.9]), self.classes, masks) for _ in given]


def test_masks_are_written_as_run_lengths(tmp_path):
    pictures.write(np.full((20, 30, 3), 200, np.uint8), tmp_path / "사진.png")
    assert predict_files(Masked(), [tmp_path / "사진.png"], tmp_path / "out", say=lambda line: None) == []
    (row,) = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    (entry,) = row["objects"]
    assert (entry["class"], entry["box"]) == ("세포", [10.0, 3.0, 13.0, 8.0])
    mask = runs_code.decode({"size": entry["mask"]["size"], "counts": entry["mask"]["counts"].encode()})
    assert mask.shape == (20, 30)
    assert np.array_equal(np.argwhere(mask).min(0), [3, 10])
    assert mask.sum() == 15
