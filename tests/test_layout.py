"""The house rules that a machine can check."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = sorted((ROOT / "ov_server").rglob("*.py"))
SOURCES = [ROOT / "main.py", *PACKAGE]
RUNTIME = {"openvino", "openvino_genai", "openvino_tokenizers"}
THEIRS = {"engines.py", "pipelines.py", "conversion.py", "tinymodel.py", "sample.py"}

LONGEST_FUNCTION = 50
LONGEST_MODULE = 450


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(module: ast.Module) -> set[str]:
    """Top-level names of what a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.name)
def test_the_package_never_imports_main(path: Path) -> None:
    assert "main" not in imported(tree(path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_engines_and_pipelines_import_the_runtime(path: Path) -> None:
    if path.name not in THEIRS:
        assert not imported(tree(path)) & RUNTIME


def test_importing_main_imports_no_runtime() -> None:
    code = "import main, sys; print(*sorted(m for m in sys.modules if m.startswith('openvino')))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_functions_and_modules_are_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST_MODULE
    long = [
        f.name
        for f in functions(tree(path))
        if (f.end_lineno or f.lineno) - f.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_module_changes_a_global(path: Path) -> None:
    assert not [node for node in ast.walk(tree(path)) if isinstance(node, ast.Global)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_yielded_in_a_finally(path: Path) -> None:
    tries = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Try)]
    inside = [node for t in tries for step in t.finalbody for node in ast.walk(step)]
    assert not [node for node in inside if isinstance(node, ast.Yield | ast.YieldFrom)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_routes_find_models_by_what_the_key_is_for(path: Path) -> None:
    assert "state.registry.find(" not in path.read_text("utf-8")
