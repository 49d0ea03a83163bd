import re
from pathlib import Path

from mnist_lab.judging.conclusions import read_verdicts

README = Path(__file__).parents[1] / "README.md"


def test_its_verdicts_are_those_of_the_record(monkeypatch):
    monkeypatch.chdir(README.parent)
    for v in read_verdicts():
        later = v.followup.texts["verdict"] if v.followup else ""
        row = v.conclusion.id, v.conclusion.text, *[*v.texts.values()][:3], later
        assert f"\n| {' | '.join(row)} |\n" in README.read_text()


def test_the_files_it_names_exist_and_all_modules_are_listed():
    text = README.read_text()
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", text):
        assert (README.parent / path).exists(), path
    listed = re.findall(r"\w+\.py\b", text.partition("```\nnotebooks/")[2].partition("```")[0])
    modules = {path.name for path in (README.parent / "mnist_lab").rglob("*.py")} - {"__init__.py", "errors.py"}
    assert sorted(listed) == sorted(modules)
    assert all(f"(notebooks/{path.name})" in text for path in README.parent.glob("notebooks/*.ipynb"))
    assert len(text.splitlines()) <= 150
