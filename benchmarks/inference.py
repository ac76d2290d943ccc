"""Milliseconds of a prediction, siseon beside torchvision: same weights, same picture, turn by turn, medians.

    python benchmarks/inference.py --peer PYTHON_WITH_TORCHVISION [--only resnet50 fasterrcnn_resnet50_fpn] [--runs 10]

Each engine is a process of its own on two threads, and only one works at a time. The rows:
  torchvision          eager, as its users run it (FrozenBatchNorm in the detectors, as its checkpoints have it)
  torchvision tuned    the same with an allocator that keeps freed memory (mallopt), which siseon sets for its own runs
  siseon               build, predict
  siseon optimized     siseon.optimize(model)
  siseon bf16          siseon.optimize(model, precision="bf16")
Weights are random but live: batch norms hold the statistics of the picture, and the class layer of a detector is scaled
so that about 300 (box, class) pairs pass 0.05.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLASSIFIERS = ("resnet50", "vgg16", "mobilenet_v2", "efficientnet_b0")
DETECTORS = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "ssd300_vgg16")
ENGINES = ("torchvision", "torchvision tuned", "siseon", "siseon optimized", "siseon bf16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", default=sys.executable, help="a Python that has torchvision")
    parser.add_argument("--only", nargs="*", default=(*CLASSIFIERS, *DETECTORS))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=1, help="pictures at once (classifiers)")
    parser.add_argument("--worker", nargs=3, metavar=("ENGINE", "NAME", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(*given.worker, batch=given.batch)
        return
    print(f"{'model':26}" + "".join(f"{engine:>20}" for engine in ENGINES), " over plain, over tuned, worst difference")
    for name in given.only:
        with tempfile.TemporaryDirectory() as folder:
            compare(name, Path(folder), given.peer, runs=given.runs, batch=given.batch)


def compare(name: str, folder: Path, peer: str, *, runs: int, batch: int) -> None:
    """Print the row of one model."""
    workers = {}
    for engine in ENGINES:
        python = peer if engine.startswith("torchvision") else sys.executable
        command = [python, __file__, "--batch", str(batch), "--worker", engine, name, str(folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "2"}
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
        )
        if not asked(worker, ""):
            print(f"{name:26} {engine} cannot run it")
            return
        workers[engine] = worker
    taken = {engine: [] for engine in ENGINES}
    for run in range(runs + 2):
        for engine, worker in workers.items():
            milliseconds = asked(worker, "run")
            if run >= 2:
                taken[engine].append(milliseconds)
    medians = {engine: statistics.median(figures) for engine, figures in taken.items()}
    best = medians["siseon optimized"]
    for worker in workers.values():
        asked(worker, "outputs")
        worker.stdin.close()
        worker.wait()
    row = "".join(f"{medians[engine]:14.1f} {min(taken[engine]):5.0f}" for engine in ENGINES)
    ratios = f"{medians['torchvision'] / best:6.2f}x {medians['torchvision tuned'] / best:6.2f}x"
    print(f"{name:26}{row} {ratios}  {difference(folder)}", flush=True)


def asked(worker: subprocess.Popen, question: str):
    """The answer of a worker to one line, or None where it has ended."""
    if question:
        worker.stdin.write(question + "\n")
        worker.stdin.flush()
    line = worker.stdout.readline()
    return json.loads(line) if line else None


def difference(folder: Path) -> str:
    """Between torchvision's outputs and those of the optimized model."""
    theirs, ours = (
        json.loads((folder / f"{engine}.json").read_text()) for engine in ("torchvision", "siseon optimized")
    )
    if isinstance(theirs, list):
        scale = statistics.pstdev(theirs)
        return f"logits {max(abs(a - b) for a, b in zip(theirs, ours, strict=True)) / scale:.1e} of their deviation"
    pairs = list(zip(theirs["scores"], ours["scores"], strict=False))
    scores = max((abs(a - b) for a, b in pairs), default=0)
    return f"{len(theirs['scores'])} and {len(ours['scores'])} detections, scores {scores:.1e}"


def work(engine: str, name: str, folder: str, *, batch: int) -> None:
    """Answer the questions on stdin: "run" with the milliseconds of a prediction, "outputs" by writing them."""
    import torch

    torch.set_num_threads(2)
    torch.manual_seed(0)
    home = Path(folder)
    picture = photograph(800 if name in DETECTORS else 224)
    if engine.startswith("torchvision"):
        predict = torchvision_engine(name, picture, home, batch=batch, tuned=engine.endswith("tuned"))
    else:
        predict = siseon_engine(engine, name, picture, home, batch=batch)
    print(json.dumps("ready"), flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            start = time.perf_counter()
            outputs = predict()
            milliseconds = 1000 * (time.perf_counter() - start)
            if line.strip() == "outputs":
                (home / f"{engine}.json").write_text(json.dumps(outputs()))
            print(json.dumps(milliseconds), flush=True)


def photograph(side: int):
    """A photograph as a float tensor [3, height, width]: 480 x 640 for detectors, a square for classifiers."""
    import torch

    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    size = (480, 640) if side == 800 else (side, side)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0].clamp(0, 1)
    return (smooth + 0.1 * torch.rand(3, *size, generator=generator)).clamp(0, 1)


def torchvision_engine(name, picture, home: Path, *, batch: int, tuned: bool):
    import torch
    import torchvision

    if tuned:
        keep_memory()
    saved = home / "weights.pt"
    if name in CLASSIFIERS:
        model = torchvision.models.get_model(name)
        if saved.exists():
            model.load_state_dict(torch.load(saved))
        else:
            enliven(model, picture[None])
            torch.save(model.state_dict(), saved)
        model.eval()
        images = torchvision.transforms.functional.normalize(picture, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        images = images.expand(batch, -1, -1, -1).clone()
        return lambda: answer(model(images))
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
    return lambda: answer(model([picture])[0])


def siseon_engine(engine, name, picture, home: Path, *, batch: int):
    import torch

    import siseon
    from siseon.training.preparation import keep_memory as keep

    if engine != "siseon":
        keep()
    model = siseon.weights.from_torchvision(name, torch.load(home / "weights.pt"))
    if engine == "siseon optimized":
        model = siseon.optimize(model)
    elif engine == "siseon bf16":
        model = siseon.optimize(model, precision="bf16")
    if name in CLASSIFIERS:
        images = picture.expand(batch, -1, -1, -1).clone()
        return lambda: answer(model(images))
    return lambda: answer(model.predict(picture)[0])


def answer(outputs):
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
    """Scale the class layer until about 300 (box, class) pairs pass 0.05, RPN logits five times as far apart."""
    import torch

    if hasattr(model, "rpn"):
        model.rpn.head.cls_logits.weight.data.mul_(5)
        layer = model.roi_heads.box_predictor.cls_score
        found = []
        hook = layer.register_forward_hook(lambda module, inputs, outputs: found.append(outputs))
        with torch.no_grad():
            model([picture])
        hook.remove()
        logits = found[0]
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


def freeze_norms(module, kind) -> None:
    """Replace each batch norm by torchvision's frozen one, which its detectors with weights have."""
    import torch

    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            setattr(module, name, kind(child.num_features, eps=child.eps))
        else:
            freeze_norms(child, kind)


def keep_memory() -> None:
    """Freed memory stays with the process (glibc)."""
    import ctypes

    mallopt = ctypes.CDLL(None).mallopt
    mallopt(-3, 1 << 30)
    mallopt(-1, (2 << 30) - 1)


if __name__ == "__main__":
    main()
