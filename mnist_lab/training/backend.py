"""The quiet import of Keras and TensorFlow, and the threads they use."""

import os

from mnist_lab.errors import LabError

os.environ["KERAS_BACKEND"] = "tensorflow"  # an epoch is one of its compiled functions
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_stderr, _nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)  # TensorFlow logs its start before any setting can stop it
try:
    import keras
    import tensorflow as tf
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
    os.close(_nowhere)

tf.get_logger().setLevel("ERROR")  # it warns of compiling often, as a study of many settings does
__all__ = ["keras", "tf", "use_one_thread"]


def use_one_thread() -> None:
    """Give TensorFlow one thread and no GPU: the bits of every recorded run depend on it.

    Raises LabError where TensorFlow has started with more.
    """
    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        try:
            tf.config.set_visible_devices([], "GPU")
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:
            raise LabError("TensorFlow already runs on several threads in this worker; restart the kernel") from None
