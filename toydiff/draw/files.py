"""What there is to take home of a scene. matplotlib is loaded when it is first needed: it takes a second."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from toydiff.draw.scene import Scene


def gif(scene: Scene, **options: Any) -> Generator[float, None, bytes]:
    """`film.images` as a GIF; yields the share that is drawn."""
    from toydiff.draw import film
    from toydiff.draw.movie import Movie

    total, movie = len(film.spaced(len(scene.ticks))), Movie()
    for n, picture in enumerate(film.images(scene, **options), 1):
        movie.add(picture)
        yield n / total
    return movie.saved()


def strip(scene: Scene, **options: Any) -> bytes:
    """`film.strip`, a PNG."""
    from toydiff.draw import film

    return film.strip(scene, **options)


def numbers(scene: Scene) -> bytes:
    """`film.npz`."""
    from toydiff.draw import film

    return film.npz(scene)
