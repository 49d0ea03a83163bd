"""Keras itself, imported quietly and only when something of it is first used: `from mnist_lab import keras`."""


def __getattr__(name: str):
    if name.startswith("__") and name != "__version__":  # Python asks it of this module
        raise AttributeError(name)
    from mnist_lab.training.backend import keras

    return getattr(keras, name)


def __dir__() -> list[str]:
    from mnist_lab.training.backend import keras

    return dir(keras)
