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

SEEDS = 20


def train(ours: bool, seed: int) -> dict[str, float]:
    from mnist_lab.training.backend import tf
    from mnist_lab.training.trainer import Trainer

    if tf.config.threading.get_intra_op_parallelism_threads() != 1:  # the first run in this process
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    digits = lab.load_digits("flat")
    keras.utils.set_random_seed(seed)
    network = mlp()
    if ours:
        evaluate = {"val": digits.val}
        history = Trainer(network, digits.train, 64).fit(digits.train, epochs=8, seed=seed, evaluate=evaluate)
    else:
        train, val = digits.train, (digits.val.x, digits.val.y)
        history = network.fit(train.x, train.y, 64, epochs=8, validation_data=val, verbose=0).history
    return {metric: values[-1] for metric, values in history.items()}


if __name__ == "__main__":
    first = int(sys.argv[1]) if sys.argv[1:] else 0
    ways = [(ours, seed) for seed in range(first, first + SEEDS) for ours in (True, False)]
    scores = Parallel(2)(delayed(train)(*way) for way in ways)
    print(f"seeds {first} to {first + SEEDS - 1}, at the last epoch")
    for metric, scale, unit in (("accuracy", 100, "pp"), ("val_accuracy", 100, "pp"), ("val_loss", 1000, "/ 1000")):
        values = scale * np.array([score[metric] for score in scores])  # ours and Keras's in turn
        a, b = values[::2], values[1::2]
        print(f"{metric}: ours {lab.spread(a)}, fit {lab.spread(b)}; ours − fit {lab.difference(a, b)} {unit}")
