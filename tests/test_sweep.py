import pytest

from mnist_lab.data import Digits, load_digits
from mnist_lab.errors import LabError
from mnist_lab.studies.sweep import sweep
from mnist_lab.training.backend import keras

HEADER = "loss_function,optimizer,batch_size,kernel_size,epochs"
ROWS = ["poisson,Adam,50,3,1", "huber,SGD,64,5,2", "categorical_crossentropy,Adadelta,200,14,1"]


def build(loss_function, optimizer, kernel_size):
    convolutions = [keras.layers.Conv2D(2, kernel_size) for _ in range(2)]
    network = keras.Sequential([keras.Input((28, 28, 1)), *convolutions, keras.layers.MaxPooling2D(2)])
    network.add(keras.layers.Flatten())
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile(getattr(keras.optimizers, optimizer)(learning_rate=0.01), loss_function, metrics=["accuracy"])
    return network


def build_edited(loss_function, optimizer, kernel_size):
    return build(loss_function, optimizer, kernel_size + 1)


@pytest.fixture(scope="module")
def images():
    digits = load_digits("image")
    return Digits(digits.train[:200], digits.val[:100], digits.test[:100])


def test_rows_are_trained_once_and_results_are_never_stale(images, project, monkeypatch, capsys):
    parameters, results = project / "parameter.csv", project / "results.csv"
    parameters.write_text("\n".join(ROWS))
    table = sweep(parameters, results, build, images)
    assert "sweep_parameter: 3 runs to train: " in capsys.readouterr().out
    content = results.read_text()
    header, *lines = content.splitlines()
    assert header == f"{HEADER},loss,accuracy"
    assert [line.rsplit(",", 2)[0] for line in lines] == ROWS
    scores = zip(table["loss"], table["accuracy"], strict=True)
    assert [f"{loss},{accuracy}" for loss, accuracy in scores] == [line.split(",", 5)[5] for line in lines]

    # nothing is trained again for a header, columns in another order, as a spreadsheet saves it, and one row less
    results.unlink()
    parameters.write_bytes(
        b"\xef\xbb\xbfepochs;loss_function;optimizer;batch_size;kernel_size\r\n"
        b" 1 ;categorical_crossentropy;Adadelta;200;14\r\n\r\n1;poisson;Adam;50;3\r\n;;;;\r\n"
    )
    assert sweep(parameters, results, build, images)["accuracy"].tolist() == table["accuracy"].tolist()[::-2]
    assert results.read_text().splitlines() == [header, lines[2], lines[0]]
    assert "to train" not in capsys.readouterr().out

    # of an edited network no row is shown
    monkeypatch.setattr("mnist_lab.studies.runs.Plan.train_missing", lambda *_, **__: 1 / 0)  # as if stopped there
    parameters.write_text(ROWS[0])
    with pytest.raises(ZeroDivisionError):
        sweep(parameters, results, build_edited, images)
    assert results.read_text().splitlines() == [header]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}\n\n", ": no run; each row must be loss_function, .*epochs"),
        ("poison,Adam,50,3,1", ", line 1 cannot be trained: .* poison"),
        (f"{HEADER}\n{ROWS[0]}\npoisson,Adam,0,3,1", r", line 3: batch_size must be an integer >= 1 .*'0'\)"),
        ("poisson,Adam,50,15,1", r", line 1: build\(\) raised ValueError"),
        ("poisson,Adam,50,3", r", line 1: must be loss_function, .*epochs \(got 'poisson, Adam, 50, 3'\)"),
        (f"{ROWS[0]}\n\n{ROWS[0]}", r", line 3: the same run as .*parameter\.csv, line 1; keep one of them"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line_before_anything_is_trained(content, message, images, project):
    parameters, results = project / "parameter.csv", project / "results.csv"
    parameters.write_text(content, "utf-8")
    with pytest.raises(LabError, match=r"parameter\.csv" + message) as error:
        sweep(parameters, results, build, images)
    assert "\n" not in str(error.value)
    assert not results.exists()


def test_results_that_cannot_be_written_or_are_not_of_sweep_are_left_alone(images, project, capsys):
    parameters, results = project / "parameter.csv", project / "results.csv"
    parameters.write_text(ROWS[0])
    with pytest.raises(LabError, match=r"no.such.results\.csv: cannot be written"):
        sweep(parameters, project / "no" / "such" / "results.csv", build, images)
    results.write_text(f"{ROWS[0]},my notes")
    with pytest.raises(LabError, match=r"results\.csv, line 1: not written by sweep; delete the file"):
        sweep(parameters, results, build, images)
    assert results.read_text().endswith("my notes")
    assert "to train" not in capsys.readouterr().out
