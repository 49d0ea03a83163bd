"""Training: one run, fast and repeatable."""

VERSION = 1  # raised when a change to the trainer changes the bits of a run: no older run is then taken for a new one
