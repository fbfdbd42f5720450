"""The command `toydiff`, or `python -m toydiff`. The app from any folder: toydiff app
Films: toydiff gif --dataset spiral --sampler mean-only --out spiral.gif
Training on images, see train_images.py: toydiff train-images --data digits --out digits.safetensors"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import torch

from toydiff.cli.train_images import add_train_images, bar, leave
from toydiff.diffusion.samplers import WAYS
from toydiff.experiments.experiment import Experiment
from toydiff.text import APP, words

GIF_FIELDS = (
    "points",
    "schedule",
    "T",
    "strength",
    "steps",
    "particles",
    "seed",
    "width",
    "depth",
    "features",
    "batch",
    "lr",
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 2 with a sentence about what to change, 130 after Ctrl-C."""
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    options.more = more
    if options.more and options.run is not _app:  # which hands them on
        parser.error(words("cli.unknown", options=" ".join(options.more)))
    try:
        if "out" in options and not options.out.parent.is_dir():
            raise ValueError(words("cli.no_folder", folder=options.out.parent))
        return options.run(options)
    except (ValueError, OSError) as error:
        if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun starts, one prints
            print(f"toydiff: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run() -> None:
    """The way in from a terminal."""
    leave(main())


def _app(options: argparse.Namespace) -> int:
    """Streamlit, in this process, as if it had been called by `streamlit run`."""
    sys.argv = ["streamlit", "run", str(APP / "app.py"), *options.more]
    runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
    return 0


def _gif(options: argparse.Namespace) -> int:
    chosen = {name: getattr(options, name) for name in ("dataset", "trained", *GIF_FIELDS)}
    experiment = Experiment(**{name: value for name, value in chosen.items() if value is not None})
    if options.points is None:
        experiment = replace(experiment, points=experiment.usual_size)
    _film(experiment, options.sampler, options.out, options.theme)
    return 0


def _film(experiment: Experiment, ways: list[str], out: Path, theme: str) -> None:
    from toydiff.draw import film  # matplotlib takes a second to load: not for --help
    from toydiff.draw.scenes import reverse_scene

    torch.set_num_threads(1)
    if experiment.trained:
        trainer = experiment.trainer()
        while trainer.step < experiment.trained and trainer.diverged_at is None:
            trainer.advance(min(100, experiment.trained - trainer.step))
            bar(words("cli.training"), trainer.step, experiment.trained)
        if trainer.diverged_at is not None:
            raise ValueError(words("cli.diverged", step=trainer.diverged_at + 1))
        model, made_by = trainer.predictor, words("page.network", steps=f"{trainer.step:,}")
    else:
        model, made_by = experiment.exact(), words("page.exact")
    scene = reverse_scene(experiment, model, made_by, ways)
    pictures, total = [], len(film.spaced(len(scene.ticks)))
    for picture in film.images(scene, theme=theme):
        pictures.append(picture)
        bar(words("cli.drawing"), len(pictures), total)
    _write(out, film.gif(pictures))
    print(words("cli.done", file=out, megabytes=f"{out.stat().st_size / 1e6:.1f}", frames=total))


def _write(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: an older file stays. ValueError, with a sentence, if there is no room."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ValueError(words("bounds.disk", file=path, reason=error.strerror)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("toydiff", description=words("cli.about"))
    commands = parser.add_subparsers(required=True, metavar="command")
    app = commands.add_parser("app", help=words("cli.app"), description=words("cli.app_more"), usage="toydiff app ...")
    app.set_defaults(run=_app)
    add_train_images(commands)
    gif = commands.add_parser(
        "gif",
        help=words("cli.gif"),
        description=words("cli.gif"),
        epilog=words("cli.examples"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    gif.set_defaults(run=_gif)
    default = Experiment()
    gif.add_argument(
        "--dataset", choices=Experiment.choices()["dataset"], default=default.dataset, help=words("help.dataset")
    )
    gif.add_argument(
        "--sampler", nargs="+", choices=tuple(WAYS), default=["ddpm"], metavar="NAME",
        help=words("cli.sampler", names=", ".join(WAYS)),
    )  # fmt: skip
    gif.add_argument("--out", type=Path, default=Path("toydiff.gif"), metavar="FILE", help=words("cli.out"))
    gif.add_argument("--theme", choices=("light", "dark"), default="light", help=words("cli.theme"))
    gif.add_argument(
        "--trained", type=int, metavar="STEPS", help=words("cli.trained", range=Experiment.allowed("trained"))
    )
    choices = Experiment.choices()
    for name in GIF_FIELDS:
        kind = type(getattr(default, name))
        usual = words("cli.default", value=getattr(default, name))
        gif.add_argument(
            f"--{name}", type=kind, choices=choices.get(name), metavar=None if name in choices else "N",
            help=f"{words(f'help.{name}')} {usual}".replace("%", "%%"),
        )  # fmt: skip
    return parser
