"""What the settings of all experiments have in common: checks, and their way to a link and back. What each setting may
be stands beside it in `experiment.py` and `image_experiment.py`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, Self

from toydiff.data import user_data
from toydiff.data.user_data import UserDataset


class Problem(NamedTuple):
    """A setting that could not be used, and why: `allowed` is what it may be."""

    name: str
    value: str
    allowed: str
    used: object


def one_of(names: Iterable[str], usual: str) -> Any:
    """A field that is one of these names."""
    return field(default=usual, metadata={"choices": tuple(names)})


def number(low: float, high: float, usual: float, *, at_most: str | None = None) -> Any:
    """A field that is a number, low ... high. at_most: the name of a field before it that it must not exceed."""
    return field(default=usual, metadata={"range": (low, high), "at_most": at_most})


@dataclass(frozen=True)
class Settings:
    """Frozen and compared by value: a key for caches. Its fields are made with `one_of` and `number`. ValueError for a
    value that they do not allow."""

    user_field: ClassVar[str]  # the field that names the data, and may also be the key of a user's data set
    size_field: ClassVar[str]  # the field that says how many points or images
    datasets: ClassVar[Mapping[str, Callable[..., Any]]]  # a user's data set is called in the same way: (n, seed)

    def __post_init__(self) -> None:
        for one in fields(self):
            name, value = one.name, getattr(self, one.name)
            if not self._fits(name, value):
                raise ValueError(f"{name} must be {self.allowed(name)}, not {value!r}")
        for name, limit in self.limited().items():
            if getattr(self, name) > getattr(self, limit):
                most = getattr(self, limit)
                raise ValueError(f"{name} must be at most {limit} = {most}, not {getattr(self, name)}")

    @classmethod
    def choices(cls) -> dict[str, tuple[str, ...]]:
        """The fields that are names, and what they may be."""
        return {one.name: one.metadata["choices"] for one in fields(cls) if "choices" in one.metadata}

    @classmethod
    def ranges(cls) -> dict[str, tuple[float, float]]:
        """The fields that are numbers: (lowest, highest)."""
        return {one.name: one.metadata["range"] for one in fields(cls) if "range" in one.metadata}

    @classmethod
    def limited(cls) -> dict[str, str]:
        """The fields that must not exceed another one, and the name of that one."""
        return {one.name: limit for one in fields(cls) if (limit := one.metadata.get("at_most")) is not None}

    @property
    def user_dataset(self) -> UserDataset | None:
        """The user's data set that these settings name; None: a built-in one. DatasetNotFound if it is not here."""
        key = getattr(self, self.user_field)
        return user_data.find(key) if user_data.is_key(key) else None

    @property
    def dataset_function(self) -> Callable[..., Any]:
        """(n, seed) -> the data. DatasetNotFound if it is a user's and not here."""
        user_dataset = self.user_dataset
        return self.datasets[getattr(self, self.user_field)] if user_dataset is None else user_dataset

    @property
    def usual_size(self) -> int:
        """How many points or images this data set usually has: all of a user's, else the default of its n."""
        make = self.dataset_function
        if isinstance(make, UserDataset):
            return len(make)
        size: int = inspect.signature(make).parameters["n"].default
        return size

    @classmethod
    def allowed(cls, name: str) -> str:
        """What a field may be, in words for a message: "10 ... 1000" or "spiral, moons, ..."."""
        allowed = cls._allowed(name)
        if "choices" in allowed:
            return ", ".join(allowed["choices"])
        low, high = (f"{end:,.6f}".rstrip("0").rstrip(".") for end in allowed["range"])
        return f"{low} … {high}"

    def to_params(self) -> dict[str, str]:
        """As URL parameters, or any other flat dict of strings."""
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> tuple[Self, list[Problem]]:
        """From such a dict. What cannot be used falls back to its default and is listed; unknown names are ignored."""
        good: dict[str, Any] = {}
        problems = []
        for one in fields(cls):
            if one.name in params:
                value = _parsed(params[one.name], type(one.default))
                if cls._fits(one.name, value):
                    good[one.name] = value
                else:
                    problems.append(Problem(one.name, params[one.name][:40], cls.allowed(one.name), one.default))
        for name, limit in cls.limited().items():
            most = good.get(limit, getattr(cls, limit))
            if good.get(name, 0) > most:
                problems.append(Problem(name, str(good.pop(name)), f"0 … {most}", getattr(cls, name)))
        return cls(**good), problems

    @classmethod
    def _allowed(cls, name: str) -> Mapping[str, Any]:
        return cls.__dataclass_fields__[name].metadata

    @classmethod
    def _fits(cls, name: str, value: object) -> bool:
        allowed = cls._allowed(name)
        if "choices" in allowed:
            return value in allowed["choices"] or (name == cls.user_field and user_data.is_key(value))
        low, high = allowed["range"]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, float) and not isinstance(getattr(cls, name), float):
            return False  # a whole number is meant
        return math.isfinite(value) and low <= value <= high


def user_datasets(settings: Iterable[Settings]) -> tuple[UserDataset, ...]:
    """The users' data sets that these settings name, each once. DatasetNotFound if one is not here."""
    found = dict.fromkeys(one.user_dataset for one in settings)
    return tuple(one for one in found if one is not None)


def _parsed(text: str, kind: type) -> object:
    """The text as a str, int or float; None if it is not one."""
    try:
        return kind(text) if len(text) <= 40 else None
    except (ValueError, OverflowError):
        return None
