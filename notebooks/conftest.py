"""Under pytest nothing is trained: a run that the record lacks is an error."""

import os

os.environ["MNIST_LAB_MODE"] = "replay"
