"""The networks of `throughput.py` in torch, for Lightning."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from networks import EMBEDDING, FILTERS, GENRES, LSTMS, UNITS, VECTOR, VOCABULARY
from torch import nn


def torch_network(name: str) -> Any:
    """Return the same network as usually written in torch; logits instead of probabilities."""
    if name in LSTMS:
        return _torch_lstm(LSTMS[name] == (0.0, True))
    if name == "overview_lstm_pooled":
        return _PooledLSTM()
    if name == "poster_resnet":
        blocks = [_ResidualBlock(before, filters) for before, filters in pairwise(FILTERS)]
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(FILTERS[-1], GENRES)]
        return nn.Sequential(_convolution(3, FILTERS[0], 3, 2), nn.ReLU(), *blocks, *head)
    if name == "poster_cnn_2024":
        layers: list[Any] = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Dropout(0.2)]
        for before, filters in ((16, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(before, filters, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU(), nn.Dropout(0.2), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Linear(2048, 1024), nn.ReLU(), nn.Dropout(0.5)]
        return nn.Sequential(*layers, nn.Linear(1024, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, GENRES))

    class Block(nn.Module):
        def __init__(self, before: int, filters: int) -> None:
            super().__init__()
            self.main = nn.Sequential(
                nn.Conv2d(before, filters, 3, padding=1),
                nn.ReLU(),
                nn.Dropout(0.2),
                nn.Conv2d(filters, filters, 3, padding=1),
                nn.Dropout(0.2),
            )
            self.skip = nn.Conv2d(before, filters, 1)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.main(x) + self.skip(x))

    pool = nn.MaxPool2d(2)
    body = [Block(32, 32), pool, Block(32, 64), pool, Block(64, 128), pool, Block(128, 128)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 256), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), *body, *head, nn.Linear(256, GENRES))


def _torch_lstm(masked: bool) -> Any:
    """Build the LSTM as usually written in torch, which has no recurrent dropout; ``masked`` packs the overviews."""

    class OverviewLSTM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, EMBEDDING, padding_idx=0)
            self.first = nn.LSTM(EMBEDDING, 256, batch_first=True, bidirectional=True)
            self.second = nn.LSTM(512, 128, batch_first=True, bidirectional=True)
            self.drop = nn.Dropout(0.5)
            self.head = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.8), nn.Linear(128, GENRES))

        def forward(self, x: Any, lengths: Any) -> Any:
            embedded = self.drop(self.embedding(x))
            if masked:
                embedded = nn.utils.rnn.pack_padded_sequence(embedded, lengths, True, enforce_sorted=False)
            states, _ = self.first(embedded)
            states = states._replace(data=self.drop(states.data)) if masked else self.drop(states)
            _, (last, _) = self.second(states)
            return self.head(torch.cat([last[0], last[1]], -1))

    return OverviewLSTM()


def _convolution(before: int, filters: int, size: int, stride: int) -> nn.Module:
    conv = nn.Conv2d(before, filters, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(filters))


class _ResidualBlock(nn.Module):
    def __init__(self, before: int, filters: int) -> None:
        super().__init__()
        self.main = nn.Sequential(_convolution(before, filters, 3, 2), nn.ReLU(), _convolution(filters, filters, 3, 1))
        self.skip = nn.Sequential(nn.AvgPool2d(2), _convolution(before, filters, 1, 1))

    def forward(self, x: Any) -> Any:
        return torch.relu(self.main(x) + self.skip(x))


class _PooledLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, VECTOR, padding_idx=0)
        self.drop_channels = nn.Dropout1d(0.3)
        self.lstm = nn.LSTM(VECTOR, UNITS, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(4 * UNITS + VECTOR, GENRES))

    def forward(self, x: Any, lengths: Any) -> Any:
        real = x != 0
        if self.training:
            x = torch.where(real & (torch.rand(x.shape, device=x.device) < 0.2), 1, x)
        vectors = self.drop_channels(self.embedding(x).transpose(1, 2)).transpose(1, 2)
        packed = nn.utils.rnn.pack_padded_sequence(vectors, lengths, True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], True, total_length=x.shape[1])
        real, count = real[:, :, None], real.sum(1, keepdim=True)
        most = states.masked_fill(~real, -1e4).amax(1)
        total = (vectors * real).sum(1) / count.sqrt()
        return self.head(torch.cat([most, states.sum(1) / count, total], -1))
