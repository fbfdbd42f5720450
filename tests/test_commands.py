"""Training from a terminal: to the end, through Ctrl-C and a kill, and shared by two processes."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.test_checkpoint import alike
from tests.waiting import wait_for
from toydiff.cli import train_images
from toydiff.cli.main import main
from toydiff.data import images
from toydiff.diffusion.trainer import Trainer
from toydiff.experiments import checkpoint
from toydiff.experiments.image_experiment import ImageExperiment

ROOT = Path(__file__).resolve().parent.parent
tiny = ImageExperiment("two-pixel", network="dit", batch=8, n=50)
CHOSEN = {"data": "two-pixel", "network": "dit", "batch": 8, "images": 50, "device": "cpu"}
TINY = ["train-images", "--no-bf16", *(f"--{name}={value}" for name, value in CHOSEN.items())]


def trained(steps, experiment=tiny):
    it = experiment.trainer(bf16=False)
    it.advance(steps)
    return it


def start(*arguments, out, **options):
    """`python -m toydiff` in a process of its own, on one thread."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments, "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def test_in_two_parts_or_in_one(tmp_path, capsys):
    out = tmp_path / "it.safetensors"
    assert main([*TINY, "--steps", "7", "--out", str(out)]) == 0
    assert f"{out}: 7 steps, loss 0." in capsys.readouterr().out
    assert main([*TINY, "--steps", "12", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{out} has 7 steps: the training goes on from there." in said and ": 12 steps, loss 0." in said
    assert alike(checkpoint.load(out).trainer(bf16=False), trained(12))
    before = out.read_bytes(), out.stat().st_mtime_ns
    assert main([*TINY, "--steps", "10", "--out", str(out)]) == 0  # there already
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before


@pytest.mark.slow
def test_a_kill_changes_nothing(tmp_path):
    """Every look at the file while it is written finds a whole one; and the training goes on from the last."""
    out = tmp_path / "it.safetensors"
    process = start("toydiff", *TINY, "--steps", "10000000", "--save-every", "0", out=out)

    def has_steps() -> bool:
        assert process.poll() is None, process.communicate()[0]
        return out.exists() and checkpoint.load(out).state["step"] > 1

    wait_for(has_steps, "a file with steps")
    process.kill()  # SIGKILL, in the middle of whatever it was doing
    process.communicate()
    killed = checkpoint.load(out).state["step"]
    assert main([*TINY, "--steps", str(killed + 5), "--out", str(out)]) == 0
    assert alike(checkpoint.load(out).trainer(bf16=False), trained(killed + 5))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, capsys, monkeypatch, number, status):
    out, usual = tmp_path / "it.safetensors", signal.getsignal(number)

    def interrupted(self, *args, real=Trainer._guess):
        if self.step == 4:
            signal.raise_signal(number)  # in the middle of a step
        return real(self, *args)

    monkeypatch.setattr(Trainer, "_guess", interrupted)
    assert main([*TINY, "--steps", "100000", "--out", str(out)]) == status
    stopped = checkpoint.load(out).state["step"]
    assert stopped >= 5
    said = f"Stopped. {out} has {stopped:,} steps, and the same command goes on from there.\n"
    assert capsys.readouterr().out == said
    assert signal.getsignal(number) == usual
    monkeypatch.undo()
    assert main([*TINY, "--steps", str(stopped + 5), "--out", str(out)]) == 0
    assert alike(checkpoint.load(out).trainer(bf16=False), trained(stopped + 5))


def test_the_second_ctrl_c_does_not_wait(tmp_path, monkeypatch):
    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    monkeypatch.setattr(Trainer, "_guess", interrupted)
    assert main([*TINY, "--out", str(tmp_path / "it")]) == 130


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """The same losses and weights, to rounding; a batch shared out wrongly would show from the first step on."""
    out = tmp_path / "it.safetensors"
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "toydiff")
    digits = replace(tiny, data="digits")
    checkpoint.save(out, trained(3, digits), digits)
    cpu = ("--device", "cpu")  # where there is a GPU too, there may be one only
    process = start(*torchrun, *TINY, *cpu, "--data", "digits", "--steps", "15", out=out)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert said.count("has 3 steps: the training goes on from there") == said.count("processes: 2") == 1
    two = checkpoint.load(out).trainer(bf16=False)
    one, before = trained(15, digits), trained(3, digits)
    assert two.step == 15
    assert torch.equal(two.losses[:3], one.losses[:3])
    assert torch.allclose(two.losses, one.losses, rtol=1e-4)
    parts = [torch.cat([p.detach().flatten() for p in it.model.parameters()]) for it in (two, one, before)]
    assert (parts[0] - parts[1]).norm() < 1e-3 * (parts[1] - parts[2]).norm()
    averages = [torch.cat([p.flatten() for p in it.predictor.parameters()]) for it in (two, one, before)]
    assert (averages[0] - averages[1]).norm() < 1e-3 * (averages[1] - averages[2]).norm()


@pytest.mark.slow
@pytest.mark.parametrize(("together", "said"), [(True, "ready\n"), (False, "ready\ntaken apart\n")])
def test_processes_that_trained_together_take_nothing_apart(together, said):
    """Threads of gloo's own would abort them."""
    code = f"""
import atexit
from toydiff.cli import train_images
atexit.register(print, "taken apart")
train_images._groups.extend([None] * {together})
print("ready")
train_images.leave(3)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, said)


def refused(capsys, *arguments):
    """The sentence with which it is."""
    assert main([*TINY, *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--steps", "0"], "--steps must be at least 1, not 0"),
        (["--save-every", "-1"], "--save-every must be 0 to 3,600 seconds, not -1.0"),
        (["--save-every", "nan"], "--save-every must be 0 to 3,600 seconds, not nan"),
        (["--batch", "1"], "batch must be 2 … 4,096, not 1"),
        (["--T", "5"], "T must be 10 … 1,000, not 5"),
        (["--images", "2"], "n must be 3 … 70,000, not 2"),
        (["--out", "no/such/folder/file"], "there is no folder no/such/folder"),
        (["--out", str(ROOT)], "Is a directory"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(capsys, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(capsys, *arguments)
    assert os.listdir(tmp_path) == []


def test_another_training_or_no_training_is_left_alone(tmp_path, capsys):
    out = tmp_path / "it"
    checkpoint.save(out, trained(1), tiny)
    for content, sentence in [
        (out.read_bytes(), "holds another training (--batch 8, --lr 0.004): ask for the same one"),
        (out.read_bytes()[:-5], "it was not made by this app, or a part of it is missing"),
        (out.read_bytes()[:-5] + b"12345", "it is damaged"),
        (b"my diary", "it was not made by this app"),
    ]:
        out.write_bytes(content)
        assert sentence in refused(capsys, "--batch", "16", "--lr", "0.01", "--out", str(out))
        assert out.read_bytes() == content


def test_an_explosion_is_a_sentence_and_is_not_kept(tmp_path, capsys):
    out = tmp_path / "it"
    said = refused(capsys, "--lr", "1000", "--steps", "300", "--save-every", "0", "--out", str(out))
    assert "the loss exploded at step " in said and "choose a smaller --lr and another --out" in said
    assert not out.exists() or checkpoint.load(out).state["diverged_at"] is None


def test_a_graphics_card_that_is_too_small_or_not_there(tmp_path, capsys, monkeypatch):
    out = tmp_path / "it"
    checkpoint.save(out, trained(1), tiny)
    before = out.read_bytes()

    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Trainer, "advance", full)
    assert main([*TINY, "--out", str(out)]) == 2
    assert "the GPU's memory is too small for --batch 8 with --size small" in capsys.readouterr().err
    assert out.read_bytes() == before
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert "CUDA GPUs on this machine: 0. Choose --device cpu" in refused(capsys, "--device", "cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert "choose --device cpu" in refused(capsys, "--device", "mps")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_more_processes_than_graphics_cards(tmp_path, capsys, monkeypatch, rank):
    """The first process has one, and still has to say why the second cannot train."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank}.items():
        monkeypatch.setenv(name, value)
    assert main([*TINY, "--device", "cuda", "--out", str(tmp_path / "it")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("toydiff: CUDA GPUs on this machine: 1. ") if rank == "0" else said == ""


def test_data_that_cannot_be_had(capsys, monkeypatch, tmp_path):
    def unreachable(n=10, seed=0):
        raise images.NoNetwork("no way to openml.org")

    monkeypatch.setitem(images.IMAGES, "mnist", unreachable)
    monkeypatch.chdir(tmp_path)
    assert "no way to openml.org" in refused(capsys, "--data", "mnist")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_batch_that_cannot_be_shared_out(capsys, monkeypatch, tmp_path, rank):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", rank)
    assert main([*TINY, "--out", str(tmp_path / "it")]) == 2
    said = capsys.readouterr().err
    sentence = "toydiff: a batch of 8 cannot be shared out evenly over 3 processes: choose a --batch that 3 divides\n"
    assert said == (sentence if rank == "0" else "")  # one is enough to say it


def test_what_the_help_promises_is_what_it_does(capsys):
    with pytest.raises(SystemExit) as end:
        main(["train-images", "--help"])
    assert end.value.code == 0
    assert train_images.SAVE_EVERY == 10
    assert "loses at most 10 seconds of it" in capsys.readouterr().out.replace("\n", " ")


def test_the_file_is_written_in_time(tmp_path, monkeypatch):
    """By a clock of our own, on which a step takes 3 seconds and writing 1: the next step must not end too late."""
    clock, written = [0.0], []

    def step(self, n, real=Trainer.advance):
        real(self, n)
        clock[0] += 3 * n

    def write(path, trainer, experiment):
        written.append(clock[0])
        clock[0] += 1

    monkeypatch.setattr(train_images.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(Trainer, "advance", step)
    monkeypatch.setattr(checkpoint, "save", write)
    assert main([*TINY, "--steps", "30", "--out", str(tmp_path / "it")]) == 0
    assert len(written) > 5
    for before, after in zip([-1.0, *written], written, strict=False):
        assert after + 1 - max(before, 0) <= 10  # what is lost if it is killed just before it has been written


def test_films_are_made_as_before(tmp_path, capsys):
    out = tmp_path / "a.gif"
    assert main(["gif", "--T", "10", "--particles", "3", "--points", "20", "--trained", "2", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"GIF89a")
    assert f"{out}: " in capsys.readouterr().out
    assert main(["gif", "--T", "5", "--out", str(out)]) == 2
    assert "T must be 10 … 1,000, not 5" in capsys.readouterr().err


def test_a_bar_is_for_those_who_watch(capsys, monkeypatch):
    train_images.bar("training", 5, 10)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for done in (5, 10):
        train_images.bar("training", done, 10)
    first, second = capsys.readouterr().err.split("\r")[1:]
    assert first.count("█") == 15 and second.count("█") == 30
    assert second.endswith("10 / 10\n")
