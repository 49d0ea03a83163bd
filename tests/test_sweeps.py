import pytest

from mnist_lab.data import Digits, load_digits
from mnist_lab.errors import LabError
from mnist_lab.sweeps import sweep
from mnist_lab.train import keras

HEADER = "loss_function,optimizer,batch_size,kernel_size,epochs"
ROWS = ["poisson,Adam,50,3,1", "huber,SGD,64,5,2", "categorical_crossentropy,Adadelta,200,28,1"]


def network(loss_function, optimizer, kernel_size):
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(2, kernel_size, strides=4)])
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(getattr(keras.optimizers, optimizer)(learning_rate=0.01), loss_function, metrics=["accuracy"])
    return model


def convolutions(loss_function, optimizer, kernel_size):
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(2, kernel_size)])
    for layer in (keras.layers.Conv2D(2, kernel_size), keras.layers.MaxPooling2D(2), keras.layers.Flatten()):
        model.add(layer)
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(getattr(keras.optimizers, optimizer)(), loss_function, metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def images():
    digits = load_digits("image")
    return Digits(digits.train[:200], digits.val[:100], digits.test[:100])


def test_a_row_is_trained_once_and_the_file_is_the_same_after_a_kill(images, project, monkeypatch, capsys):
    parameters, results = project / "parameter.csv", project / "results.csv"
    parameters.write_text("\n".join(ROWS))
    table = sweep(parameters, results, network, images, workers=2)
    assert "sweep: training 3 runs on 2 workers" in capsys.readouterr().out
    whole = results.read_text()
    lines = whole.splitlines()
    assert lines[0] == f"{HEADER},loss,accuracy"
    assert [line.rsplit(",", 2)[0] for line in lines[1:]] == ROWS
    assert [f"{loss},{accuracy}" for loss, accuracy in zip(table["loss"], table["accuracy"], strict=True)] == [
        line.split(",", 5)[5] for line in lines[1:]
    ]

    # a second file with a header, columns in another order and other spellings, and a row of the reader's own below
    parameters.write_bytes(
        b"\xef\xbb\xbfepochs,Loss Function,optimizer,Batch size,kernel-size\r\n"
        b" 1 ,CategoricalCrossentropy,adadelta,200,28\r\n\r\n1,Poisson,ADAM,50,3\r\n,,,,\r\n"
    )
    assert sweep(parameters, results, network, images)["accuracy"].tolist() == table["accuracy"].tolist()[::-2]
    assert results.read_text() == whole

    results.write_text("\n".join([lines[0], *lines[2:]]))  # as if killed before the first row was done
    parameters.write_text("\n".join([HEADER, *ROWS]))
    monkeypatch.setenv("MNIST_LAB_MODE", "replay")
    with pytest.raises(LabError, match=r"results\.csv: 1 of 3 rows missing; train with: mnist-lab run --record"):
        sweep(parameters, results, network, images)
    monkeypatch.setenv("MNIST_LAB_MODE", "record")
    sweep(parameters, results, network, images)
    assert "training 1 run" in capsys.readouterr().err
    assert results.read_text() == whole


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", ": no rows; a row has loss_function, optimizer,"),
        (f"{HEADER}\n\n", ": no rows"),
        ("poison,Adam,50,3,1", ", line 1: loss_function is 'poison', but allowed are binary_crossentropy, "),
        ("sparse_categorical_crossentropy,Adam,50,3,1", ", line 1: loss_function is 'sparse_categorical"),
        ("poisson,Adams,50,3,1", ", line 1: optimizer is 'Adams', but allowed are Adadelta, "),
        (
            f"{HEADER}\n{ROWS[0]}\npoisson,Adam,0,3,1",
            ", line 3: batch_size is '0', but allowed is a whole number from 1",
        ),
        ("poisson,Adam,201,3,1", ", line 1: batch_size is '201', but allowed is a whole number from 1 to 200"),
        ("poisson,Adam,50,3.0,1", ", line 1: kernel_size is '3.0', but allowed"),
        ("poisson,Adam,50,3,-1", ", line 1: epochs is '-1', but allowed"),
        ("poisson,Adam,50,3,", ", line 1: epochs is '', but allowed"),
        ("poisson,Adam,50,3,\u0663", ", line 1: epochs is '\u0663', but allowed"),
        ("poisson,Adam,50,15,1", ", line 1: kernel_size is 15, but allowed is a whole number from 1 to 14"),
        ("poisson,Adam,50,29,1", ", line 1: kernel_size is '29', but allowed is a whole number from 1 to 28"),
        ("poisson,Adam,50,3", ", line 1: 4 values, 'poisson,Adam,50,3', but a row has 5"),
        ("poisson;Adam;50;3;1", ", line 1: 1 value, 'poisson;Adam;50;3;1', but a row has 5"),
        (f"{ROWS[0]}\npoisson,Adam,50,3,1,9", ", line 2: 6 values"),
        (f"{ROWS[0]}\n\n{ROWS[0]}", ", line 3: the same run as line 1; keep one"),
        (
            "loss_function,optimizer,batch_size,kernel,epochs",
            ", line 1: the columns are loss_function, .*kernel, epochs",
        ),
        ("optimizer,optimizer,batch_size,kernel_size,epochs", ", line 1: the columns are optimizer, optimizer"),
        (f'{ROWS[0]}\n"poisson,Adam,50,3,1', ", line 2: cannot be read as CSV"),
        (f"{ROWS[0]}\npoissön,Adam,50,3,1".encode("latin-1"), r", line 2: the byte b'\\xf6' is not UTF-8"),
        (ROWS[0].encode("utf-16"), r", line 1: the byte b'\\xff' is not UTF-8"),
        (None, r": cannot be read \(No such file"),
    ],
)
def test_a_bad_file_is_told_in_one_line_before_anything_is_trained(content, told, images, project):
    parameters, results = project / "parameter.csv", project / "results.csv"
    if content is not None:
        parameters.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LabError, match=r"parameter\.csv" + told) as error:
        sweep(parameters, results, convolutions, images)
    assert "\n" not in str(error.value)
    assert not results.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"{HEADER},loss\n", "line 1: the columns are"),
        (f"{ROWS[0]},0.1,0.9\n{ROWS[0]},0.1,0.8\n", "line 2: this row stands there twice, with other scores"),
        (f"{ROWS[0]},0.1,\n", "line 1: accuracy is '', but allowed is a number"),
        (f"{ROWS[0]},0.1,97.5\n", "line 1: accuracy is '97.5', but allowed is a number from 0 to 1"),
        (f"{ROWS[0]},0.1\n", "line 1: 6 values"),
    ],
)
def test_damaged_results_are_told_and_left_alone(content, told, images, project):
    parameters, results = project / "parameter.csv", project / "results.csv"
    parameters.write_text(ROWS[0])
    results.write_text(content)
    with pytest.raises(LabError, match=r"results\.csv, " + told):
        sweep(parameters, results, network, images)
    assert results.read_text() == content


def test_a_builder_that_ignores_a_column_is_refused(images, project):
    (project / "parameter.csv").write_text(ROWS[0])
    with pytest.raises(LabError, match="nobody takes the setting 'kernel_size'"):
        sweep(project / "parameter.csv", project / "results.csv", lambda loss_function, optimizer: None, images)


def test_results_that_cannot_be_kept_are_told_before_anything_is_trained(images, project, capsys):
    (project / "parameter.csv").write_text(ROWS[0])
    for path in (project / "no" / "such" / "results.csv", project / "parameter.csv" / "results.csv"):
        with pytest.raises(LabError, match=r"results\.csv: cannot be written \(.*\), so nothing is trained"):
            sweep(project / "parameter.csv", path, network, images)
    with pytest.raises(LabError, match=r"sweep: train_size is 1\.5, but allowed is a whole number"):
        sweep(project / "parameter.csv", project / "results.csv", network, images, train_size=1.5)
    with pytest.raises(LabError, match="sweep: parameters is None, but must be the path of a file"):
        sweep(None, project / "results.csv", network, images)

    def blind(loss_function, optimizer, kernel_size):
        model = keras.Sequential(network(loss_function, optimizer, kernel_size).layers)
        model.compile(optimizer, loss_function)
        return model

    with pytest.raises(LabError, match=r"parameter\.csv, line 1: the model has no accuracy; compile it with metrics="):
        sweep(project / "parameter.csv", project / "results.csv", blind, images)
    assert "training" not in capsys.readouterr().out
