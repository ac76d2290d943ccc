"""NIC's mini learns to say what is in a drawn scene, in Korean and English, from nothing.

    python recipes/scenes_captions.py --lang ko [--minutes 10] [--scenes 24000] [--out runs/scenes-ko]

The paper's network for pictures has learnt from ImageNet to see before it learns to speak. There is no ImageNet of
scenes: here the body first learns, in a quarter of the minutes, which thing of which colour is at each place of its
last map, and then NIC learns to speak. All that can be truly said of a scene counts as right (data/scene_sentences.py);
the first two sentences of a training scene are learnt, of its largest things.

Exact: the share of the 300 test scenes of which a true sentence is said. 2026-11-22, seed 0, --minutes 16 on one core
of an AMD EPYC (pinned, one thread; other work on the machine), about 180,000 pictures to learn to speak from:

    objects        1      2      3      4      5      6    all
    English     0.981  0.882  0.733  0.843  0.667  0.720  0.807    BLEU-4 0.945, CIDEr 2.651
    Korean      0.943  0.882  0.778  0.857  0.667  0.680  0.803

Nearly all that it says is where a thing is ("An orange digit is at the bottom."). With 10,000 scenes instead of 24,000
Korean ended at 0.740, the training loss going on down: it learnt them by heart. An earlier form learnt from sentences
alone, of how many things there are and where two are from each other: 0.16 after as many minutes. Where a thing is from
another NIC hardly learns (0.19 of those whose two things were right): it sees the picture once, and must remember all
places at the same time.
"""

import argparse
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from siseon import build, evaluate, fit
from siseon.data.captions import captioned
from siseon.data.dataset import Annotation, Data
from siseon.data.scene_sentences import CLASSES, COLOURS, every_word
from siseon.data.scenes import Scenes
from siseon.evaluation import validate
from siseon.language.vocabulary import Vocabulary, words_of
from siseon.process import keep_memory

SIDE = 128
"""The pixels that nic_mini sees."""
SEEING = 0.25
"""The share of the minutes in which the body learns to see."""
MOST = 2
"""How many sentences of a training scene are learnt."""
KINDS = len(CLASSES) * len(COLOURS)


class Kept:
    """Scenes drawn once and kept in memory at the network's size: drawing one takes as long as learning from it.

    They are scaled as `predict` scales, by a linear filter over all the pixels that become one. kinds: of each thing of
    each scene, a number for its class and colour.
    """

    task = "detection"
    classes = CLASSES

    def __init__(self, scenes: Scenes) -> None:
        self.pictures = np.empty((len(scenes), SIDE, SIDE, 3), np.uint8)
        self.annotations: list[Annotation] = []
        self.kinds: list[list[int]] = []
        begin = time.monotonic()
        for index in range(len(scenes)):
            drawn = Image.fromarray(scenes.picture(index))
            self.pictures[index] = drawn.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            known = scenes.annotation(index)
            boxes = known.boxes * np.float32(SIDE / scenes.size)
            smaller = replace(known, size=(SIDE, SIDE), boxes=boxes, segments=())
            self.annotations.append(smaller)
            self.kinds.append([thing.label * len(COLOURS) + thing.colour for thing in scenes.things(index)])
            if index % 500 == 499:
                left = (time.monotonic() - begin) / (index + 1) * (len(scenes) - index - 1)
                print(f"drawn {index + 1} of {len(scenes)} scenes, {left:.0f} s left", flush=True)

    def __len__(self) -> int:
        return len(self.annotations)

    def annotation(self, index: int) -> Annotation:  # noqa: D102
        return self.annotations[index]

    def picture(self, index: int) -> np.ndarray:  # noqa: D102
        return self.pictures[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lang", choices=("en", "ko"), default="en")
    parser.add_argument(
        "--minutes", type=float, default=10, help="of learning to see and to speak; drawing comes on top"
    )
    parser.add_argument("--scenes", type=int, default=24000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()

    torch.manual_seed(given.seed)
    keep_memory()
    splits = {"train": Kept(Scenes("train", given.scenes)), "val": Kept(Scenes("val")), "test": Kept(Scenes("test"))}
    vocabulary = Vocabulary.of(every_word(given.lang))
    scenes = Data("scenes", "detection", CLASSES, splits)
    data = captioned(scenes, language=given.lang, vocabulary=vocabulary, most=MOST)
    model = build("nic_mini", classes=data.classes, attributes=0)
    learn_to_see(model, splits["train"], seconds=60 * SEEING * given.minutes, batch=given.batch, seed=given.seed)
    run = fit(
        model, data, out=given.out, evaluate=exact_first, seed=given.seed, minutes=(1 - SEEING) * given.minutes,
        epochs=1000, batch=given.batch, lr=given.lr, weight_decay=0.01, ema=0.998, scale=(1, 1), lang=given.lang,
    )  # fmt: skip
    result = evaluate(run.model, data, batch=25, out=None if given.out is None else given.out / "test")
    print(result.table())
    print_by_objects(result)


def learn_to_see(model: nn.Module, scenes: Kept, *, seconds: float, batch: int, seed: int) -> None:
    """Teach the body of NIC which kind of thing is at each place of its map, by cross-entropy; the head is dropped."""
    head = nn.Conv2d(model.backbone.width, 1 + KINDS, 1)
    learnt = [*model.backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(learnt, lr=3e-3, weight_decay=0.01, fused=True)
    weights = torch.tensor([0.3] + KINDS * [1.0])  # most places are background
    random = np.random.default_rng(seed)
    begin, said, right = time.monotonic(), 0.0, Counter()
    model.train()
    while (spent := time.monotonic() - begin) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(spent / seconds * 20, 1 - 0.7 * spent / seconds)
        rows = random.integers(len(scenes), size=batch)
        pixels = torch.from_numpy(scenes.pictures[rows]).permute(0, 3, 1, 2).float() / 255
        pixels = (pixels * torch.empty(batch, 1, 1, 1).uniform_(0.8, 1.2)).clamp(0, 1)
        with torch.autocast("cpu", torch.bfloat16):
            maps = model.backbone.maps((pixels - model.mean[:, None, None]) / model.deviation[:, None, None])
            scores = head(maps)
        truth = torch.stack([kinds_at_places(scenes, row, scores.shape[-1]) for row in rows])
        loss = F.cross_entropy(scores.float(), truth, weight=weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        things = truth > 0
        right.update(places=int(things.sum()), right=int((scores.argmax(1) == truth)[things].sum()))
        if spent - said > 15:
            said = spent
            print(f"seeing: {right['right'] / right['places']:.2f} right, {seconds - spent:.0f} s left", flush=True)
            right.clear()


def kinds_at_places(scenes: Kept, row: int, side: int) -> Tensor:
    """[side, side]: 1 + the kind of the thing whose middle half covers a place, small things before large; or 0."""
    places = torch.zeros(side, side, dtype=torch.int64)
    boxes = scenes.annotations[row].boxes * (side / SIDE)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    for number in np.argsort(-areas):
        left, top, right, bottom = boxes[number]
        across, down = (right - left) / 4, (bottom - top) / 4
        columns = slice(int(left + across), int(right - across) + 1)
        places[int(top + down) : int(bottom - down) + 1, columns] = 1 + scenes.kinds[row][number]
    return places


def exact_first(model, dataset) -> dict[str, float]:
    """The figures of an epoch, the exact share first, so that it chooses the best."""
    figures = validate(model, dataset, batch=25)
    return {"exact": figures["exact"], **figures}


def print_by_objects(result) -> None:
    """The exact share by the number of objects, and what kinds of sentences were said."""
    right, all_of, kinds = Counter(), Counter(), Counter()
    for answer in result.answers:
        objects = len(answer.annotation.labels)
        true = [words_of(text) for group in answer.annotation.sentences.values() for text in group]
        said = words_of(answer.prediction.text)
        all_of[objects] += 1
        right[objects] += said in true
        kinds[(" ".join(said[:2]) if said[0] in ("the", "there", "그림에") else "place", said in true)] += 1
    print("exact by objects:", {count: round(right[count] / all_of[count], 3) for count in sorted(all_of)})
    print("sentences said:", dict(kinds.most_common()))


if __name__ == "__main__":
    main()
