"""The quiet import of Keras and TensorFlow."""

import os

from mnist_lab.errors import delay_stop

os.environ["KERAS_BACKEND"] = "tensorflow"  # an epoch is one of its compiled functions
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_stderr, _nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)  # TensorFlow logs its start before any setting can stop it
try:
    with delay_stop():
        import keras
        import tensorflow as tf
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
    os.close(_nowhere)
keras.config.set_image_data_format("channels_last")  # whatever the user's keras.json says
tf.get_logger().setLevel("ERROR")  # it warns of compiling often, as a study of many settings does
