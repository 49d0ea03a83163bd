"""The quiet import of Keras and TensorFlow."""

import os
import signal
import threading

from mnist_lab.errors import LabError

os.environ["KERAS_BACKEND"] = "tensorflow"  # an epoch is one of its compiled functions
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_pressed: list[int] = []  # Stop waits: what is half imported cannot be imported again
_in_main = threading.current_thread() is threading.main_thread()  # no other thread may set a handler
_before = signal.signal(signal.SIGINT, lambda number, frame: _pressed.append(number)) if _in_main else None
_stderr, _nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)  # TensorFlow logs its start before any setting can stop it
try:
    import keras
    import tensorflow as tf
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
    os.close(_nowhere)
    if _in_main:
        signal.signal(signal.SIGINT, _before)
if _pressed and callable(_before):
    _before(signal.SIGINT, None)
if keras.backend.backend() != "tensorflow":  # imported before, under another setting
    raise LabError(f"Keras runs on {keras.backend.backend()}; restart, and import mnist_lab before keras")
keras.config.set_image_data_format("channels_last")  # whatever the user's keras.json says
tf.get_logger().setLevel("ERROR")  # it warns of compiling often, as a study of many settings does
__all__ = ["keras", "tf"]
