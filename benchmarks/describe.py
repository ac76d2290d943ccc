"""Milliseconds from a frame to its sentence, medians: detector, and detector with captioner, of the MobileNetV2 family.

    python benchmarks/describe.py [--runs 20] [--threads 2]

Frames are 640x480 pixels; weights are random, so that the detector's class layer lets as many boxes through as it may
(the worst case), and the captioner says its 30 words to the end. Every frame is news.

Two cores of an AMD EPYC, 2026-11-22, MobileNetV2 family, the detector alone and with NIC's sentence, ms a frame: SSD
39 and 81, YOLO 34 and 81, RetinaNet 83 and 127, Faster R-CNN 279 and 326. All are under half a second.
"""

import argparse
import statistics

import numpy as np
import torch

from siseon import build, optimize
from siseon.describing.describe import describe
from siseon.weights import published_classes

DETECTORS = ("ssd_mobilenet_v2", "retinanet_mobilenet_v2", "faster_rcnn_mobilenet_v2", "yolo_mobilenet_v2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    names = [name for name in published_classes("coco") if not name.startswith("(unused")]
    captioner = optimize(build("nic_mobilenet_v2", classes=[f"word{number}" for number in range(2000)]))
    print(f"{'detector':28}{'alone':>10}{'with NIC':>10}  ms a frame")
    for name in DETECTORS:
        detector = optimize(build(name, classes=names))
        columns = [milliseconds(detector, asked, given.runs) for asked in (None, captioner)]
        print(f"{name:28}" + "".join(f"{column:10.0f}" for column in columns), flush=True)


def milliseconds(detector, captioner, runs: int) -> float:
    """The median over frames of noise, each described as if it were the first; three are left out to warm up."""
    random = np.random.default_rng(0)
    times = []
    for number in range(runs + 3):
        frame = random.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        (seen,) = describe([(str(number), frame)], detector, captioner=captioner, score=0.3)
        assert seen.text
        times.append(seen.seconds)
    return 1000 * statistics.median(times[3:])


if __name__ == "__main__":
    main()
