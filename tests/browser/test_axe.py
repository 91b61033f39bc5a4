"""axe-core finds no serious fault on any page of the book, light or dark.

The script is not part of the repository: AXE=/path/to/axe.min.js names one, else npm fetches it.
"""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from test_book import PAGES, SITE

GRAVE = """async () => (await axe.run()).violations.filter((found) => ["serious", "critical"].includes(found.impact))
    .flatMap((found) => found.nodes.map((node) => `${found.id}: ${node.target} ${node.html.slice(0, 200)}`))"""
SETTLED = "() => ![...document.querySelectorAll('.lottery [role=status]')].some((line) => !line.textContent)"


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    if "AXE" in os.environ:
        return Path(os.environ["AXE"]).read_text(encoding="utf-8")
    if shutil.which("npm") is None:
        pytest.skip("no axe-core: install npm, or name the script by AXE=/path/to/axe.min.js")
    folder = tmp_path_factory.mktemp("axe")
    fetched = subprocess.run(["npm", "pack", "axe-core@4"], cwd=folder, capture_output=True, text=True, check=False)
    if fetched.returncode:
        pytest.skip("npm could not fetch axe-core: is the network there?")
    with tarfile.open(next(folder.glob("axe-core-*.tgz"))) as package:
        return package.extractfile("package/axe.min.js").read().decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_no_serious_fault(open_page, axe, name, scheme):
    page, _ = open_page(SITE / name, scheme, width=1280)
    page.wait_for_function(SETTLED)
    page.evaluate(axe)
    assert page.evaluate(GRAVE) == []


def test_a_serious_fault_is_found(open_page, axe, tmp_path):
    (tmp_path / "x.html").write_text('<!doctype html><html lang="en"><title>x</title><main><h1>x</h1><button></button>')
    page, _ = open_page(tmp_path / "x.html")
    page.evaluate(axe)
    assert [fault.split(":")[0] for fault in page.evaluate(GRAVE)] == ["button-name"]
