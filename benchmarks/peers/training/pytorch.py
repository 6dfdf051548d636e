"""songbag's network 'compact' in PyTorch, on the CPU: the same function, batches and optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.peers.training.batches import BATCH, CLASSES, STEPS, Batches

_STEP = 1 / 16


class Compact(nn.Module):
    """`songbag_training.models.encoders.compact` for windows (13, 216), a head, and the mean over real windows."""

    def __init__(self, mean: Any, deviation: Any, layout: Any) -> None:
        super().__init__()
        self._layout = layout
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 1, -1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).reshape(1, 1, -1, 1))
        sizes, filters = (5, 3, 3, 3), (1, 16, 32, 64, 128)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(filters[n], filters[n + 1], sizes[n], stride=(1, 2) if n == 0 else 1, bias=False)
            for n in range(4)
        )
        # PyTorch's momentum is one minus that of Keras.
        self.norms = nn.ModuleList(nn.BatchNorm2d(count, eps=1e-3, momentum=0.1) for count in filters[1:])
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(2 * 2 * filters[-1], CLASSES)

    def forward(self, windows: Any, mask: Any) -> Any:
        scaled = (windows.float() * _STEP - self.mean) / self.deviation
        images = scaled.flatten(0, 1)[:, None].contiguous(memory_format=self._layout)
        x = images - images.mean((2, 3), keepdim=True)
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            if number:
                # Of sides that are odd, Keras pools the last value alone.
                x = functional.max_pool2d(x, 2, ceil_mode=True)
            # As Keras pads for the same size: of an odd sum the larger part at the end.
            x = functional.pad(x, (1, 2, 2, 2) if number == 0 else (1, 1, 1, 1))
            x = functional.relu(norm(convolution(x)))
        x = x.transpose(1, 2).flatten(1, 2)
        embeddings = self.dropout(torch.cat([x.mean(2), x.amax(2)], 1))
        logits = self.head(embeddings).reshape(*mask.shape, -1)
        return (logits * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class PyTorch:
    """Trains the network on batches in memory."""

    def __init__(self, folder: Path, data: str, channels_last: bool = False) -> None:
        held = Batches(Path(data))
        self._windows, self._mask = torch.from_numpy(held.windows), torch.from_numpy(held.mask).float()
        self._labels = torch.from_numpy(held.labels).long()
        torch.manual_seed(0)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self._model = Compact(held.mean, held.deviation, layout).to(memory_format=layout)
        self._model.train()
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=0.001, eps=1e-7)

    def parameters(self) -> int:
        """Return how many numbers are trained."""
        return sum(one.numel() for one in self._model.parameters())

    def step(self) -> None:
        """Take some steps on one batch."""
        for _ in range(STEPS):
            self._take(np.arange(BATCH))

    def epoch_from_memory(self) -> None:
        """Train an epoch in a random order."""
        order = np.random.default_rng().permutation(len(self._labels))
        for first in range(0, len(order), BATCH):
            self._take(order[first : first + BATCH])

    def _take(self, songs: Any) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        logits = self._model(self._windows[songs], self._mask[songs])
        functional.cross_entropy(logits, self._labels[songs]).backward()
        self._optimizer.step()
