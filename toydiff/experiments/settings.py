"""What the settings of all experiments have in common: what they may be, and their way to a link and back."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, NamedTuple, Self

from toydiff.data import user_data
from toydiff.data.user_data import UserDataset


class Problem(NamedTuple):
    """A setting that could not be used, and why: `allowed` is what it may be."""

    name: str
    value: str
    allowed: str
    used: object


@dataclass(frozen=True)
class Settings:
    """Frozen and compared by value: a key for caches. ValueError for a value outside `choices` and `ranges`."""

    # what each field may be: names to choose from, or (lowest, highest)
    choices: ClassVar[Mapping[str, tuple[str, ...]]]
    ranges: ClassVar[Mapping[str, tuple[float, float]]]
    user_field: ClassVar[str]  # the field that may also be the key of data of one's own

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not self._fits(name, value):
                raise ValueError(f"{name} must be {self.allowed(name)}, not {value!r}")

    @property
    def user_dataset(self) -> UserDataset | None:
        """The user's data set that these settings name; None: a built-in one. DatasetNotFound if it is not here."""
        key = getattr(self, self.user_field)
        return user_data.find(key) if user_data.is_key(key) else None

    @classmethod
    def allowed(cls, name: str) -> str:
        """What a field may be, in words for a message: "10 ... 1000" or "spiral, moons, ..."."""
        if name in cls.choices:
            return ", ".join(cls.choices[name])
        low, high = (f"{end:,.6f}".rstrip("0").rstrip(".") for end in cls.ranges[name])
        return f"{low} … {high}"

    def to_params(self) -> dict[str, str]:
        """As URL parameters, or any other flat dict of strings."""
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> tuple[Self, list[Problem]]:
        """From such a dict. What cannot be used falls back to its default and is listed; unknown names are ignored."""
        good, problems = cls._read(params)
        return cls(**good), problems

    @classmethod
    def _read(cls, params: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
        """The fields that can be used, by name, and a problem for each of the others."""
        good: dict[str, Any] = {}
        problems = []
        for field in fields(cls):
            if field.name in params:
                value = _parsed(params[field.name], type(field.default))
                if cls._fits(field.name, value):
                    good[field.name] = value
                else:
                    text = params[field.name][:40]
                    problems.append(Problem(field.name, text, cls.allowed(field.name), field.default))
        return good, problems

    @classmethod
    def _fits(cls, name: str, value: object) -> bool:
        if name in cls.choices:
            return value in cls.choices[name] or (name == cls.user_field and user_data.is_key(value))
        low, high = cls.ranges[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, float) and not isinstance(getattr(cls, name), float):
            return False  # a whole number is meant
        return math.isfinite(value) and low <= value <= high


def user_datasets(settings: Iterable[Settings]) -> tuple[UserDataset, ...]:
    """The users' data sets that these settings name, each once. DatasetNotFound if one is not here."""
    found = dict.fromkeys(one.user_dataset for one in settings)
    return tuple(one for one in found if one is not None)


def usual_size(dataset: Callable[..., object]) -> int:
    """How many points or images a data set usually has: all of a user's, else the default of its parameter n."""
    if isinstance(dataset, UserDataset):
        return len(dataset)
    size: int = inspect.signature(dataset).parameters["n"].default
    return size


def _parsed(text: str, kind: type) -> object:
    """The text as a str, int or float; None if it is not one."""
    try:
        return kind(text) if len(text) <= 40 else None
    except (ValueError, OverflowError):
        return None
