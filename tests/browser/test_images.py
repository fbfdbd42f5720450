"""The page of images in a real browser: training live, pictures and networks that come from outside."""

import io
import re
import zipfile
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from tests.browser.view import IMAGES, View, upload
from toydiff.experiments import checkpoint
from toydiff.text import words

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def dialog(view: View, button: str) -> object:
    view.page.get_by_test_id("stSidebar").get_by_role("button", name=button).click()
    box = view.page.get_by_role("dialog")
    box.wait_for()
    return box


def png(shade: int) -> bytes:
    pixels = np.full((20, 20), shade, np.uint8)
    pixels[:, 10:] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def own_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for shade in range(40, 250, 10):
            archive.writestr(f"{shade}.png", png(shade))
        archive.writestr("broken.png", b"no picture")
        archive.writestr("<b>a</b> [x](y).txt", b"hello")
    return buffer.getvalue()


def test_the_film_grows_while_it_trains_and_says_how_much_its_images_look_like_digits(visit):
    view = visit("images", IMAGES | {"image_batch": 64})
    view.until(lambda: view.step == 0, "the numbers")
    before = view.metric(words("images.sure"))
    assert re.fullmatch(r"\d+%", before)
    view.press(words("train.start"))
    view.until(lambda: view.last >= 2, "a film of three pictures")
    view.page.get_by_test_id("stBaseButton-primary").filter(has_text=words("train.pause")).click()  # not the film's
    view.until(lambda: view.page.get_by_role("button", name=words("train.resume")).count(), "a pause")
    assert view.step > 2
    assert re.fullmatch(r"\d+%", view.metric(words("images.sure")))
    view.healthy()


def test_own_pictures_from_a_zip_are_seen_then_used_in_the_dark_too(visit):
    view = visit("images", IMAGES, theme="dark")
    assert view.player("theme") == "dark"
    box = dialog(view, words("images.bring"))
    upload(box, "shades.zip", own_zip())
    box.get_by_role("button", name=words("images.use")).wait_for()
    assert box.get_by_test_id("stImage").locator("img").count() == 21
    assert words("images.skipped", n="2") in box.inner_text()
    listed = box.get_by_test_id("stText").inner_text().splitlines()
    reason = words("pictures.kind")
    assert listed == [f"‹b›a‹/b› (x)(y).txt: {reason}", f"broken.png: {reason}"]
    assert "image_data" not in parse_qs(urlsplit(view.page.url).query)  # nothing is used before one says so

    film = view.player("hash")
    box.get_by_role("button", name=words("images.use")).click()
    box.wait_for(state="detached")
    view.until(lambda: "image_data=own-" in view.page.url, "the pictures in the address")
    view.until(lambda: view.at_rest and view.player("hash") not in (None, film), "a film of the pictures")
    assert "shades" in view.page.get_by_test_id("stMain").inner_text()
    assert view.player("theme") == "dark"
    view.healthy()


def test_what_is_no_zip_is_explained_in_the_dialog(visit):
    view = visit("images", IMAGES)
    box = dialog(view, words("images.bring"))
    upload(box, "a.zip", b"no zip")
    box.get_by_text(words("pictures.not_a_zip")).wait_for()
    assert box.get_by_role("button", name=words("images.use")).count() == 0
    view.page.keyboard.press("Escape")
    box.wait_for(state="detached")
    view.healthy()


def test_a_network_is_kept_and_opened_again(visit):
    view = visit("images", IMAGES)
    for step in (1, 2):
        view.press(words("train.one"))
        view.until(lambda: view.at_rest and view.step == step, "a step")  # noqa: B023, it is asked at once
    kept = view.export(words("images.keep"), "SAFETENSORS")
    assert checkpoint.unpack(kept, "kept").state["step"] == 2
    view.press(words("train.reset"))
    view.until(lambda: view.at_rest and view.step == 0, "a fresh start")

    box = dialog(view, words("images.open"))
    upload(box, "kept.safetensors", kept[:-50])
    box.get_by_text(words("cli.foreign", file="kept.safetensors")).wait_for()
    assert view.step == 0
    upload(box, "kept.safetensors", kept)
    box.wait_for(state="detached")
    view.until(lambda: view.at_rest and view.step == 2, "the network of the file")
    view.press(words("train.one"))
    view.until(lambda: view.at_rest and view.step == 3, "one step more")
    view.healthy()
