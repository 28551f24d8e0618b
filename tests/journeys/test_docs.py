"""Each line for a shell in `docs/` is run, in order, against a product that was really started."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from api import state
from tests.background import PROJECT, started_product

BASH = "/bin/bash"
PAGES = sorted((PROJECT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# What is not good ends the script: a refusal, a field that an answer has not got, a stream that
# does not open. A stream that is open stays so until it has been followed for long enough.
STRICT = """
set -euo pipefail
curl() {
  case "$*" in
    */feed*) command curl --max-time 2 --fail-with-body "$@" || [ $? = 28 ] ;;
    *) command curl --max-time 20 --fail-with-body "$@"; echo ;;
  esac
}
"""
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not (Path(BASH).exists() and shutil.which("curl")), reason="the pages speak bash and curl"
    ),
]


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with started_product(tmp_path_factory.mktemp("docs")) as started:
        yield started


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_works(state_dir: Path, page: Path) -> None:
    blocks = BLOCK.findall(page.read_text())
    assert len(blocks) >= 5
    given = {"STATE_DIR": str(state_dir), "API": state.running(state_dir).api_url}
    ended = subprocess.run(
        [BASH, "-xc", STRICT + "\n".join(blocks)],
        cwd=PROJECT,
        env=os.environ | given | {"no_proxy": "*"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3_000:]
    feeds = sum(block.count('/feed"') for block in blocks)
    assert len(re.findall(r"^event: open$", ended.stdout, re.MULTILINE)) == feeds
