"""Image sets: what all of them promise, and that each is what its name says."""

import gzip
import hashlib
import http.client
import json
import math
import shutil
import socket
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from sklearn import datasets

from toydiff.data import images
from toydiff.data.images import DOWNLOAD_SECONDS, IMAGES, Images, NoNetwork, downloaded, moon, moon_phases
from toydiff.data.points import DATASETS

SHAPES = {
    "digits": (1, 8, 8),
    "moon-phases-16": (1, 16, 16),
    "moon-phases-32": (1, 32, 32),
    "moon-phases-16-gap": (1, 16, 16),
    "moon-phases-32-gap": (1, 32, 32),
    "two-pixel": (1, 1, 2),
    "mnist": (1, 28, 28),
    "fashion-mnist": (1, 28, 28),
}
TITLES = {"mnist": "mnist_784", "fashion-mnist": "Fashion-MNIST"}  # at openml.org
everyone = pytest.mark.parametrize("name", IMAGES)


def set_at_openml(title):
    """(60, 784) gray values and (60,) labels that stand in for those of the real set."""
    rng = np.random.default_rng(len(title))
    return rng.integers(0, 256, (60, 784)), rng.integers(0, 10, 60)


@pytest.fixture(scope="session")
def cache_of_scikit_learn(tmp_path_factory):
    """A folder as scikit-learn leaves it after it has downloaded both sets, only that they are smaller."""
    home = tmp_path_factory.mktemp("scikit_learn_data")
    for number, title in enumerate(TITLES.values(), start=1):
        gray, labels = set_at_openml(title)
        names = [f"pixel{i}" for i in range(784)]
        rows = [",".join(map(str, [*row, label])) for row, label in zip(gray, labels, strict=True)]
        kinds = [f"@ATTRIBUTE {name} REAL" for name in names] + ["@ATTRIBUTE class {0,1,2,3,4,5,6,7,8,9}"]
        arff = "\n".join([f"@RELATION {title}", *kinds, "@DATA", *rows]).encode()
        url = f"data/v1/download/{number}/{title}.arff"
        common = {"is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
        pixels = [
            {"index": str(i), "name": name, "data_type": "numeric", "is_target": "false", **common}
            for i, name in enumerate(names)
        ]
        label = {
            "index": "784",
            "name": "class",
            "data_type": "nominal",
            "nominal_value": list("0123456789"),
            "is_target": "true",
        }
        about = {"id": str(number), "name": title, "version": "1", "status": "active", "format": "ARFF"}
        answers = {
            f"data/list/data_name/{title.lower()}/limit/2/data_version/1": {"data": {"dataset": [{"did": number}]}},
            f"data/{number}": {
                "data_set_description": about
                | {"url": f"https://www.openml.org/{url}", "md5_checksum": hashlib.md5(arff).hexdigest()}
                | {"file_id": str(number), "description": "a stand-in"}
            },
            f"data/features/{number}": {"data_features": {"feature": [*pixels, label | common]}},
            f"data/qualities/{number}": {
                "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(len(rows))}]}
            },
        }
        files = {f"api/v1/json/{path}": json.dumps(answer).encode() for path, answer in answers.items()}
        for path, content in (files | {url: arff}).items():
            file = home / "openml" / "openml.org" / f"{path}.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(content))
    return home


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path, cache_of_scikit_learn):
    """Nothing here reaches the network, also where there is one; what was downloaded is a copy of the stand-ins."""

    def fail(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    home = tmp_path / "scikit_learn_data"
    shutil.copytree(cache_of_scikit_learn, home)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(home))
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    images._fetched.cache_clear()
    patience = socket.getdefaulttimeout()
    yield home
    socket.setdefaulttimeout(patience)
    images._fetched.cache_clear()


# what all promise


@everyone
@pytest.mark.parametrize("n", [3, 60])
def test_mean_is_0_and_variance_is_1(name, n):
    set_ = IMAGES[name](n, 7)
    assert set_.name == name
    assert set_.x.shape == (n, *SHAPES[name])
    assert set_.shape == SHAPES[name]
    assert set_.x.dtype == torch.float32
    assert set_.x.is_contiguous()
    assert set_.x.double().mean().abs() < 1e-5
    assert set_.x.double().var(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert set_.labels is None or set_.labels.shape == (n,)


@everyone
def test_a_seed_gives_one_set(name):
    state = torch.get_rng_state()
    one, same, other = (IMAGES[name](50, seed) for seed in (3, 3, 4))
    assert torch.equal(one.x, same.x)
    assert not torch.equal(one.x, other.x)
    if one.labels is not None:
        assert torch.equal(one.labels, same.labels)
    assert torch.equal(torch.get_rng_state(), state)


@everyone
@pytest.mark.parametrize("n", [-1, 0, 2, 70_001])
def test_a_wrong_number_of_images_is_refused(name, n, monkeypatch):
    monkeypatch.setattr(datasets, "fetch_openml", None)  # before anything is downloaded
    with pytest.raises(ValueError, match=r"between 3 and \d0,000"):
        IMAGES[name](n, 0)


@everyone
def test_pixels_show_what_was_standardized(name):
    set_ = IMAGES[name](40, 0)
    shown = set_.pixels(set_.x)
    assert shown.shape == (40, *SHAPES[name][1:])
    assert shown.dtype == np.uint8
    again = set_.scaled(torch.from_numpy(shown)[:, None] / 255)
    assert (again - set_.x).abs().max() <= 0.5001 / 255 / set_.scale  # half a step of gray
    assert np.ptp(shown) > 100


def test_pixels_of_any_tensor():
    brightness = torch.rand(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    set_ = Images.standardized("mine", brightness)
    assert set_.shape == (3, 4, 6)
    assert np.array_equal(set_.pixels(set_.x), (brightness * 255).round().byte().permute(0, 2, 3, 1).numpy())
    film = set_.x.expand(2, 5, 3, 4, 6)
    assert np.array_equal(set_.pixels(film)[1], set_.pixels(set_.x))
    assert set_.pixels(set_.x.bfloat16()).shape == (5, 4, 6, 3)

    extreme = torch.tensor([-1e30, -math.inf, math.nan, 0, math.inf, 1e30]).reshape(1, 1, 1, 6)
    assert set_.pixels(extreme).tolist() == [[[0, 0, 0, round(255 * set_.mean), 255, 255]]]


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_one_flat_gray_is_refused(value):
    with pytest.raises(ValueError, match="the same brightness"):
        Images.standardized("flat", torch.full((5, 1, 8, 8), value))


# digits


def test_digits_are_those_of_scikit_learn():
    set_ = IMAGES["digits"](1797, 5)
    ink = np.rint((set_.x.double().numpy() * set_.scale + set_.mean) * 16).astype(int).reshape(-1, 64)
    real, labels = datasets.load_digits(return_X_y=True)
    theirs = sorted((*row, label) for row, label in zip(real.astype(int).tolist(), labels.tolist(), strict=True))
    assert sorted((*row, label) for row, label in zip(ink.tolist(), set_.labels.tolist(), strict=True)) == theirs


def test_more_digits_than_there_are_is_all_of_them():
    assert len(IMAGES["digits"](5000, 0).x) == 1797


# the moon


def seen_from_earth(phase, side, tilt, radius, finer=24):
    """Another way to draw it: a ball in space, day where its surface looks towards the sun."""
    dots = (np.arange(finer * side) + 0.5) / (finer * side) - 0.5
    x, y = np.meshgrid(dots / radius, -dots / radius)
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0))  # towards us
    sun = np.array([math.sin(2 * math.pi * phase), 0, -math.cos(2 * math.pi * phase)])
    sun[:2] = sun[0] * math.cos(tilt), sun[0] * math.sin(tilt)
    day = (x**2 + y**2 < 1) & (sun[0] * x + sun[1] * y + sun[2] * z > 0)
    return day.reshape(side, finer, side, finer).mean((1, 3))


@pytest.mark.parametrize("side", [16, 32])
@pytest.mark.parametrize("phase", [0.02, 0.11, 0.25, 0.4, 0.5, 0.63, 0.75, 0.93])
@pytest.mark.parametrize(("tilt", "radius"), [(0.0, 0.39), (0.3, 0.35), (-0.2, 0.43)])
def test_the_moon_is_a_ball_in_the_light_of_the_sun(phase, side, tilt, radius):
    drawn = moon(phase, side, tilt, radius)[0, 0].numpy()
    difference = np.abs(drawn - seen_from_earth(phase, side, tilt, radius))
    assert difference.max() < 0.2
    assert difference.mean() < 0.004


@pytest.mark.parametrize("side", [16, 32])
@pytest.mark.parametrize("tilt", [0.0, 0.3, -0.17])
@pytest.mark.parametrize("radius", [0.35, 0.39, 0.43])
def test_the_lit_area_is_that_of_the_closed_form(side, tilt, radius):
    phase = torch.arange(200) / 200
    lit = moon(phase, side, tilt, radius).mean((1, 2, 3)) / (math.pi * radius**2)
    assert (lit - (1 - torch.cos(2 * math.pi * phase)) / 2).abs().max() < 0.005


def test_moons_have_soft_edges_and_a_dark_sky():
    full = moon(0.5, 32)
    assert full.min() == 0
    assert full.max() == pytest.approx(1, abs=1e-5)
    assert ((full > 0.05) & (full < 0.95)).sum() > 40
    assert full[0, 0, 0].max() == full[0, 0, :, 0].max() == 0  # no moon touches the edge of its picture
    assert moon(0.0, 32).abs().max() < 1e-4


@pytest.mark.parametrize("side", [16, 32])
def test_a_set_of_moons_goes_with_its_phases(side):
    set_ = moon_phases(1500, 2, side=side)
    phase = set_.labels
    assert 0 <= phase.min() <= phase.max() < 1
    assert kstest(phase.numpy(), "uniform").pvalue > 0.01
    brightness = set_.x * set_.scale + set_.mean
    lit = (1 - torch.cos(2 * math.pi * phase)) / 2 * math.pi
    area = brightness.mean((1, 2, 3))
    assert (area > lit * 0.35**2 - 0.005).all()
    assert (area < lit * 0.43**2 + 0.005).all()
    assert area[phase.sub(0.5).abs() < 0.02].std() > 0.02  # they differ in size
    right = brightness[..., side // 2 :].sum((1, 2, 3)) > brightness[..., : side // 2].sum((1, 2, 3))
    waxing, waning = (phase > 0.02) & (phase < 0.48), (phase > 0.52) & (phase < 0.98)
    assert right[waxing].all()
    assert not right[waning].any()
    edge = torch.cat([brightness[..., 0, :], brightness[..., -1, :], brightness[..., 0], brightness[..., -1]], -1)
    assert edge.abs().max() < 1e-5


@pytest.mark.parametrize("without", [(0.25, 0.5), (0.0, 0.5), (0.5, 1.0), (0.01, 0.99)])
def test_phases_left_out_are_left_out(without):
    low, high = without
    phase = IMAGES["moon-phases-16"](2000, 0, without=without).labels.double()
    assert not ((phase > low + 1e-6) & (phase < high - 1e-6)).any()
    closed = torch.where(phase > (low + high) / 2, phase - (high - low), phase) / (1 - (high - low))
    assert kstest(closed.numpy(), "uniform").pvalue > 0.01  # and nothing else is


def test_the_true_answer_is_in_the_scale_of_the_set():
    set_ = IMAGES["moon-phases-16"](50, 0, without=(0.25, 0.5))
    answer = moon(0.375, 16)
    assert np.array_equal(set_.pixels(set_.scaled(answer)), (answer * 255).round().byte().squeeze(1).numpy())


@pytest.mark.parametrize(
    "without", [(0.5, 0.25), (0.3, 0.3), (0.0, 1.0), (-0.1, 0.5), (0.5, 1.1), (math.nan, 0.5), (0.2, math.inf)]
)
def test_phases_that_cannot_be_left_out(without):
    with pytest.raises(ValueError, match="without must be two phases"):
        IMAGES["moon-phases-16"](50, 0, without=without)


# two pixels


@pytest.mark.parametrize("cloud", DATASETS)
def test_two_pixel_images_are_the_cloud(cloud):
    set_ = IMAGES["two-pixel"](500, 3, cloud=cloud)
    points = DATASETS[cloud](500, 3)
    assert torch.equal(set_.x.flatten(1), points)
    left, right = set_.pixels(set_.x).reshape(500, 2).T.astype(float)
    assert np.abs(left - (points[:, 0].numpy() + 3) / 6 * 255).max() <= 0.501  # nothing is cut off
    assert np.abs(right - (points[:, 1].numpy() + 3) / 6 * 255).max() <= 0.501


def test_two_pixels_of_more_points_than_a_cloud_has():
    with pytest.raises(ValueError, match="between 3 and 10,000"):
        IMAGES["two-pixel"](10_001, 0)


# from openml.org


@pytest.mark.parametrize("name", TITLES)
def test_downloaded_images(name):
    gray, labels = set_at_openml(TITLES[name])
    set_ = IMAGES[name](70_000, 1)  # all there are
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    assert np.array_equal(set_.pixels(set_.x).reshape(60, 784), gray[order])
    assert set_.labels.tolist() == labels[order].tolist()
    assert set_.labels.dtype == torch.int64


def test_a_set_is_read_once(no_network):
    first = IMAGES["mnist"](50, 0)
    shutil.rmtree(no_network)
    assert torch.equal(IMAGES["mnist"](50, 0).x, first.x)


def test_who_asks_second_waits_for_the_first(monkeypatch):
    real, calls = datasets.fetch_openml, []

    def counted(*args, **kwargs):
        calls.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(datasets, "fetch_openml", counted)
    with ThreadPoolExecutor(4) as pool:
        sets = list(pool.map(lambda seed: downloaded("MNIST_784", 60, seed), range(4)))
    assert len(sets) == 4
    assert len(calls) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:A network error")
@pytest.mark.parametrize(("name", "title"), [("mnist", "MNIST"), ("fashion-mnist", "Fashion-MNIST")])
def test_without_a_network_there_is_a_sentence_and_the_digits_stay(name, title, no_network):
    shutil.rmtree(no_network)
    with pytest.raises(NoNetwork) as caught:
        IMAGES[name](100, 0)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).startswith(f"{title} has to be downloaded from openml.org once")
    assert "Errno" not in str(caught.value)
    assert IMAGES["digits"](100, 0).x.shape == (100, 1, 8, 8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Invalid cache", "ignore:A network error")
def test_a_damaged_download_without_a_network(no_network):
    (file,) = no_network.rglob("mnist_784.arff.gz")
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(NoNetwork):
        IMAGES["mnist"](50, 0)


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route"),
        urllib.error.HTTPError("https://www.openml.org", 503, "busy", {}, None),
        TimeoutError("timed out"),
        ConnectionResetError("reset"),
        http.client.IncompleteRead(b""),
        EOFError("ended early"),
        PermissionError("no place to keep it"),
        ValueError("md5 checksum of local file does not match"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_goes_wrong_on_the_way(error, monkeypatch):
    def fail(*args, **kwargs):
        assert socket.getdefaulttimeout() == DOWNLOAD_SECONDS
        raise error

    socket.setdefaulttimeout(7)
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "fetch_openml", fail)
        with pytest.raises(NoNetwork) as caught:
            downloaded("MNIST_784", 50)
    assert caught.value.__cause__ is error
    assert socket.getdefaulttimeout() == 7
    assert len(downloaded("MNIST_784", 50).x) == 50  # and the next try may go well
