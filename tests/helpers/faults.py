"""Deliberate faults, each of which the tests must notice: python tests/helpers/faults.py [words of a fault]

Each is put into a copy of the project, where the tests named beside it must then fail. Prints which faults went
unnoticed, and ends with status 1 if any did. About fifteen minutes on two cores.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAULTS = [  # file, its text, what replaces it, the tests that must fail
    ("data", "train[-holdout:]", "train[:holdout]", "data -k holdout"),
    ("data", "digits.train[:train_size]", "digits.train[-train_size:]", "data -k first_training"),
    ("files", 'with FileLock(path.with_name(f".{path.name}.lock")):', "if True:", "killed -k two_at_once"),
    ("layers", "if not training:", "if False:", "layers -k warped"),
    ("layers", "matrices(wide, 0, 0, 0, tall,", "matrices(wide, 0, 0, 0, wide,", "layers -k draws"),
    ("layers", "middle[0], 0, 1, middle[1]", "middle[1], 0, 1, middle[0]", "layers -k order"),
    ("training/trainer", "if full < images:", "if False:", "trainer -k each_image"),
    ("training/trainer", "shuffler.permutation(", "np.random.default_rng(0).permutation(", "trainer -k each_image"),
    ("training/trainer", "keep = 1.0 - self.rate", "keep = self.rate", "trainer -k dropout"),
    ("training/trainer", "layer.__class__ = keras.layers.Dropout", "pass", "trainer -k dropout"),
    ("training/trainer", "layer.__class__ = _ThreefryDropout", "pass", "trainer -k dropout"),
    ("training/trainer", "self.model.test_step if", "self.model.train_step if", "trainer -k dropout"),
    ("training/trainer", "metric.reset_state()", "pass", "trainer -k keras_fit"),
    ("training/trainer", "*model.optimizer.variables], strict=True", "]", "trainer -k restarted"),
    ("training/trainer", "if unseeded or", "if", "trainer -k repeated"),
    ("training/checks", "model._flatten_layers()", "model.layers", "checks -k custom_layer"),
    ("training/checks", "if seeds and seeds == others:", "if False:", "checks -k same_for_all_seeds"),
    ("training/checks", "variable.assign(value)", "pass", "checks -k probing"),
    ("training/workers", "set_random_seed(job.seed)", "set_random_seed(0)", "study -k of_keras"),
    ("training/workers", '"clean": digits.train[:CLEAN]', '"clean": digits.val', "study -k of_keras"),
    ("training/workers", "keras.config.set_dtype_policy(policy)", "pass", "study -k policy"),
    ("training/workers", "while os.getppid() == parent:", "while True:", "killed -k leaves_no_worker"),
    ("training/workers", "cloudpickle.register_pickle_by_value(module)", "pass", "workers -k modules"),
    ("studies/study", "self.fixed | dict(varied)", "dict(varied) | self.fixed", "study -k wins"),
    (
        "studies/study",
        "if study.keep:  # b",
        "write_runs(target, [rows])\n        if study.keep:  #",
        "killed -k kills",
    ),
    ("studies/record", 'run["machine"].iloc[-1] != ""', "True", "record -k complete"),
    ("studies/record", 'any(f"\\n{key},".encode() in old for key in new)', "False", "record -k twice"),
    ("studies/results", ">= max(final.values()) - within", ">= max(final.values())", "results -k best"),
    ("studies/runs", "first.setdefault(identity, label) is not label", "False", "study -k trains_nothing"),
    ("studies/sweep", "if rows.setdefault(values, line) != line:", "if False:", "sweep -k bad_row"),
    ("1_mlp", "learning_rate=0.01", "learning_rate=0.02", ""),
    ("1_mlp", "depths = (1, 2, 3, 4, 5, 7, 10)", "depths = (1, 2, 3, 4, 5, 6, 7, 10)", ""),
    ("1_mlp", "97.51 ± ", "97.61 ± ", ""),
    ("2_cnn", "Conv2D(64, kernel_size", "Conv2D(32, kernel_size", ""),
    ("2_cnn", "reached.loc[row, column]", "reached.loc[column, row]", ""),
    ("3_augmentation", '\\"shear_range\\": 0.22', '\\"shear_range\\": 0.0038', ""),
    ("3_augmentation", "together = answers.mean(axis=0)", "together = answers[0]", ""),
]


def is_noticed(name: str, text: str, instead: str, tests: str) -> bool:
    """Whether the tests fail in a copy of the project where this file holds `instead` for `text`."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(ROOT, f"{folder}/project", ignore=shutil.ignore_patterns(".git", "__pycache__"))
        file = Path(copy, f"mnist_lab/{name}.py" if tests else f"notebooks/{name}.ipynb")
        if text not in file.read_text():
            sys.exit(f"{file.name} no longer holds {text!r}: bring tests/helpers/faults.py up to date")
        file.write_text(file.read_text().replace(text, instead))
        arguments = f"tests/test_{tests}".replace(" ", ".py ", 1).split() if tests else ["--nbval", str(file)]
        command = [sys.executable, "-m", "pytest", "-x", "-o", "addopts=--nbval-current-env", *arguments]
        env = {**os.environ, "PYTHONPATH": copy}
        return subprocess.run(command, cwd=copy, env=env, capture_output=True).returncode == 1


if __name__ == "__main__":
    noticed = []
    for fault in FAULTS:
        if " ".join(sys.argv[1:]) in " ".join(fault):
            noticed.append(is_noticed(*fault))
            print("noticed  " if noticed[-1] else "UNNOTICED", *fault, sep="  ", flush=True)
    sys.exit(not all(noticed))
