"""Under pytest nothing is trained: a run that is missing from the record is an error."""

import os

os.environ["MNIST_LAB_MODE"] = "replay"
