"""A prediction, siseon beside torchvision: same weights, same picture.

torchvision is eager, as its users run it (FrozenBatchNorm in the detectors, as its checkpoints have it). siseon is
build and predict; "optimized" siseon.optimize(model), "bf16" the same with precision="bf16". Weights are random but
live: batch norms hold the statistics of the picture, and the class layer of a detector is scaled so that about 300
(box, class) pairs pass 0.05.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

if __package__:
    from benchmarks import floors
    from benchmarks.rows import Row
    from benchmarks.turns import answer, in_turn, tune
else:  # as the program of a worker
    from turns import answer, tune

CLASSIFIERS = ("resnet50", "vgg16", "mobilenet_v2", "efficientnet_b0")
DETECTORS = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "ssd300_vgg16")
ENGINES = ("torchvision", "torchvision tuned", "siseon", "siseon optimized", "siseon bf16")
EXPORTED = ("onnxruntime", "onnxruntime int8", "openvino", "openvino bf16", "openvino int8")


def classifiers(given: argparse.Namespace) -> Iterator["Row"]:
    """A row for each network and batch size."""
    for batch in (1, 8):
        for name in CLASSIFIERS:
            if given.only is None or name in given.only:
                yield compared("classifiers", f"{name}, batch {batch}", name, batch, given)


def detectors(given: argparse.Namespace) -> Iterator["Row"]:
    """A row for each network."""
    for name in DETECTORS:
        if given.only is None or name in given.only:
            yield compared("detectors", name, name, 1, given)


def compared(
    section: str, title: str, name: str, batch: int, given: argparse.Namespace, engines: Sequence[str] = ENGINES
) -> "Row":
    """The row of one model."""
    with tempfile.TemporaryDirectory() as folder:
        programs = {"torchvision": given.peer, "siseon": sys.executable}
        commands = {
            engine: [programs.get(engine.split()[0], given.others), __file__, engine, name, folder, str(batch)]
            for engine in engines
        }
        times, absent = in_turn(commands, runs=given.runs)
        ours = [engine for engine in engines if engine in ("siseon optimized", *EXPORTED)]
        found = {engine: difference(Path(folder), engine) for engine in ours}
        agreed = [said if len(ours) == 1 else f"{engine}: {said}" for engine, said in found.items() if said]
        note = "; ".join([*agreed, *absent])
        floor = floors.milliseconds(float((Path(folder) / "macs").read_text()))
        return Row(section, title, times, "siseon optimized", floor, note)


def difference(folder: Path, ours: str) -> str:
    """Between torchvision's outputs and those of one of our engines."""
    files = [folder / f"{engine}.json" for engine in ("torchvision", ours)]
    if not all(file.exists() for file in files):
        return ""
    theirs, own = (json.loads(file.read_text()) for file in files)
    if isinstance(theirs, list):
        scale = statistics.pstdev(theirs)
        return f"logits {max(abs(a - b) for a, b in zip(theirs, own, strict=True)) / scale:.1e} of their deviation"
    pairs = list(zip(theirs["scores"], own["scores"], strict=False))
    scores = max((abs(a - b) for a, b in pairs), default=0)
    return f"{len(theirs['scores'])} and {len(own['scores'])} detections, scores {scores:.1e}"


def work(engine: str, name: str, folder: str, batch: str) -> None:
    """Answer the questions on stdin; at the end write the outputs."""
    import torch

    torch.set_num_threads(2)
    torch.manual_seed(0)
    home = Path(folder)
    picture = photograph(800 if name in DETECTORS else 224)
    make = {"torchvision": torchvision_engine, "siseon": siseon_engine}.get(engine.split()[0])
    if make is None:
        from export import exported_engine as make
    predict = make(engine, name, picture, home, batch=int(batch))

    def end() -> None:
        (home / f"{engine}.json").write_text(json.dumps(predict()()))

    with torch.inference_mode():
        answer(lambda question: predict(), end)


def photograph(side: int, *, seed: int = 0):
    """A photograph as a float tensor [3, height, width]: 480 x 640 for detectors, a square for classifiers."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    size = (480, 640) if side == 800 else (side, side)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0].clamp(0, 1)
    return (smooth + 0.1 * torch.rand(3, *size, generator=generator)).clamp(0, 1)


def torchvision_engine(engine, name, picture, home: Path, *, batch: int):
    import torch
    import torchvision

    if engine.endswith("tuned"):
        tune()
    normalised = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    saved = home / "weights.pt"
    if name in CLASSIFIERS:
        model = torchvision.models.get_model(name)
        if saved.exists():
            model.load_state_dict(torch.load(saved))
        else:
            # of one picture the last maps have 49 cells: statistics of so few make a network that magnifies rounding;
            # the noise is there because export compares with torch on noise
            pictures = [*(photograph(224, seed=seed) for seed in range(8)), *torch.rand(2, 3, 224, 224)]
            enliven(model, normalised(torch.stack(pictures)))
            torch.save(model.state_dict(), saved)
        model.eval()
        images = normalised(picture).expand(batch, -1, -1, -1).clone()
        return lambda: content_of(model(images))
    if not saved.exists():
        plain = torchvision.models.get_model(f"{name}", weights=None, weights_backbone=None)
        enliven(plain, [picture])
        scale_classes(plain, picture)
        torch.save(plain.state_dict(), saved)
    state = torch.load(saved)
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    freeze_norms(model, torchvision.ops.misc.FrozenBatchNorm2d)
    model.load_state_dict({key: value for key, value in state.items() if not key.endswith("num_batches_tracked")})
    model.eval()
    return lambda: content_of(model([picture])[0])


def siseon_engine(engine, name, picture, home: Path, *, batch: int):
    import torch

    import siseon

    if engine != "siseon":
        tune()
    model = siseon.weights.from_torchvision(name, torch.load(home / "weights.pt"))
    if not (home / "macs").exists():
        count_products(model, picture, home, batch=batch)
    if engine == "siseon optimized":
        model = siseon.optimize(model)
    elif engine == "siseon bf16":
        model = siseon.optimize(model, precision="bf16")
    if name in CLASSIFIERS:
        images = picture.expand(batch, -1, -1, -1).clone()
        return lambda: content_of(model(images))
    return lambda: content_of(model.predict(picture)[0])


def count_products(model, picture, home: Path, *, batch: int) -> None:
    """Write down the multiplications of a prediction."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model.predict(picture)
    (home / "macs").write_text(str(batch * counter.get_total_flops() / 2))


def content_of(outputs):
    """A function that gives the outputs as JSON; called outside of the measured time."""

    def content():
        if hasattr(outputs, "shape"):
            return outputs[0].float().flatten().tolist()
        scores = outputs["scores"] if isinstance(outputs, dict) else outputs.scores
        return {"scores": scores.tolist()}

    return content


def enliven(model, images) -> None:
    """Give the batch norms the statistics of the picture, so that activations neither vanish nor explode."""
    import torch

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    model.eval()
    for norm in norms:
        norm.train()
        norm.momentum = None
        norm.reset_running_stats()
    with torch.no_grad():
        model(images)
    model.eval()


def scale_classes(model, picture) -> None:
    """Scale the class layer until many (box, class) pairs pass 0.05; RPN logits five times as far apart.

    300 pairs of a Faster R-CNN, which keeps 100 boxes; 1,000 of a RetinaNet, which keeps 300.
    """
    import torch

    if hasattr(model, "rpn"):
        model.rpn.head.cls_logits.weight.data.mul_(5)
        layer = model.roi_heads.box_predictor.cls_score
        logits = outputs_of(layer, model, picture)[0]
        factor = 3 / float(logits.std())
        layer.weight.data.mul_(factor)
        low, high = -30.0, 60.0
        for _ in range(40):
            middle = (low + high) / 2
            shifted = logits * factor
            shifted[:, 0] += middle
            passing = int((shifted.softmax(1)[:, 1:] > 0.05).sum())
            low, high = (middle, high) if passing > 300 else (low, middle)
        layer.bias.data[0] += high
    elif hasattr(getattr(model.head, "classification_head", None), "cls_logits"):
        layer = model.head.classification_head.cls_logits
        layer.bias.data.zero_()
        logits = torch.cat([level.flatten() for level in outputs_of(layer, model, picture)])
        factor = 3 / float(logits.std())
        layer.weight.data.mul_(factor)
        least = float((logits * factor).topk(1000).values[-1])
        layer.bias.data.fill_(math.log(0.05 / 0.95) - least)


def outputs_of(layer, model, picture) -> list:
    """What a layer gives while the model looks at the picture, once for each time that it is called."""
    import torch

    found = []
    hook = layer.register_forward_hook(lambda module, inputs, outputs: found.append(outputs))
    with torch.no_grad():
        model([picture])
    hook.remove()
    return found


def freeze_norms(module, kind) -> None:
    """Replace each batch norm by torchvision's frozen one, which its detectors with weights have."""
    import torch

    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            setattr(module, name, kind(child.num_features, eps=child.eps))
        else:
            freeze_norms(child, kind)


if __name__ == "__main__":
    work(*sys.argv[1:])
