"""Selective Search beside OpenCV's: recall, ABO and milliseconds on annotated photos, at equal numbers of boxes.

python benchmarks/selective_search.py --data PATH                                  ours alone
python benchmarks/selective_search.py --data PATH --peer PYTHON   and OpenCV's

The peer is a Python with opencv-contrib-python-headless and numpy; without --peer, this one if its cv2 has ximgproc.
Both work on the same picture in turn, ours and theirs and ours again; milliseconds are the best of --runs for each
picture, of which the mean over the pictures is printed. At each count a picture counts with the first so many boxes of
both, or as many as the side with fewer has: these first ones, or, since the two order their boxes by different rules,
as many drawn at random. Recall: of all true boxes, how many are met by a proposal with at least that overlap. ABO: the
mean over the true boxes of the best overlap.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MODES = ("single", "fast", "quality")
COUNTS = ("100", "500", "1000", "2000", "as both have", "drawn", "all")


def peer_boxes(picture: np.ndarray, mode: str) -> tuple[np.ndarray, float]:
    """OpenCV's boxes [boxes, 4] (left, top, right, bottom), best first, and milliseconds."""
    import cv2

    cv2.setRNGSeed(0)
    start = time.perf_counter()
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(picture[..., ::-1]))
    {
        "single": search.switchToSingleStrategy,
        "fast": search.switchToSelectiveSearchFast,
        "quality": search.switchToSelectiveSearchQuality,
    }[mode]()
    boxes = search.process()
    seconds = time.perf_counter() - start
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1), 1000 * seconds


def serve() -> None:
    """The peer's side: for each line [picture.npy, mode, threads] on stdin, write boxes.npy and answer milliseconds."""
    import cv2

    for line in sys.stdin:
        name, mode, threads = json.loads(line)
        cv2.setNumThreads(threads)
        boxes, milliseconds = peer_boxes(np.load(name), mode)
        np.save(Path(name).with_name("boxes.npy"), boxes)
        print(milliseconds, flush=True)


class Peer:
    """OpenCV in a process of its own."""

    def __init__(self, python: str, folder: Path, threads: int) -> None:
        command = [python, __file__, "--serve"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.file, self.threads = folder / "picture.npy", threads

    def __call__(self, picture: np.ndarray, mode: str) -> tuple[np.ndarray, float]:
        """As peer_boxes."""
        np.save(self.file, picture)
        self.process.stdin.write(json.dumps([str(self.file), mode, self.threads]) + "\n")
        self.process.stdin.flush()
        milliseconds = float(self.process.stdout.readline())
        return np.load(self.file.with_name("boxes.npy")), milliseconds


def our_boxes(picture: np.ndarray, mode: str) -> tuple[np.ndarray, float]:
    from siseon.models.detection.selective_search import propose

    start = time.perf_counter()
    boxes = propose(picture, mode=mode)
    return boxes.numpy(), 1000 * (time.perf_counter() - start)


def best_overlaps(truth: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """For each of `truth` [objects, 4], its largest overlap with `boxes` [boxes, 4]."""
    truth, boxes = truth[:, None].astype(np.float64), boxes[None].astype(np.float64)
    sides = np.minimum(truth[..., 2:], boxes[..., 2:]) - np.maximum(truth[..., :2], boxes[..., :2])
    shared = sides.clip(0).prod(axis=2)
    areas = [(each[..., 2:] - each[..., :2]).prod(axis=2) for each in (truth, boxes)]
    return (shared / (areas[0] + areas[1] - shared)).max(axis=1, initial=0)


def photos(data: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures and their true boxes, crowds left out."""
    from siseon import open_data

    found = []
    for dataset in open_data(data).splits.values():
        for index in range(len(dataset)):
            annotation = dataset.annotation(index)
            truth = annotation.boxes[~annotation.crowd]
            if len(truth) and len(found) < count:
                found.append((dataset.picture(index), truth))
    return found


def chosen(boxes: np.ndarray, count: str, fewest: int) -> np.ndarray:
    """Those of one side's boxes that enter a row of the table."""
    if count == "drawn":
        return np.random.default_rng(0).permutation(boxes)[:fewest]
    return boxes if count == "all" else boxes[: min(int(count), fewest) if count.isdigit() else fewest]


def compare(mode: str, ways: dict, pictures: list, runs: int) -> None:
    best = {count: {name: [] for name in ways} for count in COUNTS}
    spent, lengths = {name: [] for name in ways}, {name: [] for name in ways}
    for picture, truth in pictures:
        times, boxes = {name: [] for name in ways}, {}
        for _ in range(runs):
            for name, way in ways.items():
                boxes[name], milliseconds = way(picture, mode)
                times[name].append(milliseconds)
        fewest = min(len(each) for each in boxes.values())
        for name in ways:
            spent[name].append(min(times[name]))
            lengths[name].append(len(boxes[name]))
            for count in COUNTS:
                best[count][name].append(best_overlaps(truth, chosen(boxes[name], count, fewest)))
    for name in ways:
        print(f"{mode:8} {name:8} {np.mean(spent[name]):8.1f} ms {np.mean(lengths[name]):8.0f} boxes a picture")
    if len(ways) == 2:
        ratios = np.array(spent["opencv"]) / np.array(spent["siseon"])
        print(f"{mode:8} OpenCV's time / ours: median {np.median(ratios):.1f}, {ratios.min():.1f}..{ratios.max():.1f}")
    for count, by_name in best.items():
        for name, overlaps in by_name.items():
            every = np.concatenate(overlaps)
            figures = [(every >= 0.5).mean(), (every >= 0.7).mean(), every.mean()]
            print(f"{mode:8} {name:8} {count:>12} boxes", *(f"{each:7.3f}" for each in figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="scenes")
    parser.add_argument("--count", type=int, default=50, help="photos")
    parser.add_argument("--modes", nargs="*", default=MODES)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", help="a Python with opencv-contrib-python-headless")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve()
    import cv2
    import torch

    torch.set_num_threads(given.threads)
    pictures = photos(given.data, given.count)
    with tempfile.TemporaryDirectory() as folder:
        ways = {"siseon": our_boxes}
        if given.peer or hasattr(cv2, "ximgproc"):
            ways["opencv"] = Peer(given.peer or sys.executable, Path(folder), given.threads)
        else:
            print("OpenCV's is not measured: its cv2 has no ximgproc (opencv-contrib-python-headless); see --peer")
        size = np.mean([picture.shape[:2] for picture, _ in pictures], axis=0)
        print(f"{len(pictures)} photos of {given.data}, mean {size[0]:.0f}x{size[1]:.0f}, {given.threads} threads")
        print(f"{'':18} recall@0.5, recall@0.7, ABO")
        our_boxes(pictures[0][0], given.modes[0])  # compiles
        for mode in given.modes:
            compare(mode, ways, pictures, given.runs)
        if "opencv" in ways:
            ways["opencv"].process.stdin.close()
            ways["opencv"].process.wait()


if __name__ == "__main__":
    main()
