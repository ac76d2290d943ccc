"""When a translated part is near enough to torch."""

import pytest
import torch

from siseon import export_parts
from siseon.export_parts import Graph, rounding, translated
from siseon.interface import SiseonError

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


class Shifted(Graph):
    """Up and down again by `height`, which costs the digits below it."""

    inputs, names = ("numbers",), ("same",)

    def __init__(self, height):
        super().__init__()
        self.height = torch.nn.Parameter(torch.tensor(height))

    def example(self):
        return (torch.linspace(0.1, 0.9, 7)[None],)

    def forward(self, numbers):
        return (numbers + self.height) - self.height


@pytest.fixture
def off_by_a_thousandth(monkeypatch):
    run = export_parts.outputs
    monkeypatch.setattr(export_parts, "outputs", lambda network, given: [each + 1e-3 for each in run(network, given)])


@pytest.mark.usefixtures("off_by_a_thousandth")
def test_a_difference_is_refused():
    with pytest.raises(SiseonError, match=r"the exported Shifted is 1\.0e-03 from torch, more than 0\.0001"):
        translated(Shifted(1.0), of="Shifted")


@pytest.mark.usefixtures("off_by_a_thousandth")
def test_a_difference_within_torchs_own_rounding_passes():
    graph = Shifted(30_000.0)
    _, difference = translated(graph, of="Shifted")
    assert 1e-4 < difference < 4 * rounding(graph, graph.example(), (graph(*graph.example()).detach(),))
    assert graph.height.dtype == torch.float32
