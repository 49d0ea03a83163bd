"""Is training as good as `model.fit`? Twenty seeds each way, from the same first weights, on all 50,000 images.

    python tests/agreement.py            about six minutes on two cores

Ours are the recorded runs of dropout 0.2 in img/mlp_dropout.csv; those of `fit` are trained here, one thread each.
"""

import numpy as np
from joblib import Parallel, delayed

import mnist_lab as lab
from mnist_lab.record import find_folder, read_record


def train_with_fit(seed: int) -> dict[str, float]:
    from mnist_lab.train import keras, use_one_thread

    use_one_thread()
    digits = lab.load_digits("flat")
    keras.utils.set_random_seed(seed)
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(256, activation="sigmoid")])
    network.add(keras.layers.Dropout(0.2))
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
    val = digits.val.x, digits.val.y
    history = network.fit(digits.train.x, digits.train.y, batch_size=64, epochs=8, validation_data=val, verbose=0)
    return {metric: values[-1] for metric, values in history.history.items()}


if __name__ == "__main__":
    fit = Parallel(2)(delayed(train_with_fit)(seed) for seed in range(20))
    rows = read_record(find_folder() / "mlp_dropout.csv")
    ours = rows[(rows["value"] == "0.2") & (rows["epoch"] == 8)]
    for metric, scale in (("val_accuracy", 100), ("val_loss", 1), ("accuracy", 100), ("loss", 1)):
        a, b = scale * ours[metric].to_numpy(), scale * np.array([scores[metric] for scores in fit])
        print(f"{metric}: ours {lab.spread(a, 3)} ({len(a)} seeds), fit {lab.spread(b, 3)} ({len(b)} seeds), ", end="")
        print(f"ours less fit {lab.difference(a, b)}")
