"""Searches in other people's training loops, with the real packages; each is left out where it is not installed."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import lottery_lib as lottery

DENSITY = 0.2


def images():
    data = lottery.load("digits")
    return data.train.images.float() / 16, data.train.labels.long(), data


def network():
    data = lottery.load("digits")
    return lottery.models.create("lenet-300-100", data.classes, data.shape, width=0.3)


def check(model, ticket):
    """A ticket of the density asked, and a network that has nothing outside of it."""
    assert ticket.density == pytest.approx(DENSITY, rel=0.02)
    for name, kept in ticket.mask.items():
        assert not model.get_parameter(name).detach().cpu()[~kept].any()


def test_lightning():
    lightning = pytest.importorskip("lightning.pytorch")
    inputs, labels, _ = images()

    class Digits(lightning.LightningModule):
        def __init__(self, ticket=None):
            super().__init__()
            self.net, self.ticket = network(), ticket

        def training_step(self, batch, _):
            return cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.net.parameters(), 1e-3)
            steps = self.trainer.estimated_stepping_batches
            if self.ticket is None:
                self.search = lottery.concave.attach(self.net, optimizer, steps=steps, density=DENSITY)
            else:
                lottery.attach(self.net, optimizer, self.ticket)
            return optimizer

    def fit(module, epochs):
        loader = DataLoader(TensorDataset(inputs, labels), 32, shuffle=True)
        trainer = lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, gradient_clip_val=1.0,
        )  # fmt: skip
        trainer.fit(module, loader)

    torch.manual_seed(0)
    module = Digits()
    fit(module, 10)
    ticket = module.search.ticket()
    check(module.net, ticket)
    again = Digits(ticket)
    fit(again, 5)
    check(again.net, ticket)


def test_hugging_face_trainer(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=16, num_labels=2,
    )  # fmt: skip
    tokens = torch.randint(0, 40, (512, 12))
    labels = (tokens == 7).any(1).long()
    rows = [{"input_ids": row, "labels": label} for row, label in zip(tokens, labels)]

    def fit(model, attach, epochs=12):
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
        attached = attach(model, optimizer)
        arguments = transformers.TrainingArguments(
            str(tmp_path), num_train_epochs=epochs, per_device_train_batch_size=32, report_to=[], use_cpu=True,
            save_strategy="no", logging_strategy="no", disable_tqdm=True, seed=0,
        )  # fmt: skip
        transformers.Trainer(model, arguments, train_dataset=rows, optimizers=(optimizer, None)).train()
        return attached

    model = transformers.BertForSequenceClassification(config)
    search = fit(model, lambda m, o: lottery.concave.attach(m, o, steps=12 * 16, density=DENSITY))
    assert search.step == 12 * 16
    ticket = search.ticket()
    check(model, ticket)
    fit(model, lambda m, o: lottery.attach(m, o, ticket), epochs=2)
    check(model, ticket)


def test_accelerate():
    accelerate = pytest.importorskip("accelerate")
    inputs, labels, _ = images()
    torch.manual_seed(0)

    def fit(model, attach, epochs):
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        attached = attach(model, optimizer)
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        loader = DataLoader(TensorDataset(inputs, labels), 16, shuffle=True, drop_last=True)
        wrapped, stepped, loader = accelerator.prepare(model, optimizer, loader)
        for _ in range(epochs):
            for batch in loader:
                with accelerator.accumulate(wrapped):
                    accelerator.backward(cross_entropy(wrapped(batch[0]), batch[1]))
                    accelerator.clip_grad_norm_(wrapped.parameters(), 1.0)
                    stepped.step()
                    stepped.zero_grad()
        return attached

    model = network()
    steps = 10 * (len(inputs) // 16 // 2)
    search = fit(model, lambda m, o: lottery.concave.attach(m, o, steps=steps, density=DENSITY), 10)
    assert abs(search.step - steps) <= 10  # an epoch's odd batch is a step of its own
    ticket = search.ticket()
    check(model, ticket)
    fit(model, lambda m, o: lottery.attach(m, o, ticket), 2)
    check(model, ticket)


def test_a_plain_loop_with_a_schedule_and_an_average():
    inputs, labels, _ = images()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    steps = 10 * (len(inputs) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    search = lottery.concave.attach(model, optimizer, steps=steps, density=DENSITY)
    for _ in range(10):
        for batch in torch.randperm(len(inputs))[: len(inputs) // 32 * 32].split(32):
            optimizer.zero_grad()
            cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
    right = (average(inputs).argmax(1) == labels).float().mean()
    assert right > 0.9  # what was averaged are effective weights
    check(model, search.ticket())
