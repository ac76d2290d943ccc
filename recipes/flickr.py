"""NIC on 1,000 photos of Flickr8k, five captions each, with features of an ImageNet MobileNetV2 that are computed once.

    python recipes/flickr.py --data flickr8k_1000 --weights mobilenet_v2_imagenet.safetensors [--padding tensorflow]

Not measured yet on a quiet machine.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from siseon import build, open_data, optimize, save, tensorfile
from siseon.data.captions import padded
from siseon.data.dataset import Data, Dataset
from siseon.language.vocabulary import spoken_words
from siseon.language_metrics import bleu, cider
from siseon.layers import inference

VIEWS = 2
"""Pictures of each training photo of which features are kept: the middle square, and its mirror image."""
LONGEST = 18
"""Training sentences of more words (six in a hundred) are left out: all are padded to the longest."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, help="folder with captions.txt")
    parser.add_argument("--weights", required=True, help="MobileNetV2 of ImageNet: a file, or imagenet")
    parser.add_argument("--padding", choices=("symmetric", "tensorflow"), default="symmetric")
    parser.add_argument("--out", type=Path, default=Path("runs/flickr"))
    parser.add_argument("--seconds", type=float, default=80, help="of training")
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--patience", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    torch.manual_seed(given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    data = open_data(given.data)
    model = build(
        "nic_mobilenet_v2", weights=given.weights, classes=data.classes, backbone_options={"padding": given.padding},
        units=given.units, embedding=given.units, dropout=given.dropout, longest=20,
    )  # fmt: skip
    features = cached(model, data, given.out / "features.safetensors")
    train(model, data, features, given)
    save(model, given.out / "best.safetensors")

    said = {f"NIC, beam {beam}": said_by(model, features["test"], beam) for beam in (1, 3, 5)}
    said["nearest neighbour"] = nearest(data.train, features)
    said["most frequent caption"] = most_frequent(data.train, len(data.test))
    true = sentences(data.test)
    print(f"{'on the ' + str(len(data.test)) + ' test photos':24} BLEU-1 BLEU-2 BLEU-3 BLEU-4  CIDEr")
    for name, texts in said.items():
        figures = [*bleu(texts, true), cider(texts, true)]
        print(f"{name:24} " + " ".join(f"{figure:6.3f}" for figure in figures))
    for index in range(0, len(true), max(len(true) // 8, 1)):
        print(f"{data.test.annotation(index).name}: {said['NIC, beam 3'][index]} | {true[index][0]}")


def cached(model, data: Data, path: Path) -> dict[str, Tensor]:
    """The features of each split, [pictures, views, 1280]; of val and test one view. Kept in a file."""
    if path.exists():
        return tensorfile.read(path)[0]
    fast = optimize(model)
    found: dict[str, Tensor] = {}
    begin, done, total = time.monotonic(), 0, sum(len(split) for _, split in data)
    for name, split in data:
        rows = []
        for index in range(len(split)):
            square = middle(split.picture(index))
            crops = [square, square[:, ::-1]] if name == "train" else [square]
            pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
            with inference(fast):
                rows.append(fast.features(pixels).clone())
            done += 1
            if done % 100 == 0:
                left = (time.monotonic() - begin) / done * (total - done)
                print(f"features of {done} of {total} photos, {left:.0f} s left", flush=True)
        found[name] = torch.stack(rows)
    tensorfile.write(path, found, {})
    return found


def middle(picture: np.ndarray) -> np.ndarray:
    """The square of 224 pixels in the middle of a photo whose shorter side is made 240."""
    scale = 240 / min(picture.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=way)
    top, left = (side // 2 - 112 for side in small.shape[:2])
    return small[top : top + 224, left : left + 224]


def train(model, data: Data, features: dict[str, Tensor], given: argparse.Namespace) -> None:
    """Learn all but the backbone; the model ends with the weights of the epoch whose CIDEr on val was the best."""
    known = [data.train.annotation(index).tokens for index in range(len(data.train))]
    short = [[sentence for sentence in sentences if len(sentence) <= LONGEST] for sentences in known]
    targets = torch.from_numpy(padded(short))
    true = sentences(data.val)
    learnt = [part for name, part in model.named_parameters() if not name.startswith("backbone")]
    optimizer = torch.optim.AdamW(learnt, lr=given.lr, weight_decay=given.weight_decay)
    begin, best, best_epoch, kept, epoch = time.monotonic(), -1.0, 0, {}, 0
    while time.monotonic() - begin < given.seconds and epoch - best_epoch < given.patience:
        epoch += 1
        model.train()
        total = 0.0
        for rows in torch.randperm(len(targets)).split(32):
            view = torch.randint(VIEWS, rows.shape)
            loss = model.loss_of_features(features["train"][rows, view], targets[rows])["word"]
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learnt, 5.0)
            optimizer.step()
            total += loss.item() * len(rows)
        score = cider(said_by(model, features["val"], 1), true)
        if score > best:
            best, best_epoch = score, epoch
            kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        seconds = time.monotonic() - begin
        print(f"epoch {epoch}  loss {total / len(targets):.3f}  CIDEr {score:.3f}  {seconds:.0f} s", flush=True)
    model.load_state_dict(kept)
    print(f"epoch {best_epoch} is kept: CIDEr {best:.3f} on val")


def said_by(model, features: Tensor, beam: int) -> list[str]:
    """The model's sentences about pictures by their features, [pictures, 1, channels]."""
    return [caption.text for caption in model.said(features[:, 0], beam=beam)]


def sentences(dataset: Dataset) -> list[list[str]]:
    """The true sentences of each picture."""
    known = (dataset.annotation(index).sentences for index in range(len(dataset)))
    return [[text for group in each.values() for text in group] for each in known]


def nearest(dataset: Dataset, features: dict[str, Tensor]) -> list[str]:
    """The first caption of the training photo whose features make the smallest angle with those of the test photo."""
    known = normalize(features["train"].mean(1), dim=1)
    best = (normalize(features["test"][:, 0], dim=1) @ known.T).argmax(1).tolist()
    true = sentences(dataset)
    return [true[index][0] for index in best]


def most_frequent(dataset: Dataset, count: int) -> list[str]:
    """The sentence that stands most often in the training captions, case and punctuation aside, for every photo."""
    all_of: Sequence[str] = [" ".join(spoken_words(text)) for group in sentences(dataset) for text in group]
    return [Counter(all_of).most_common(1)[0][0]] * count


if __name__ == "__main__":
    main()
