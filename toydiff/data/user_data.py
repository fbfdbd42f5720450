"""Data sets of users. Each is found by a key made of its content, for as long as some object holds it.

The key stands where the name of a built-in set stands, in settings and links: equal keys mean equal data.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from toydiff.data.images import Images
from toydiff.text import shown, words

KEY = re.compile(r"own-[0-9a-f]{16}")


@dataclass(frozen=True, eq=False)
class UserDataset:
    """A set like those of DATASETS and IMAGES: called with n and a seed, it gives n of its points or images, or all."""

    key: str
    name: str  # safe to show
    data: Tensor | Images  # points (N, 2), mean 0 and variance 1; or images in the same scale

    def __call__(self, n: int, seed: int) -> Any:
        """(n, 2) points, or Images: some of them, drawn by the seed."""
        chosen = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:n]
        if isinstance(self.data, Tensor):
            return self.data[chosen]
        labels = None if self.data.labels is None else self.data.labels[chosen]
        return Images(self.data.name, self.data.x[chosen], labels, self.data.mean, self.data.scale)

    def __len__(self) -> int:
        return len(self._x)

    @property
    def bytes(self) -> int:
        """Its size in memory, in bytes."""
        return self._x.nbytes

    @property
    def _x(self) -> Tensor:
        return self.data if isinstance(self.data, Tensor) else self.data.x


class DatasetNotFound(ValueError):  # noqa: N818
    """No object on this server holds the data set, or it never was here."""


_held: WeakValueDictionary[str, UserDataset] = WeakValueDictionary()
_lock = Lock()


def keep(name: str, data: Tensor | Images) -> UserDataset:
    """Register a data set. It can be found as long as the returned object is held."""
    name = shown(name)
    x, scale = (data, "") if isinstance(data, Tensor) else (data.x, f"{data.mean} {data.scale}")
    content = hashlib.blake2b(f"{name} {list(x.shape)} {scale} ".encode(errors="replace"), digest_size=8)
    content.update(x.contiguous().numpy().data)
    key = f"own-{content.hexdigest()}"
    with _lock:
        return _held.setdefault(key, UserDataset(key, name, data))


def find(key: str) -> UserDataset:
    """The data set with this key. DatasetNotFound, with a sentence, if it is not here."""
    found = _held.get(key)
    if found is None:
        raise DatasetNotFound(words("problems.gone"))
    return found


def is_key(name: object) -> bool:
    """Whether a name has the form of such a key; the data may be here or not."""
    return isinstance(name, str) and KEY.fullmatch(name) is not None


def title(name: str) -> str:
    """The name that people read: the one that a user gave to own data, or the name of a built-in set."""
    return find(name).name if is_key(name) else words(f"names.{name}")
