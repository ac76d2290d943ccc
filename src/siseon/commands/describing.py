"""The command that says what a camera sees: describe."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from siseon.commands.networks import trained

if TYPE_CHECKING:
    from siseon.interface import PictureError


def describe(
    pictures: Positional[tuple[str, ...]] = (),
    *,
    camera: int | None = None,
    model: str = "ssd300_vgg16",
    weights: str | None = None,
    caption: str | None = None,
    lang: Literal["ko", "en"] = "ko",
    speak: bool = False,
    save: Path | None = None,
    score: float = 0.5,
    frames: int | None = None,
    device: str = "auto",
) -> int:
    """Say what is where, seen from the camera: "왼쪽에 사람 두 명, 앞에 자동차 한 대가 있습니다."

    Of a folder or a camera only what has changed is said anew.

    Args:
        pictures: files, folders, patterns such as "photos/*.jpg"
        camera: number of a camera instead, usually 0; Ctrl-C ends
        model: a detector: a run folder, a .safetensors file, or the name of a model with --weights
        weights: coco or a file, where the model is given by its name; coco if left out
        caption: run folder of a captioner (siseon train nic_mobilenet_v2), whose sentence is said first
        lang: ko or en
        speak: say it aloud, by espeak-ng, offline
        save: write the speech into this .wav file
        score: least score of what is spoken of, 0 to 1
        frames: stop after so many frames
        device: auto, cpu, cuda, mps
    """
    from itertools import islice

    from siseon.describing.describe import describe as walk
    from siseon.describing.frames import from_camera, from_files
    from siseon.describing.voice import Voice
    from siseon.interface import RecipeError

    if (camera is None) == (not pictures):
        raise RecipeError("name pictures or a camera", "For example: siseon describe photo.jpg, or --camera 0")
    faults: list[PictureError] = []
    said: list[str] = []
    with ExitStack() as stack:
        voice = stack.enter_context(Voice(lang)) if speak or save else None
        detector = _of_task("detection", model, weights or _published(model), device)
        captioner = _of_task("captioning", caption, None, device) if caption else None
        source = from_files(pictures, faults.append) if camera is None else from_camera(camera)
        settings: dict[str, Any] = {"language": lang, "score": score, "steady": 1 if camera is None else 3}
        for seen in walk(islice(source, frames), detector, captioner=captioner, **settings):
            if seen.text:
                print(f"{seen.name}: {seen.text}", flush=True)
                said.append(seen.text)
                if voice and speak:
                    voice.say(seen.text)
        if voice and save and said:
            print(f"{voice.save(' '.join(said), save):.1f} s of speech are in {save}")
    for fault in faults:
        print(f"passed over: {fault.problem}", file=sys.stderr)
    return 0 if said else 2


def _of_task(task: str, name: str, weights: str | None, device: str) -> Any:  # noqa: ANN401
    """A trained model in its form for prediction. Raises RecipeError where it is for another task."""
    from siseon.interface import RecipeError
    from siseon.optimization import optimize

    network: Any = trained(name, weights, device)
    if network.task != task:
        raise RecipeError(f"{name} is for {network.task}, not for {task}", f"siseon models --task {task} lists others")
    return optimize(network)


def _published(model: str) -> str | None:
    """The weights of a model that is called by its name alone."""
    from siseon.zoo import ZOO

    return "coco" if model in ZOO else None
