"""The networks that can stand below a detector or a segmenter: the bodies of classifiers, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from siseon.interface import RecipeError
from siseon.layers import Body
from siseon.models.classification import mobilenet, resnet, vgg, zfnet

BODIES: Mapping[str, Callable[..., Body]] = {
    **{name: partial(resnet.ResNetBody, **arguments) for name, arguments in resnet.BODIES.items()},
    **{name: partial(mobilenet.MobileNetV2Body, **arguments) for name, arguments in mobilenet.BODIES.items()},
    **{name: partial(vgg.VGGBody, **arguments) for name, arguments in vgg.BODIES.items()},
    "zfnet": zfnet.ZFNetBody,
}
"""The bodies that `backbone` may name."""


def body_of(name: str, options: Mapping[str, Any] | None = None) -> Body:
    """The body called `name`, with further keyword arguments of it. Raises RecipeError for a name or argument."""
    if name not in BODIES:
        raise RecipeError(f'there is no backbone "{name}"', f"There are {', '.join(BODIES)}")
    known = inspect.signature(BODIES[name]).parameters
    for option in options or {}:
        if option not in known:
            raise RecipeError(f'the backbone {name} has no argument "{option}"', f"It takes {', '.join(known)}")
    return BODIES[name](**(options or {}))
