"""The shape of the code: who imports whom, how long files and functions are, what files are called."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "siseon"
FILES = sorted(SOURCE.rglob("*.py"))

# Lower never imports higher. docs/architecture.md says why.
LAYERS = [
    ["interface"],
    ["naming", "process", "threads"],
    [
        "pictures",
        "boxes",
        "tracking",
        "labelling",
        "hiding",
        "cleaning",
        "losses",
        "layers",
        "initialisers",
        "normalisations",
        "stages",
        "convolutions",
        "language",
        "optimization",
        "packed_layers",
        "recording",
        "data.dataset",
        "games",
        "inspection",
    ],
    ["drawing", "metrics", "language_metrics", "tensorfile", "data", "activations"],
    ["gallery", "models.classification", "training.recipe", "training.schedules"],
    ["models.detection", "describing"],
    [
        "models.segmentation",
        "models.generation",
        "models.language",
        "models.control",
        "answers",
        "evaluation",
        "report",
        "prediction",
        "training",
        "looking",
        "judging",
        "painting",
        "exported",
    ],
    ["portrait"],
    ["zoo"],
    ["weights", "model_sizes", "quantization", "quantization_ranges", "export", "export_parts", "export_regions"],
    ["comparison", "searching", "playing", "blurring", "demo", "surroundings"],
    ["commands", ""],
    ["cli"],
    ["__main__"],
]
FORBIDDEN_IN = {
    "data": ["models", "training", "zoo", "weights", "evaluation", "losses", "layers"],
    "metrics": ["models", "training", "zoo", "weights", "evaluation", "data", "drawing"],
    "training": ["models", "zoo", "evaluation", "report", "demo", "commands", "cli"],
    "evaluation": ["models", "zoo", "weights", "training"],
    "boxes": ["models", "data", "pictures", "layers", "losses"],
    "models": ["data", "training", "evaluation", "metrics", "weights"],
}
FOREIGN = {"torchvision", "timm", "ultralytics", "detectron2", "mmdet", "mmcv", "pycocotools", "lightning"}
FORBIDDEN_NAMES = {"utils", "util", "misc", "helpers", "helper", "common", "tools", "shared", "core", "base"}


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> set[str]:
    """Full names of the modules that a file imports anywhere in it, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name}


def own_imports(file: Path) -> set[str]:
    """The modules of siseon that a file imports, without the prefix; names within a module count as the module."""
    known = {module_name(path) for path in FILES}
    names = {name.removeprefix("siseon.") for name in imports(file) if name.startswith("siseon.")}
    return names & known


def belongs(module: str, to: str) -> bool:
    return module == to or (to != "" and module.startswith(f"{to}."))


def layer(module: str) -> int:
    """The layer of the longest prefix that the table holds."""
    fits = [(len(name), depth) for depth, names in enumerate(LAYERS) for name in names if belongs(module, name)]
    assert fits, f"siseon.{module} is in no layer: give it a place in LAYERS and in docs/architecture.md"
    return max(fits)[1]


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_point_downwards(file):
    module = module_name(file)
    if module.endswith("models") or (module == "" and file.name == "__init__.py"):
        return
    upward = {other for other in own_imports(file) if layer(other) > layer(module)}
    assert not upward, f"siseon.{module} imports {sorted(upward)} from a higher layer"


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_neighbours_that_must_not_know_each_other(file):
    module = module_name(file)
    for inside, outside in FORBIDDEN_IN.items():
        if belongs(module, inside):
            wrong = {other for other in own_imports(file) for name in outside if belongs(other, name)}
            assert not wrong, f"siseon.{module} must not know {sorted(wrong)}"


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_no_peer_is_a_dependency(file):
    assert not {name.split(".")[0] for name in imports(file)} & FOREIGN


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_files_and_functions_stay_short(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400, f"{file.name} has more than 400 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body  # signature and docstring are for reading
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= 60, f"{file.name}: {node.name} has {lines} lines"


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_every_file_has_a_header_and_a_name_that_says_something(file):
    assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), f"{file} has no docstring"
    assert not set(file.relative_to(SOURCE).with_suffix("").parts) & FORBIDDEN_NAMES


def test_inheritance_is_shallow():
    """Model -> Classifier or Detector -> Module, never deeper."""
    parents = {
        node.name: [base.id for base in node.bases if isinstance(base, ast.Name)]
        for file in FILES
        if "models" in file.parts
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }

    def depth(name: str) -> int:
        return 1 + max((depth(base) for base in parents[name] if base in parents), default=0)

    assert {name: depth(name) for name in parents if depth(name) > 2} == {}


def test_importing_the_package_does_not_import_torch(fresh_python):
    assert fresh_python("import siseon, sys; print('torch' in sys.modules)").stdout.strip() == "False"


def test_the_table_of_contents_is_true():
    """Every file that docs/architecture.md lists at the top level exists."""
    listing = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    named = {
        line.split()[0] for line in listing.splitlines() if line.startswith("  ") and line.split()[0].endswith(".py")
    }
    missing = {name for name in named if not (SOURCE / name).exists()}
    assert not missing
