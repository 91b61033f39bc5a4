"""The loop to compare with: lottery-ticket code as it is usually written. Straightforward, not slowed down.

Samples are PIL images, transformed one by one by torchvision in a DataLoader's workers; everything is float32; a
Python loop puts the mask on every weight after each step; loss and accuracy are read back from the device each step.
"""

import os
import time

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Pictures(Dataset):
    """uint8 images (N, C, H, W) and labels as PIL images with a transform, as torchvision's data sets give them."""

    def __init__(self, images: Tensor, labels: Tensor, mean: Tensor, std: Tensor, augment: bool):
        self.images, self.labels = images.permute(0, 2, 3, 1).squeeze(-1).numpy(), labels.tolist()
        crop = [transforms.RandomCrop(images.shape[-1], padding=4), transforms.RandomHorizontalFlip()]
        normalized = [transforms.ToTensor(), transforms.Normalize(mean.tolist(), std.tolist())]
        self.transform = transforms.Compose([*crop, *normalized] if augment else normalized)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class Reference:
    """A model in training under a mask; ``epoch`` goes once through the data and returns seconds a step."""

    def __init__(self, model: nn.Module, split, batch_size: int, mask: dict[str, Tensor], device: str):
        self.model, self.mask, self.device = model.to(device), mask, device
        pictures = Pictures(split.images.cpu(), split.labels.cpu(), split.mean.cpu(), split.std.cpu(), split.augment)
        workers = min(4, os.cpu_count() or 1)
        self.loader = DataLoader(
            pictures, batch_size, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
        )
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.criterion = nn.CrossEntropyLoss()

    def epoch(self) -> float:
        self.model.train()
        loss_sum, correct, began = 0.0, 0, time.perf_counter()
        for inputs, labels in self.loader:
            inputs, labels = inputs.to(self.device), labels.to(self.device)
            outputs = self.model(inputs)
            loss = self.criterion(outputs, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            for name, parameter in self.model.named_parameters():
                if name in self.mask:
                    parameter.data *= self.mask[name]
            loss_sum += loss.item()
            correct += (outputs.argmax(1) == labels).sum().item()
        return (time.perf_counter() - began) / len(self.loader)
