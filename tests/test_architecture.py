"""The rules of the package's structure, checked against its source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[1] / "plugins"
MODULES = sorted((PLUGINS / "mailonce").rglob("*.py"))
CORE = ("protocol", "ledgers", "providers", "messages", "keys", "states", "delivery", "errors", "batch", "period",
        "clock", "receipts", "pace", "rate", "metrics")  # fmt: skip
"""What knows nothing of Airflow, so that it can be used, tested and understood without."""

MOST_LINES = 300


def name_of(module: Path) -> str:
    return ".".join(module.relative_to(PLUGINS).with_suffix("").parts).removesuffix(".__init__")


NAMES = frozenset(map(name_of, MODULES))


def imports(module: Path, *, typing_too: bool = True) -> Iterator[str]:
    """Yield the full name of everything a module imports, wherever in it."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    skipped = set() if typing_too else {
        id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }  # fmt: skip
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in NAMES else str(node.module) for name in names)


def belongs_to(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


IN_CORE = [module for module in MODULES if any(belongs_to(name_of(module), f"mailonce.{part}") for part in CORE)]


def test_every_part_of_the_core_is_there() -> None:
    for part in CORE:
        assert any(belongs_to(name_of(module), f"mailonce.{part}") for module in IN_CORE), part


@pytest.mark.parametrize("module", IN_CORE, ids=name_of)
def test_the_core_knows_nothing_of_airflow(module: Path) -> None:
    strangers = ("airflow", "mailonce.workflow", "mailonce.operators")
    assert not [name for name in imports(module) for stranger in strangers if belongs_to(name, stranger)]


@pytest.mark.parametrize(
    "name", ["protocol", "batch", "pace", "rate", "delivery", "states", "errors", "receipts", "keys"]
)
def test_the_protocol_knows_no_provider_and_no_database(name: str) -> None:
    strangers = ("boto3", "botocore", "psycopg", "psycopg_pool", "sqlite3", "jinja2", "mailonce.ledgers.postgres",
                 "mailonce.ledgers.dynamodb", "mailonce.providers.ses", "mailonce.providers.ses_failures")  # fmt: skip
    found = imports(PLUGINS / "mailonce" / f"{name}.py")
    assert not [each for each in found for stranger in strangers if belongs_to(each, stranger)]


@pytest.mark.parametrize("kind", ["ledgers", "providers"])
def test_ledgers_and_providers_know_nothing_of_each_other(kind: str) -> None:
    other = {"ledgers": "mailonce.providers", "providers": "mailonce.ledgers"}[kind]
    for module in (PLUGINS / "mailonce" / kind).rglob("*.py"):
        assert not [name for name in imports(module) if belongs_to(name, other)], module


def test_a_task_that_sends_does_not_load_the_doctor() -> None:
    """It looks at a great deal: that is preflight's business, once a run, and the terminal tool's."""
    knows = {
        name_of(module) for module in MODULES if any(belongs_to(name, "mailonce.doctor") for name in imports(module))
    }
    others = {name for name in knows if not belongs_to(name, "mailonce.doctor")}
    assert others == {"mailonce.workflow.preflight", "mailonce.terminal.doctor"}


def test_no_two_modules_need_each_other() -> None:
    needs = {
        name_of(module): {name for name in imports(module, typing_too=False) if belongs_to(name, "mailonce")}
        for module in MODULES
        if name_of(module) != "mailonce"
    }

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for name in needs.get(waiting.pop(), set()) - seen:
                seen.add(name)
                waiting.append(name)
        return seen

    assert not [name for name in needs if name in reached(name)]


def test_the_heart_is_imported_without_airflow_boto_or_a_database_driver() -> None:
    strangers = ("airflow", "boto3", "botocore", "psycopg", "jinja2")
    program = (
        f"import sys; sys.path.insert(0, {str(PLUGINS)!r})\n"
        "from mailonce import deliver\nimport mailonce.batch\n"
        f"print([name for name in {strangers!r} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_can_be_read_in_one_go(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) < MOST_LINES


def public(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield the public classes and functions of a module, methods included, with their names."""
    for node in getattr(tree, "body", []):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            marks = {ast.unparse(mark) for mark in node.decorator_list}
            if "overload" not in marks:
                yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{prefix}{node.name}.")


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_whatever_is_public_is_described(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module itself"
    nodes = [(name, node) for name, node in public(tree) if not isinstance(node, ast.Module)]
    assert not [name for name, node in nodes if not ast.get_docstring(node)]  # type: ignore[arg-type]
