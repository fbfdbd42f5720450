"""ES modules as one script: everything that is imported is there, once, after what it needs."""

import re

import pytest

from toydiff.components.bundle import COMPONENTS, bundled, component


@pytest.fixture
def written(tmp_path):
    def write(**modules):
        for name, text in modules.items():
            (tmp_path / f"{name}.js").write_text(text, "utf-8")
        return tmp_path / "entry.js"

    return write


def test_what_is_needed_comes_first_and_once(written):
    entry = written(
        entry='// said\nimport { a } from "./a.js";\nimport { b, c } from "./b.js";\n\nexport default [a, b, c];\n',
        a='import { c } from "./b.js";\nexport const a = c;\n',
        b="const hidden = 1;\nexport const b = hidden;\nexport async function c() {}\n",
    )
    first = "const hidden = 1;\nconst b = hidden;\nasync function c() {}\n"
    assert bundled(entry) == f"{first}\nconst a = c;\n\n// said\n\nexport default [a, b, c];\n"


def test_modules_may_import_each_other_in_a_circle(written):
    entry = written(
        entry='import { a } from "./a.js";\nexport default a;\n',
        a='import { b } from "./b.js";\nexport function a() {\n  return b;\n}\n',
        b='import { a } from "./a.js";\nexport function b() {\n  return a;\n}\n',
    )
    assert re.findall(r"function (\w)", bundled(entry)) == ["b", "a"]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ('import { missing } from "./a.js";\n', "entry.js imports missing, which a.js does not export"),
        ('import { hidden } from "./a.js";\n', "entry.js imports hidden, which a.js does not export"),
        ('import { a } from "./a.js";\nconst hidden = 2;\n', "a.js and entry.js both declare hidden"),
        ('import { a } from "./a.js";\nconst [x, hidden] = [1, 2];\n', "a.js and entry.js both declare hidden"),
        ('import a from "./a.js";\n', "entry.js has an import that is not of the form"),
        ('import * as a from "./a.js";\n', "entry.js has an import that is not of the form"),
        ('import { a } from "elsewhere";\n', "entry.js has an import that is not of the form"),
        ('export { a } from "./a.js";\n', "entry.js has an import that is not of the form"),
    ],
)
def test_what_would_not_run_is_refused_with_a_sentence(written, entry, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        bundled(written(entry=entry, a="const hidden = 1;\nexport const a = hidden;\n"))


@pytest.mark.parametrize("name", ["player", "canvas", "tab"])
def test_a_component_is_one_module_with_all_its_files(name):
    script = component(name).js
    assert len(re.findall(r"^export ", script, re.MULTILINE)) == len(re.findall(r"^export default ", script, re.M)) == 1
    assert not re.search(r"^import ", script, re.MULTILINE)
    for path in (COMPONENTS / name).glob("*.js"):
        longest = max(path.read_text("utf-8").splitlines(), key=len)
        assert script.count(longest) >= 1, f"{path.name} is in no script"
