"""The bill of materials: all that is locked, the same each time, and no places to download from."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone

import pytest

from release.lock import LOCK, ROOT, pins
from release.sbom import bill

MOMENT = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def text() -> str:
    return bill("1.2.3", list(pins()), moment=MOMENT)


def test_the_same_lock_gives_the_same_bytes(text: str) -> None:
    assert bill("1.2.3", list(pins()), moment=MOMENT) == text


def test_it_has_every_locked_distribution_with_all_its_hashes(text: str) -> None:
    found = {(one["name"], one["version"]): one for one in json.loads(text)["components"]}
    lines = re.sub(r"\\\n", " ", LOCK.read_text()).splitlines()
    assert len(found) == len(lines) > 100
    for line in lines:
        name, version = re.match(r"([\w.-]+)==(\S+)", line).groups()  # type: ignore[union-attr]
        component = found[name, version]
        assert component["purl"] == f"pkg:pypi/{name}@{version}"
        assert sorted(one["content"] for one in component["hashes"]) == sorted(re.findall(r"sha256:(\w+)", line))


def test_it_says_what_it_is_of_and_what_that_needs(text: str) -> None:
    told = json.loads(text)
    assert told["metadata"]["component"]["purl"] == "pkg:pypi/mailonce@1.2.3"
    needs = {one["ref"]: one.get("dependsOn", []) for one in told["dependencies"]}
    assert {each.partition("@")[0] for each in needs["mailonce"]} >= {"apache-airflow", "boto3", "psycopg", "jinja2"}


def test_it_names_no_place_to_download_from(text: str) -> None:
    assert set(re.findall(r"https?://[\w./-]+", text)) == {"http://cyclonedx.org/schema/bom-1.6.schema.json"}


def test_a_lock_without_hashes_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("lock") / "requirements.txt"
    file.write_text("jinja2==3.1.6\n")
    with pytest.raises(ValueError, match="jinja2 is not locked"):
        list(pins(file))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-oldest.txt"])
def test_every_lock_can_be_read_whole(name: str) -> None:
    assert len(list(pins(ROOT / name))) > 100
