"""The documentation site: what its hook makes of the documents. That no link leads nowhere is tried by `make site`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


@pytest.fixture
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hook", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_document_is_a_page_and_stands_in_the_navigation(site: Path) -> None:
    start = (site / "docs" / "index.html").read_text()
    for document in (ROOT / "docs").glob("*.md"):
        assert (site / "docs" / f"{document.stem}.html").is_file()
        assert f'href="{document.stem}.html" class="md-nav__link' in start or document.stem == "index"
    assert 'href="../CONTRIBUTING.html" class="md-nav__link' in start


def test_what_the_documents_link_to_outside_their_folder_is_there(site: Path) -> None:
    protocol = (site / "docs" / "protocol.html").read_text()
    assert 'href="../plugins/mailonce/protocol.py.txt"' in protocol
    assert (site / "plugins/mailonce/protocol.py.txt").read_text() == (
        ROOT / "plugins/mailonce/protocol.py"
    ).read_text()


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert 'src="http' not in text
        assert not [line for line in text.splitlines() if "<link" in line and 'href="http' in line]


def test_a_link_that_leads_nowhere_fails_it(tmp_path: Path) -> None:
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path))
    config.plugins.events["page_markdown"].append(
        lambda markdown, **_: f"{markdown}\n[x](protocol.md#no-such-heading)\n"
    )
    with pytest.raises(Abort, match="warnings in strict mode"):
        build(config)


def test_what_stands_within_a_list_stays_in_it(hook: ModuleType) -> None:
    text = "1. one\n\n   ```sh\n   - a\n     b\n   ```\n2. two\n\n- three\n\n  more\n\n  - four\n\n```sh\n  c\n```\n"
    shown = "1. one\n\n    ```sh\n    - a\n      b\n    ```\n\n2. two\n\n- three\n\n    more\n\n    - four\n\n```sh\n  c\n```\n"
    assert hook.on_page_markdown(text) == shown


def test_an_item_after_one_of_several_paragraphs_is_an_item(hook: ModuleType) -> None:
    assert hook.on_page_markdown("1. one\n\n   more\n2. two\n3. three\n") == "1. one\n\n    more\n\n2. two\n3. three\n"
