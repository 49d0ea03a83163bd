"""Deliberate faults, each of which the tests must notice: python tests/faults.py [words of a fault]

Each is put into a copy of the project, where the tests named beside it are run; they must fail, and pass without the
fault. It says which faults went unnoticed and ends with status 1 if any did. About thirteen minutes on two cores.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRAIN, STUDY, WORKERS = "mnist_lab/train.py", "mnist_lab/study.py", "mnist_lab/workers.py"
AUGMENT, DESCRIBE = "mnist_lab/augment.py", "mnist_lab/describe.py"
SOURCE, START = "mnist_lab/source.py", "mnist_lab/start.py"
MLP, CNN, DIGITS = "notebooks/1_mlp.ipynb", "notebooks/2_cnn.ipynb", "notebooks/0_digits.ipynb"
AUGMENTATION = "notebooks/3_augmentation.ipynb"

FAULTS = [  # what is wrong, in which file, its text, what stands there instead, and who must notice
    ("an epoch skips the last batch", TRAIN, "if full < n:", "if False:", "test_train.py"),
    (
        "every epoch has the same order",
        TRAIN,
        "shuffler.permutation(",
        "np.random.default_rng(0).permutation(",
        "test_train.py",
    ),
    ("dropout while evaluating", TRAIN, "layer.__class__ = keras.layers.Dropout", "pass", "test_train.py"),
    ("training while evaluating", TRAIN, "self.model.test_step((tf", "self.model.train_step((tf", "test_train.py"),
    ("dropout keeps what it should drop", TRAIN, "keep = 1.0 - self.rate", "keep = self.rate", "test_train.py"),
    ("metrics go on from epoch to epoch", TRAIN, "metric.reset_state()", "pass", "test_train.py"),
    (
        "a restart keeps the optimizer's state",
        TRAIN,
        "_restore(_variables(self.model), values)",
        "_restore(self.model.variables, values[: len(self.model.variables)])",
        "test_train.py",
    ),
    (
        "what is fixed wins over what varies",
        STUDY,
        "{**self.fixed, **varied}",
        "{**varied, **self.fixed}",
        "test_study.py",
    ),
    ("the batch size is not in the key", STUDY, "batch_size=batch_size,\n        data", "data", "test_study.py"),
    ("pytest trains what is missing", STUDY, 'mode in ("replay", "test")', 'mode in ("replay",)', "test_study.py"),
    ("two values that give one run pass", STUDY, "if same is not label:", "if False:", "test_study.py"),
    (
        "an argument that Keras does not tell is not in the key",
        DESCRIBE,
        'getattr(thing, "_fn_kwargs", {})',
        "{}",
        "test_describe.py",
    ),
    (
        "weights that a builder sets are not in the key",
        STUDY,
        '{"start": start} if start',
        '{"start": start} if False',
        "test_study.py",
    ),
    (
        "weights set by hand count as drawn",
        START,
        'return "set", digest_variables([weight])',
        'return "made", ""',
        "test_start.py",
    ),
    ("one start for every seed", START, "after != after_other", "False", "test_start.py"),
    (
        "what a function imports is not in the key",
        SOURCE,
        'opname == "IMPORT_NAME"',
        'opname == ""',
        "test_describe.py",
    ),
    ("a worker trains another network than the key's", WORKERS, "if changed:", "if False:", "test_study.py"),
    ("every seed is seed 0", WORKERS, "set_random_seed(int(seed))", "set_random_seed(0)", "test_study.py"),
    (
        "clean figures are of validation images",
        WORKERS,
        '"clean": digits.train[:CLEAN]',
        '"clean": digits.val',
        "test_study.py",
    ),
    ("the policy stays behind", WORKERS, "keras.config.set_dtype_policy(policy)", "pass", "test_study.py"),
    ("warped while evaluating", AUGMENT, "if not training:", "if False:", "test_augment.py"),
    (
        "one zoom for both axes",
        AUGMENT,
        "_matrices(wide, 0, 0, 0, tall,",
        "_matrices(wide, 0, 0, 0, wide,",
        "test_augment.py",
    ),
    (
        "sheared before it is zoomed",
        AUGMENT,
        """            @ _matrices(1, -sin(shear), 0, 0, cos(shear), 0, like=angle)
            @ _matrices(wide, 0, 0, 0, tall, 0, like=angle)
""",
        """            @ _matrices(wide, 0, 0, 0, tall, 0, like=angle)
            @ _matrices(1, -sin(shear), 0, 0, cos(shear), 0, like=angle)
""",
        "test_augment.py",
    ),
    ("a student sets a rate that was not recorded", MLP, "Adam(learning_rate=0.01)", "Adam(learning_rate=0.02)", MLP),
    ("one depth more than recorded", MLP, "depths = (1, 2, 3, 4, 5, 7, 10)", "depths = (1, 2, 3, 4, 5, 6, 7, 10)", MLP),
    ("a stale table", MLP, "97.51 ± ", "97.61 ± ", MLP),
    ("another verdict is stored", MLP, "  verdict   contradicted", "  verdict   reproduced", MLP),
    ("kernel sizes of another network", CNN, "Conv2D(64, kernel_size", "Conv2D(32, kernel_size", CNN),
    ("a binary loss that looks at other numbers", CNN, "true, 1.0 * answers", "true, answers", CNN),
    ("a map with its axes swapped", CNN, "reached.loc[row, column]", "reached.loc[column, row]", CNN),
    ("a shear of degrees", AUGMENTATION, '\\"shear_range\\": 0.22', '\\"shear_range\\": 0.0038', AUGMENTATION),
    (
        "one network instead of five",
        AUGMENTATION,
        "together = answers.mean(axis=0)",
        "together = answers[0]",
        AUGMENTATION,
    ),
    ("rows and columns swapped", DIGITS, ".reshape(28, 28)", ".reshape(28, 28).T", DIGITS),
]


def run_tests(who: str, file: str | None = None, text: str = "", instead: str = "") -> int:
    """Run the tests `who` in a copy of the project where `file` holds `instead` for `text`; pytest's exit status."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "*.egg-info", "__pycache__", ".*_cache"))
        if file:
            content = (copy / file).read_text()
            if text not in content:
                sys.exit(f"{file} no longer holds {text!r}: bring tests/faults.py up to date")
            (copy / file).write_text(content.replace(text, instead))
        tests = who if who.endswith(".ipynb") else f"tests/{who}"
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        command = [sys.executable, "-m", "pytest", "-q", "-x", tests]
        return subprocess.run(command, cwd=copy, env=environment, capture_output=True).returncode


def main(words: list[str]) -> int:
    """Try every fault whose name holds the words; the number that went unnoticed."""
    tried = [fault for fault in FAULTS if " ".join(words) in fault[0]]
    if not tried:
        sys.exit(f"no fault holds {' '.join(words)!r}")
    for who in dict.fromkeys(who for *_, who in tried):
        if run_tests(who):
            sys.exit(f"{who} fails without any fault, so it cannot tell one")
    unnoticed = 0
    for name, file, text, instead, who in tried:
        noticed = run_tests(who, file, text, instead) == 1
        unnoticed += not noticed
        print(f"{'noticed  ' if noticed else 'UNNOTICED'}  {name}", flush=True)
    return unnoticed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
