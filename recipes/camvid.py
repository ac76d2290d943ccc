"""Streets from a car (CamVid, 11 classes): FCN and SegNet on MobileNetV2 from ImageNet.

    python recipes/camvid.py CAMVID_FOLDER MOBILENET_WEIGHTS [--model segnet] [--minutes 20]

CAMVID_FOLDER has train, val and test, and the maps of their classes in trainannot, valannot and testannot, as in
SegNet's tutorial. Rare classes weigh more, by median frequency, as in SegNet's paper. The best epoch is chosen on val;
the figures are those of test, in the pixels of the 480 x 360 pictures.

fcn, 13 minutes on one core of an AMD EPYC that other work shared (11 epochs), seed 0, 2026-11-22: mean IoU 0.523,
pixel accuracy 0.858 on the 233 test pictures; road 0.91, sky 0.88, building 0.73, pole 0.10, pedestrian 0.24. Thin and
rare things are what is missing after so few epochs, at 352 pixels. segnet, 10 minutes on one core that others used too
(about 6 epochs): 0.247; it must find its way through five unpoolings from random weights, and needs its full time.

Published for VGG-16, trained to the end at 480 x 360, cited from memory: FCN-8s 0.570, SegNet 0.464 (Jegou et al. 2017,
arXiv:1611.09326, table 3).
"""

import argparse
from pathlib import Path
from typing import Any

from siseon import build, evaluate, fit, open_data
from siseon.data.semantic import class_weights
from siseon.evaluation import validate

BODY: dict[str, Any] = {"backbone_options": {"padding": "tensorflow"}}  # the weights were trained so
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    # stride 4: poles and signs are thinner than a cell of stride 8
    "fcn": ("fcn_mobilenet_v2", {**BODY, "stride": 4}),
    "segnet": ("segnet_mobilenet_v2", BODY),
}
STRENGTH = 0.5
"""Of the class weights: their power. 1 is the paper's, which finds more of the rare classes than are there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="folder with train, trainannot, val, valannot, test and testannot")
    parser.add_argument("weights", help="MobileNetV2's ImageNet weights, under torchvision's names")
    parser.add_argument("--model", choices=MODELS, default="fcn")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--imgsz", type=int, default=352)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/camvid"))
    given = parser.parse_args()

    data = open_data(given.data, task="segmentation")
    name, options = MODELS[given.model]
    weights = [round(weight**STRENGTH, 4) for weight in class_weights(data.train)]
    model = build(name, weights=given.weights, classes=data.classes, class_weights=weights, **options)
    run = fit(
        model, data, out=given.out, evaluate=validate, seed=given.seed, minutes=given.minutes, epochs=200,
        imgsz=given.imgsz, batch=given.batch, workers=0, optimizer="adamw", lr=given.lr, precision="bf16", ema=0.99,
        scale=(0.8, 1.6), weight_decay=1e-3,
    )  # fmt: skip
    print(evaluate(run.model, data, out=given.out / "test").table())


if __name__ == "__main__":
    main()
