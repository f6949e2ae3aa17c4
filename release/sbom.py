"""The software bill of materials of a release: what mailonce stands on, in the locked versions, as CycloneDX JSON.

Made from the lock file; licences, and who needs whom, are what the installed distributions say of themselves. So the same
lock, installed with the same Python on the same system, gives the same bytes. It names distributions by package URL, which
says what they are and not where somebody downloads them.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.hash.factories import HashTypeFactory
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release.lock import LOCK, Pin, pins

if TYPE_CHECKING:
    from cyclonedx.model.license import License

_OWN = "mailonce"


def main(arguments: list[str]) -> int:
    """Write the bill to the file that the argument names. :return: the exit code."""
    from mailonce import __version__

    (file,) = arguments
    text = bill(__version__, list(pins()), moment=_moment())
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(text, encoding="utf-8")
    print(f"{file}: {text.count('pkg:pypi/')} package URLs, valid CycloneDX 1.6")
    return 0


def bill(version: str, locked: list[Pin], *, moment: datetime) -> str:
    """Return the bill of one version, checked against the schema.

    :param moment: when the release was made.
    :raises ValueError: it would not be valid.
    """
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, f"{_OWN}@{version} {LOCK.read_text(encoding='utf-8')}"))
    bom.metadata.timestamp = moment
    own = Component(
        name=_OWN, version=version, type=ComponentType.LIBRARY, bom_ref=_OWN, purl=PackageURL("pypi", None, _OWN, version),
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
    )  # fmt: skip
    bom.metadata.component = own
    components = {(canonicalize_name(pin.name), pin.version): _component(pin) for pin in locked}
    bom.components.update(components.values())
    by_name: dict[str, list[Component]] = {}
    for (name, _), component in components.items():
        by_name.setdefault(name, []).append(component)
    bom.register_dependency(own, [each for name in _needs(_OWN) for each in by_name.get(name, [])])
    for (name, _), component in components.items():
        bom.register_dependency(component, [each for needed in _needs(name) for each in by_name.get(needed, [])])
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"the bill is not valid CycloneDX: {wrong}")
    return text + "\n"


def _component(pin: Pin) -> Component:
    name = canonicalize_name(pin.name)
    return Component(
        name=name,
        version=pin.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{name}@{pin.version}",
        purl=PackageURL("pypi", None, name, pin.version),
        hashes=[HashTypeFactory().from_composite_str(f"sha256:{value}") for value in pin.hashes],
        licenses=_licenses(pin),
        # On which Pythons and systems it is installed, where that is not everywhere.
        properties=[Property(name="mailonce:environment-marker", value=pin.where)] if pin.where else [],
    )


def _licenses(pin: Pin) -> list[License]:
    try:
        found = distribution(pin.name)
    except PackageNotFoundError:
        return []  # not for this system
    if found.version != pin.version:
        return []
    said = found.metadata
    stated = next((said[name] for name in ("License-Expression", "License") if name in said), "")
    # Some put the whole text there.
    return [LicenseFactory().make_from_string(stated)] if stated and len(stated) < 80 and "\n" not in stated else []


def _needs(name: str) -> list[str]:
    try:
        stated = distribution(name).requires or []
    except PackageNotFoundError:
        return []
    wanted = [Requirement(each) for each in stated]
    return [canonicalize_name(each.name) for each in wanted if not each.marker or "extra" not in str(each.marker)]


def _moment() -> datetime:
    return datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
