"""How much images look like digits: the confidence of a classifier that was trained on real digits."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from toydiff.data.images import Images, digits

LEARNED = 1200  # of the 1,797 digits; the others are held out


class Verdict(NamedTuple):
    """The judge's result for many images."""

    share: float  # its mean confidence in them, as a share of its mean confidence in real digits
    error: float  # standard error of the share: how much it would differ for as many other samples
    counts: tuple[int, ...]  # (10,): how many of them it takes for each digit


class Judge:
    """Extremely randomized trees (Geurts et al. 2006), 200 of them. Their confidence is their mean vote for the
    likeliest digit. They see images as they are shown: 64 numbers, 0 ... 255.

    accuracy: on held-out digits; usual: its mean confidence in those; floor: the share for pure noise.
    """

    def __init__(self) -> None:
        from sklearn.ensemble import ExtraTreesClassifier  # a second of start-up that only images need

        real = digits()
        assert real.labels is not None
        pixels, labels = real.pixels(real.x).reshape(len(real.x), -1), real.labels.numpy()
        self._forest = ExtraTreesClassifier(200, random_state=0).fit(pixels[:LEARNED], labels[:LEARNED])
        self.accuracy = float(self._forest.score(pixels[LEARNED:], labels[LEARNED:]))
        self.usual = self._sure(real, real.x[LEARNED:])
        self.floor = self.share(real, torch.randn(500, *real.shape, generator=torch.Generator().manual_seed(0)))

    def share(self, images: Images, x: Tensor) -> float:
        """Its mean confidence in x (B, 1, 8, 8), in the scale of `images`, as a share of that in real digits."""
        return self._sure(images, x) / self.usual

    def classes(self, images: Images, x: Tensor) -> Tensor:
        """(B, 10): the mean vote for each digit, for x (B, 1, 8, 8) in the scale of `images`. A row sums to 1."""
        return torch.from_numpy(self._forest.predict_proba(images.pixels(x).reshape(len(x), -1)))

    def verdict(self, images: Images, x: Tensor) -> Verdict:
        """Share and digits of x (B, 1, 8, 8), B at least 2, in the scale of `images`."""
        sure, digit = self.classes(images, x).max(1)
        counts = torch.bincount(digit, minlength=10)
        error = sure.std().item() / len(x) ** 0.5
        return Verdict(sure.mean().item() / self.usual, error / self.usual, tuple(counts.tolist()))

    def _sure(self, images: Images, x: Tensor) -> float:
        return self.classes(images, x).max(1).values.mean().item()
