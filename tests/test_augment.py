import numpy as np
import pytest
from scipy.ndimage import affine_transform

from mnist_lab.augment import RandomWarp
from mnist_lab.data import Split, load_digits
from mnist_lab.errors import LabError
from mnist_lab.train import Trainer, keras

ALL = {
    "rotation_range": 9,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "shear_range": 0.22,
    "zoom_range": 0.15,
}


@pytest.fixture(scope="module")
def images():
    return load_digits("image").train[:64]


def test_each_image_is_warped_once_by_its_own_matrix(images):
    """Against scipy, which takes the same matrix over rows and columns, on images that are not square."""
    x = images.x[:, :20]
    layer = RandomWarp(**{**ALL, "rotation_range": 40}, seed=3)
    warped = layer(x, training=True).numpy()
    layer = RandomWarp(**{**ALL, "rotation_range": 40}, seed=3)
    matrices = layer.draw_matrices(64, 20, 28).numpy()
    expected = [
        affine_transform(one[:, :, 0], m[1::-1, 1::-1], m[1::-1, 2], order=1, mode="nearest")
        for one, m in zip(x, matrices, strict=True)
    ]
    np.testing.assert_allclose(warped[..., 0], expected, atol=1e-4)
    assert np.array_equal(layer(x, training=False), x)
    assert len(np.unique(matrices.reshape(64, 9), axis=0)) == 64


def test_the_centre_stays_where_it_is_but_for_the_shift():
    centre = np.array([13.5, 13.5, 1])
    still = RandomWarp(**{**ALL, "width_shift_range": 0, "height_shift_range": 0}, seed=0).draw_matrices(100, 28, 28)
    np.testing.assert_allclose(still.numpy() @ centre, np.tile(centre, (100, 1)), atol=1e-4)


@pytest.mark.parametrize(
    ("ingredient", "most", "measure"),
    [
        ("rotation_range", 9.0, lambda m: np.degrees(np.arctan2(m[:, 1, 0], m[:, 0, 0]))),
        ("width_shift_range", 0.1, lambda m: m[:, 0, 2] / 28),
        ("height_shift_range", 0.1, lambda m: m[:, 1, 2] / 28),
        ("shear_range", 0.22, lambda m: np.arctan2(-m[:, 0, 1], m[:, 1, 1])),
        ("zoom_range", 0.15, lambda m: m[:, 0, 0] - 1),
        ("zoom_range", 0.15, lambda m: m[:, 1, 1] - 1),
    ],
)
def test_draws_are_spread_evenly_over_what_was_asked_for(ingredient, most, measure):
    layer = RandomWarp(**{ingredient: most}, seed=1)
    found = measure(layer.draw_matrices(20_000, 28, 28).numpy().astype(float))
    assert np.abs(found).max() <= most * 1.0001
    shares = np.histogram(found, bins=10, range=(-most, most))[0] / 20_000
    np.testing.assert_allclose(shares, 0.1, atol=0.012)


def test_the_two_zooms_are_independent():
    m = RandomWarp(zoom_range=0.15, seed=1).draw_matrices(20_000, 28, 28).numpy()
    assert abs(np.corrcoef(m[:, 0, 0], m[:, 1, 1])[0, 1]) < 0.03


def test_rotation_stands_left_of_shift_then_shear_then_zoom():
    """The product of 2018; each ingredient alone, from the same seed, draws what it draws among the others."""

    def draw(*ranges):
        return RandomWarp(**{name: ALL[name] for name in ranges}, seed=4).draw_matrices(50, 20, 28).numpy()

    shift = draw("width_shift_range", "height_shift_range")
    product = draw("rotation_range") @ shift @ draw("shear_range") @ draw("zoom_range")
    np.testing.assert_allclose(draw(*ALL), product, atol=1e-4)


def network(seed=None):
    model = keras.Sequential([keras.Input((28, 28, 1)), RandomWarp(**ALL, seed=seed), keras.layers.Flatten()])
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def test_a_model_with_the_layer_is_fitted_saved_and_loaded(images, tmp_path):
    model = network(seed=5)
    model.fit(images.x, images.y, batch_size=20, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    assert np.array_equal(loaded.predict(images.x, verbose=0), model.predict(images.x, verbose=0))
    first, second = (loaded.layers[0](images.x, training=True).numpy() for _ in range(2))
    assert not np.array_equal(first, second)


def test_xla_is_not_tried_on_it(images):
    """On a machine with a GPU Keras compiles by XLA unasked, which knows no way to warp."""
    model = network()
    with pytest.warns(UserWarning, match="jit_compile=False"):
        model.compile("adam", "binary_crossentropy", jit_compile=True)
    model.fit(images.x, images.y, verbose=0)


def test_training_repeats_and_every_epoch_sees_other_images(images):
    histories = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        histories.append(Trainer(network(), images, 20).fit(images, epochs=2, seed=0))
    assert histories[0]["loss"] == histories[1]["loss"]
    model = network()
    model.optimizer.learning_rate = 0.0  # only the images change
    losses = Trainer(model, Split(images.x, images.y), 20).fit(images, epochs=2, seed=0, shuffle=False)["loss"]
    assert losses[0] != losses[1]


def test_half_precision_rounds_pixels_and_not_places(images):
    exact = RandomWarp(**ALL, seed=2)(images.x, training=True).numpy()
    half = RandomWarp(**ALL, seed=2, dtype="mixed_bfloat16")(images.x, training=True)
    assert half.dtype == "bfloat16"
    np.testing.assert_allclose(half.numpy().astype("float32"), exact, atol=0.01)


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        ({"rotation_range": -1}, "rotation_range is -1, but allowed is a number from 0 to 180"),
        ({"zoom_range": 1.0}, "zoom_range is 1.0, but"),
        ({"shear_range": "a"}, "shear_range is 'a', but"),
        ({"width_shift_range": True}, "width_shift_range is True, but"),
        ({"height_shift_range": float("nan")}, "height_shift_range is nan, but"),
    ],
)
def test_bad_ranges_are_refused(ranges, told):
    with pytest.raises(LabError, match=told):
        RandomWarp(**ranges)


def test_other_shapes_are_refused(images):
    with pytest.raises(LabError, match=r"takes images \(n, height, width, channels\), not \(64, 784\)"):
        RandomWarp()(images.x.reshape(64, 784))


def test_numbers_of_numpy_are_numbers(images):
    layer = RandomWarp(rotation_range=np.float32(9), zoom_range=np.int64(0), seed=1)
    assert (layer.get_config()["rotation_range"], layer.get_config()["zoom_range"]) == (9.0, 0.0)
