"""What the settings of all experiments have in common: checks, and their way to a link and back. What each setting may
be stands beside it in `experiment.py` and `image_experiment.py`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self

from toydiff.data import user_data
from toydiff.data.user_data import UserDataset

VERSION = "v"  # the URL parameter that says which defaults a link was made with


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
    version: ClassVar[int] = 1  # of the defaults
    # of each version before this one: the defaults that were others than today's
    old_defaults: ClassVar[Mapping[int, Mapping[str, Any]]] = MappingProxyType({})

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
        """As URL parameters, or any other flat dict of strings, with the version of the defaults."""
        return {VERSION: str(self.version)} | {name: str(value) for name, value in asdict(self).items()}

    def changed_params(self) -> dict[str, str]:
        """The same, only what differs from the defaults; nothing at all if nothing does."""
        usual = type(self)().to_params()
        changed = {name: value for name, value in self.to_params().items() if value != usual[name]}
        return {VERSION: usual[VERSION]} | changed if changed else {}

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> tuple[Self, list[Problem]]:
        """From such a dict. What is missing has the default of the version that the dict names, or of the first one if
        it names none but has settings. What cannot be used has that default too, and is listed; unknown names are
        ignored."""
        problems = []
        version = cls.version
        if any(name in params for name in cls.__dataclass_fields__):
            found = _parsed(params.get(VERSION, "1"), int)
            if isinstance(found, int) and 1 <= found <= cls.version:
                version = found
            else:
                problems.append(Problem(VERSION, params[VERSION][:40], f"1 … {cls.version}", cls.version))
        good: dict[str, Any] = {one.name: one.default for one in fields(cls)} | dict(cls.old_defaults.get(version, {}))
        usual = dict(good)
        for name in good:
            if name in params:
                value = _parsed(params[name], type(usual[name]))
                if cls._fits(name, value):
                    good[name] = value
                else:
                    problems.append(Problem(name, params[name][:40], cls.allowed(name), usual[name]))
        for name, limit in cls.limited().items():
            if good[name] > good[limit]:
                problems.append(Problem(name, str(good[name]), f"0 … {good[limit]}", usual[name]))
                good[name] = usual[name]
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
