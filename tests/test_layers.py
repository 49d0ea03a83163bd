import numpy as np
import pytest
from networks import make_network
from scipy.ndimage import affine_transform

from mnist_lab.data import load_digits
from mnist_lab.errors import LabError
from mnist_lab.layers import RandomWarp
from mnist_lab.training.backend import keras
from mnist_lab.training.trainer import Trainer

SHIFTS = {"width_shift_range": 0.1, "height_shift_range": 0.1}
RANGES = {"rotation_range": 9, **SHIFTS, "shear_range": 0.22, "zoom_range": 0.15}


@pytest.fixture(scope="module")
def images():
    return load_digits("image").train[:64]


def test_each_image_is_warped_once_by_its_own_matrix(images):
    """Against scipy, which takes the same matrix over rows and columns, on images that are not square."""
    x = images.x[:, :20]
    first, second = (RandomWarp(**RANGES | {"rotation_range": 40}, seed=3) for _ in range(2))
    warped = first(x, training=True).numpy()
    matrices = second.draw_matrices(64, 20, 28).numpy()
    expected = [
        affine_transform(one[:, :, 0], m[1::-1, 1::-1], m[1::-1, 2], order=1, mode="nearest")
        for one, m in zip(x, matrices, strict=True)
    ]
    np.testing.assert_allclose(warped[..., 0], expected, atol=1e-4)
    assert np.array_equal(first(x, training=False), x)
    assert len(np.unique(matrices.reshape(64, 9), axis=0)) == 64


def test_draws_are_spread_evenly_over_the_range():
    def draw(**ranges):
        return RandomWarp(**ranges, seed=1).draw_matrices(20_000, 28, 28).numpy().astype(float)

    turned, moved = draw(rotation_range=9), draw(width_shift_range=0.1, height_shift_range=0.2)
    sheared, zoomed = draw(shear_range=0.22), draw(zoom_range=0.15)
    for found, limit in (
        (np.degrees(np.arctan2(turned[:, 1, 0], turned[:, 0, 0])), 9),
        (moved[:, 0, 2] / 28, 0.1),
        (moved[:, 1, 2] / 28, 0.2),
        (np.arctan2(-sheared[:, 0, 1], sheared[:, 1, 1]), 0.22),
        (zoomed[:, 0, 0] - 1, 0.15),
        (zoomed[:, 1, 1] - 1, 0.15),
    ):
        assert np.abs(found).max() <= limit * 1.0001
        shares = np.histogram(found, bins=10, range=(-limit, limit))[0] / 20_000
        np.testing.assert_allclose(shares, 0.1, atol=0.012)
    assert abs(np.corrcoef(zoomed[:, 0, 0], zoomed[:, 1, 1])[0, 1]) < 0.03  # drawn for each axis alone


def test_the_order_is_rotation_shift_shear_zoom_about_the_centre():
    """The product of 2018; each range alone, from the same seed, draws what it draws among the others."""

    def draw(*names):
        return RandomWarp(**{name: RANGES[name] for name in names}, seed=4).draw_matrices(50, 20, 28).numpy()

    product = draw("rotation_range") @ draw(*SHIFTS) @ draw("shear_range") @ draw("zoom_range")
    np.testing.assert_allclose(draw(*RANGES), product, atol=1e-4)
    still, centre = draw("rotation_range", "shear_range", "zoom_range"), np.array([13.5, 9.5, 1])
    np.testing.assert_allclose(still @ centre, np.tile(centre, (50, 1)), atol=1e-4)


def make_model(seed=None):
    warp = RandomWarp(**RANGES, seed=seed)
    return make_network(warp, keras.layers.Flatten(), shape=(28, 28, 1), optimizer=keras.optimizers.SGD(0.0))


def test_a_model_with_the_layer_is_fitted_saved_and_loaded(images, tmp_path):
    model = make_model(seed=5)
    model.fit(images.x, images.y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    assert np.array_equal(loaded.predict(images.x, verbose=0), model.predict(images.x, verbose=0))


def test_training_repeats_and_each_epoch_sees_other_images(images):
    """The model learns nothing, so that only the images change."""

    def train():
        keras.utils.set_random_seed(0)
        return Trainer(make_model(), images, 20).fit(images, epochs=2, seed=0, shuffle=False)["loss"]

    first = train()
    assert first == train()
    assert first[0] != first[1]


def test_bad_ranges_are_refused():
    with pytest.raises(LabError, match=r"rotation_range must be a number from 0 to 180 \(got -1\)"):
        RandomWarp(rotation_range=-1)
    for value in (1.0, "a", float("nan")):
        with pytest.raises(LabError, match=f"zoom_range must be .*got {value!r}"):
            RandomWarp(zoom_range=value)
