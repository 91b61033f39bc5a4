"""README.md: its example finds a ticket in networks that are not ours, from tensors and from batches."""

import re

import pytest
import torch
import torchvision
from safetensors.torch import load_model
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lottery_lib import masks, paths, tickets


class Transformer(nn.Module):
    """Classifies texts of a 20-letter alphabet."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.encoder = nn.TransformerEncoderLayer(16, nhead=2, dim_feedforward=32, batch_first=True)
        self.classifier = nn.Linear(16, 3)

    def forward(self, letters):
        return self.classifier(self.encoder(self.embedding(letters)).mean(1))


def texts():
    return torch.randint(20, (640, 8)), torch.randint(3, (640,))


def transformer():
    return Transformer(), texts(), texts()


def shufflenet():
    pictures = TensorDataset(torch.randn(32, 3, 32, 32), torch.randint(3, (32,)))
    return torchvision.models.shufflenet_v2_x0_5(num_classes=3), DataLoader(pictures, 16, shuffle=True), None


@pytest.fixture
def example():
    section = (paths.ROOT / "README.md").read_text("utf-8").partition("\n## On your own network\n")[2]
    code = re.match(r"[^#]*?\n```python\n(.*?)```\n", section, re.DOTALL)[1]
    assert len(code.splitlines()) <= 12
    return code


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("given", [transformer, shufflenet])
def test_the_example_runs(example, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model, train, val = given()
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = {"model": model, "train": train, "val": val}
    exec(example, found)

    ticket = tickets.Ticket.load("ticket.safetensors")
    assert ticket.density == pytest.approx(0.2, rel=0.02) and ticket.search_epochs == 10
    for name, tensor in ticket.rewind.items():
        torch.testing.assert_close(tensor, initial[name], rtol=0, atol=0)
    assert masks.digest(ticket.mask) == masks.digest(found["ticket"].mask)

    saved = given()[0]
    load_model(saved, "model.safetensors")
    for name, kept in ticket.mask.items():
        weight = saved.get_parameter(name)
        assert not weight[~kept].any()  # pruned
        assert not torch.equal(weight[kept], initial[name][kept])  # retrained
    assert len(found["history"].epochs) == 10
    assert all(("val_accuracy" in epoch) == (val is not None) for epoch in found["history"].epochs)
    sparse = tickets.to_csr(saved, ticket.mask)
    assert sum(matrix.values().numel() for matrix in sparse.values()) <= sum(int(m.sum()) for m in ticket.mask.values())
