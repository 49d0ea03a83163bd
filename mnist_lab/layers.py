"""A layer that shows a network every image a little turned, moved, slanted and stretched, anew each time."""

import math
import numbers

from mnist_lab.errors import LabError
from mnist_lab.training.backend import keras

ops = keras.ops
LIMITS = {"rotation_range": 180, "width_shift_range": 1, "height_shift_range": 1, "shear_range": 1.5, "zoom_range": 0.9}


@keras.saving.register_keras_serializable(package="mnist_lab")
class RandomWarp(keras.layers.Layer):
    """One random affine warp of each image `(n, height, width, channels)` about its centre, in training only.

    Uniform draws: each image is turned by up to `rotation_range` degrees, moved by up to `height_shift_range` and
    `width_shift_range` of its height and width, sheared by up to `shear_range` radians, and zoomed by 1 ± `zoom_range`
    for each axis alone. Pixels are interpolated once, bilinearly, with the nearest edge outside. Names and order are
    those of Keras's ImageDataGenerator, whose `shear_range` is degrees since Keras 2.1.3.
    """

    def __init__(
        self,
        rotation_range: float = 0.0,
        width_shift_range: float = 0.0,
        height_shift_range: float = 0.0,
        shear_range: float = 0.0,
        zoom_range: float = 0.0,
        seed: int | None = None,
        **layer,
    ):
        super().__init__(**layer)
        ranges = (rotation_range, width_shift_range, height_shift_range, shear_range, zoom_range)
        self.ranges = dict(zip(LIMITS, ranges, strict=True))
        for name, value in self.ranges.items():
            if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= value <= LIMITS[name]:
                raise LabError(f"RandomWarp: {name} must be a number from 0 to {LIMITS[name]} (got {value!r})")
            self.ranges[name] = float(value)
        self.supports_jit = False  # XLA has no affine transform, and on a GPU Keras would try it unasked
        self.seed, self.seed_generator = seed, keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        if not training:
            return images
        matrices = ops.reshape(self.draw_matrices(ops.shape(images)[0], *images.shape[1:3]), (-1, 9))[:, :8]
        exact = ops.cast(images, "float32")  # a coarser kind of number would round coordinates
        warped = ops.image.affine_transform(exact, matrices, "bilinear", "nearest", data_format="channels_last")
        return ops.cast(warped, self.compute_dtype)

    def draw_matrices(self, count: int, height: int, width: int):
        """Draw `count` matrices `(count, 3, 3)`, each from the (column, row, 1) of an output pixel to its input's."""

        def draw(name: str):
            most = math.radians(self.ranges[name]) if name == "rotation_range" else self.ranges[name]
            return keras.random.uniform((count,), -most, most, dtype="float32", seed=self.seed_generator)

        def matrices(*rows):  # from the six numbers of their first two rows, each one for all or `(count,)`
            filled = [ops.ones_like(angle) * number for number in (*rows, 0, 0, 1)]
            return ops.reshape(ops.stack(filled, axis=1), (-1, 3, 3))

        angle, right, down = draw("rotation_range"), draw("width_shift_range"), draw("height_shift_range")
        shear, wide, tall = draw("shear_range"), 1 + draw("zoom_range"), 1 + draw("zoom_range")
        middle = (width - 1) / 2, (height - 1) / 2
        return (
            matrices(1, 0, middle[0], 0, 1, middle[1])
            @ matrices(ops.cos(angle), -ops.sin(angle), 0, ops.sin(angle), ops.cos(angle), 0)
            @ matrices(1, 0, right * width, 0, 1, down * height)
            @ matrices(1, -ops.sin(shear), 0, 0, ops.cos(shear), 0)
            @ matrices(wide, 0, 0, 0, tall, 0)
            @ matrices(1, 0, -middle[0], 0, 1, -middle[1])
        )

    def get_config(self):
        return {**super().get_config(), **self.ranges, "seed": self.seed}
