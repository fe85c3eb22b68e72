"""Who may import whom, and what the public surface is. Read from the source, mostly."""

import ast
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = {"models": set(), "transforms": {"models"}, "pipelines": {"models", "transforms"}}
MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
BEAM = "apache_beam"

# The only modules of models/ that know Beam: its handler, whatever opens a file, and what adapts
# handlers of Beam's.
KNOW_BEAM = {"models/artifact.py", "models/beam_model.py", "models/handler.py"}
# What a usage error, --help and --version go through.
START = [f"pipelines/{name}.py" for name in ("arguments", "beam_flags", "cli", "errors", "flags")]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def imports(path: Path, at_start: bool = False) -> frozenset[str]:
    """The absolute names that a file imports; `at_start` leaves out what waits for a call."""
    package = ["scoreline", *path.relative_to(ROOT).parent.parts]
    tree = ast.parse(path.read_text())
    lazy = {inner for node in ast.walk(tree) if waits(node) for inner in ast.walk(node)}
    names = set()
    for node in ast.walk(tree):
        if at_start and node in lazy:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def waits(node: ast.AST) -> bool:
    """Whether what is below a node runs later, or only in a type checker."""
    return isinstance(node, ast.FunctionDef) or (
        isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )


def is_of(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def reached(path: Path) -> set[str]:
    """All that importing a file imports, through the files of ours that it imports in turn."""
    names, files, todo = set(), set(), [path]
    while todo:
        files.add(file := todo.pop())
        new = imports(file, at_start=True) - names
        names |= new
        inner = [name.split(".")[1:] for name in new if name.startswith("scoreline.")]
        ours = {ROOT.joinpath(*parts).with_suffix(".py") for parts in inner}
        todo += [file for file in ours - files if file.is_file()]
    return names


def test_the_folders_are_the_layers_that_setup_names():
    folders = {init.parent.name for init in ROOT.glob("*/__init__.py")}
    assert folders == {"package", *LAYERS}
    packages = sorted(
        str(init.parent.relative_to(ROOT))
        for layer in LAYERS
        for init in (ROOT / layer).rglob("__init__.py")
    )
    named = re.search(r"^SUBPACKAGES = \((.+)\)$", (ROOT / "setup.py").read_text(), re.MULTILINE)
    assert named
    assert sorted(re.findall(r'"([^"]+)"', named[1])) == packages


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_layer_imports_only_the_layers_below(path):
    layer = relative(path).split("/")[0]
    allowed = {layer, *LAYERS[layer]}
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("scoreline.")}
    assert ours & set(LAYERS) <= allowed
    plain = {name for name in imports(path) if name.split(".")[0] in LAYERS}
    assert not plain, "import scoreline.<folder>, not <folder>"


def test_only_predict_calls_run_inference():
    def names(path: Path) -> set[str]:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        named = {node.id for node in nodes if isinstance(node, ast.Name)}
        return named | {node.attr for node in nodes if isinstance(node, ast.Attribute)}

    called = {relative(path) for path in MODULES if "RunInference" in names(path)}
    assert called == {"transforms/predict.py"}


@pytest.mark.parametrize("path", sorted((ROOT / "models").rglob("*.py")), ids=relative)
def test_models_know_beam_in_few_places_only(path):
    assert any(is_of(name, BEAM) for name in imports(path)) == (relative(path) in KNOW_BEAM)
    if path.name not in ("__init__.py", "handler.py"):
        assert not {name for name in reached(path) if is_of(name, BEAM)}


@pytest.mark.parametrize("name", START)
def test_the_start_reaches_the_standard_library_only(name):
    roots = {found.split(".")[0] for found in reached(ROOT / name)}
    assert roots <= {"scoreline", *sys.stdlib_module_names}


COMMAND_LINES = [
    [],
    ["--help"],
    ["--version"],
    ["scoer"],
    ["score", "--help"],
    ["score", "--modle", "m.joblib"],
    ["score", "--model", "m.joblib"],
    ["template"],
    ["template", "run", "--help"],
    ["template", "biuld"],
    ["template", "run", "gs://b/scoreline.json", "--input", "data"],
]


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_a_command_line_that_starts_nothing_loads_nothing(words):
    program = (
        "import json, sys; before = set(sys.modules)\n"
        "from scoreline.pipelines.cli import main\n"
        f"code = main({words})\n"
        "print('\\n' + json.dumps([int(code), sorted(set(sys.modules) - before)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    code, loaded = json.loads(done.stdout.splitlines()[-1])
    assert {name.split(".")[0] for name in loaded} <= {"scoreline", *sys.stdlib_module_names}
    helps = not words or words in (["--version"], ["template"]) or "--help" in words
    assert code == (0 if helps else 2)


@pytest.mark.parametrize("layer", LAYERS)
def test_all_is_sorted_and_is_what_is_re_exported(layer):
    package = importlib.import_module(f"scoreline.{layer}")
    tree = ast.parse((ROOT / layer / "__init__.py").read_text())
    exported = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert package.__all__ == sorted(package.__all__)
    assert sorted(exported) == package.__all__
    assert package.__doc__


@pytest.mark.parametrize("layer", LAYERS)
def test_the_plain_import_of_a_folder_is_refused(layer, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    with pytest.raises(ImportError, match=f"import scoreline.{layer}, not {layer}: a worker could"):
        importlib.import_module(layer)
    assert layer not in sys.modules


def libraries() -> set[str]:
    """The names by which the libraries that setup.py asks for are installed and imported."""
    wanted = importlib.metadata.requires("scoreline") or []
    wanted = {re.split(r"[^\w.-]", line)[0].lower() for line in wanted}
    found = importlib.metadata.packages_distributions().items()
    return wanted | {name for name, dists in found if wanted & {dist.lower() for dist in dists}}


def test_no_module_is_named_after_a_library():
    assert not {path.stem for path in MODULES} & (libraries() | sys.stdlib_module_names)


def test_a_module_is_named_after_its_concept():
    words = {word for path in MODULES for word in path.stem.split("_")}
    assert not words & {"utils", "util", "common", "helpers", "helper", "misc"}
