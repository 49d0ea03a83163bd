import re
from pathlib import Path

from mnist_lab.verdicts.conclusions import read_verdicts

README = Path(__file__).parents[1] / "README.md"


def test_its_verdicts_are_those_of_the_record(monkeypatch):
    monkeypatch.chdir(README.parent)
    for v in read_verdicts():
        row = v.conclusion.id, v.conclusion.text, f"{v.claim}? {v.estimate_text}", v.verdict_text
        assert f"\n| {' | '.join(row)} |\n" in README.read_text()


def test_the_files_it_names_exist_and_all_modules_are_listed():
    text = README.read_text()
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", text):
        assert (README.parent / path).exists(), path
    listed = re.findall(r"^ +(\w+\.py) ", text, flags=re.MULTILINE)
    modules = {path.name for path in (README.parent / "mnist_lab").rglob("*.py")} - {"__init__.py", "errors.py"}
    assert sorted(listed) == sorted(modules)
