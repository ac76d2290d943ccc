"""Transfer learning: first only the new layers learn, then all of them, what was learnt before more slowly.

As in Howard and Ruder 2018 (arXiv:1801.06146, sections 3.2 and 3.3: gradual unfreezing, discriminative rates), with the
whole body as one part.
"""

from __future__ import annotations

from torch import nn

from siseon.interface import RecipeError
from siseon.layers import Body

BODY_SHARE = 0.1
"""The learning rate of the body, as a share of that of the new layers."""


class Transfer:
    """Lets the body of a model rest until a share of the run is done.

    Resting, it keeps its weights and the statistics of its batch norms. Layers that are frozen stay so.
    """

    def __init__(self, model: nn.Module, until: float) -> None:
        self.body = transferred(model)
        self.until = until
        self._parameters = [parameter for parameter in self.body.parameters() if parameter.requires_grad]

    def at(self, share: float) -> None:
        """Let the body rest or learn in the step that ends at this share of the run."""
        learns = share > self.until
        for parameter in self._parameters:
            parameter.requires_grad_(learns)
        self.body.train(learns)


def transferred(model: nn.Module) -> Body:
    """The part of a model that was learnt before. Raises RecipeError where a model has no such part."""
    body = body_of(model)
    if body is None:
        raise RecipeError("this model has no body that could rest at first", "Leave transfer out")
    return body


def body_of(model: nn.Module) -> Body | None:
    """The convolutional part of a classifier, or the backbone of a detector."""
    return next((module for module in model.modules() if isinstance(module, Body)), None)
