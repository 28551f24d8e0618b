"""The documentation page's script shows every operation. Needs Node.js, which runs it."""

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.operations import documented, operations

PAGE = Path(__file__).parents[2] / "api" / "docs.html"
NODE = shutil.which("node")

BROWSER = """
class Element {
  constructor(tag) { this.tag = tag; this.childNodes = []; }
  append(...more) { this.childNodes.push(...more); }
  addEventListener() {}
  querySelectorAll() { return []; }
  text() {
    const inner = this.childNodes.map((each) => each.text?.() ?? String(each));
    return [this.textContent ?? "", this.value ?? "", ...inner].join("\\n");
  }
}
const byIds = {};
globalThis.document = {
  createElement: (tag) => new Element(tag),
  getElementById: (id) => (byIds[id] ??= new Element("div")),
};
globalThis.sessionStorage = { getItem: () => "", setItem() {} };
globalThis.location = { hash: "", origin: "http://mostrador" };
globalThis.fetch = async () => ({
  json: async () => JSON.parse(require("fs").readFileSync("document.json")),
});
setTimeout(() => console.log(JSON.stringify({
  operations: byIds.operations.childNodes.length,
  problems: byIds.problems.childNodes.length,
  text: byIds.operations.text(),
})), 200);
"""


@pytest.mark.skipif(
    NODE is None, reason="Node.js is not installed, so the page's script is not run"
)
def test_every_operation_is_shown_with_what_can_be_sent(tmp_path: Path) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", PAGE.read_text(), re.DOTALL)
    (tmp_path / "document.json").write_bytes(msgspec.json.encode(documented()))
    (tmp_path / "page.js").write_text(BROWSER + script.replace('"use strict";', ""))
    assert NODE is not None
    ran = subprocess.run(
        [NODE, "page.js"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    page = msgspec.json.decode(ran.stdout)
    assert page["operations"] == len(operations())
    assert page["problems"] > 40
    assert "undefined" not in page["text"]
    for each in operations():
        assert each.path in page["text"]
