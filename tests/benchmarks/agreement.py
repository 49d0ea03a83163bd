"""Is training as good as `model.fit`? Twenty seeds each way, from the same first weights, on all 50,000 images.

    python tests/benchmarks/agreement.py [20]       seeds 0 to 19, or 20 to 39; about six minutes on two cores

One hidden layer of 256 units, dropout 0.2, eight epochs, one thread a run.
"""

import sys

import numpy as np
from benchmark import mlp
from joblib import Parallel, delayed

import mnist_lab as lab
from mnist_lab import keras


def train(ours: bool, seed: int) -> dict[str, list]:
    from mnist_lab.training.trainer import Trainer
    from mnist_lab.training.workers import prepare_process

    prepare_process()
    keras.utils.set_random_seed(seed)
    digits, network = lab.load_digits("flat"), mlp()
    train, val = digits.train, digits.val
    if ours:
        return Trainer(network, train, 64).fit(train, epochs=8, seed=seed, evaluate={"val": val})
    return network.fit(train.x, train.y, 64, epochs=8, validation_data=(val.x, val.y), verbose=0).history


if __name__ == "__main__":
    first = int(sys.argv[1]) if sys.argv[1:] else 0
    histories = Parallel(2)(delayed(train)(ours, seed) for seed in range(first, first + 20) for ours in (True, False))
    print(f"seeds {first} to {first + 19}, at the last epoch")
    for metric, scale, unit in (("accuracy", 100, "pp"), ("val_accuracy", 100, "pp"), ("val_loss", 1000, "/ 1000")):
        values = scale * np.array([history[metric][-1] for history in histories])  # ours and Keras's in turn
        a, b = values[::2], values[1::2]
        print(f"{metric}: ours {lab.spread(a)}, fit {lab.spread(b)}; ours − fit {lab.difference(a, b)} {unit}")
