"""How the package is built: arrows between its modules, its size, and what starts without TensorFlow."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mnist_lab"
FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
LAYERS = [  # a module imports from its own layer and those below
    {"mnist_lab", "mnist_lab.__main__"},
    {"mnist_lab.plots", "mnist_lab.execute", "mnist_lab.handout", "mnist_lab.draw"},
    {"mnist_lab.judging", "mnist_lab.figures"},
    {"mnist_lab.studies"},
    {"mnist_lab.training", "mnist_lab.keras", "mnist_lab.layers"},
    {"mnist_lab.data", "mnist_lab.files", "mnist_lab.errors"},
]


def find_layer(module: str) -> int:
    part = ".".join(module.split(".")[:2])
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


def list_imports(everywhere: bool) -> dict[str, set[str]]:
    """What each module imports of the package: everywhere, or at its top alone, as soon as it is loaded."""
    imports = {}
    for module, path in FILES.items():
        tree, names = ast.parse(path.read_text()), set()
        for node in ast.walk(tree) if everywhere else tree.body:
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        imports[module.removesuffix(".__init__")] = names & set(FILES)
    return imports


@pytest.mark.parametrize("everywhere", [True, False])
def test_imports_point_one_way(everywhere):
    imports = list_imports(everywhere)
    assert [(a, b) for a in imports for b in imports[a] if find_layer(b) < find_layer(a)] == []
    levels: dict[str, int] = {}
    while len(levels) < len(imports):
        ready = [module for module in imports if module not in levels and imports[module] <= set(levels)]
        assert ready, f"a cycle among {sorted(set(imports) - set(levels))}"
        levels |= {module: 1 + max((levels[name] for name in imports[module]), default=0) for module in ready}
    assert len(LAYERS) <= 6
    assert everywhere or max(levels.values()) <= 6


def test_the_package_stays_small():
    lines = {module: len(path.read_text().splitlines()) for module, path in FILES.items()}
    assert max(lines.values()) <= 290
    assert sum(lines.values()) < 2900
    assert sum(len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")) <= 3000


def test_private_attributes_of_keras_are_used_only_where_they_are_named():
    """`_flatten_layers` in checks.py and the exchange of a layer's class in trainer.py; each has a test of its own."""
    private = re.compile(r"(?<![\w])(?:model|layer|keras|network|optimizer|metric|client|joblib)\._[a-z]\w+")
    found = [(module, match) for module, path in FILES.items() for match in private.findall(path.read_text())]
    assert found == [("mnist_lab.training.checks", "model._flatten_layers")]


def test_an_unedited_notebook_replays_without_tensorflow(tmp_path):
    cells = json.loads((ROOT / "notebooks" / "1_mlp.ipynb").read_text())["cells"]
    code = ["import sys, mnist_lab as lab, mnist_lab.__main__", "lab.save = lambda figure, name: figure"]  # nbval draws
    code += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    script, env = tmp_path / "script.py", os.environ | {"MNIST_LAB_MODE": "replay", "PYTHONPATH": str(ROOT)}
    script.write_text("\n".join([*code, "sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"]))
    subprocess.run([sys.executable, script], cwd=ROOT / "notebooks", env=env, check=True)
