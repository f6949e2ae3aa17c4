"""How the package's own pages are made from their templates: escaped, and strict about what is missing."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import jinja2


def page_environment(folder: Path) -> jinja2.Environment:
    """Return what makes pages from the templates in a folder."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=8)
def page_template(file: Path) -> jinja2.Template:
    """Return the template in a file; what it includes stands beside it."""
    return page_environment(file.parent).get_template(file.name)
