import abc
import ast
import collections
import dataclasses
import enum
import functools
import importlib
import sys
from itertools import chain

import numpy as np
import program
import pytest

from mnist_lab.describe import describe_model
from mnist_lab.errors import LabError
from mnist_lab.train import keras, tf

layers, optimizers, losses = keras.layers, keras.optimizers, keras.losses


def describe(*inner, loss="mse", optimizer=None, metrics=("accuracy",)) -> dict:
    network = keras.Sequential([keras.Input((784,)), *inner, layers.Dense(10)])
    network.compile(optimizer=optimizer or optimizers.Adam(0.01), loss=loss, metrics=list(metrics))
    return describe_model(network)


def test_the_whole_description_of_a_plain_network():
    """To the letter: were it to change with a version of Keras, no recorded run would be recognised any more."""
    dense = {"units": 256, "activation": "sigmoid"}
    assert describe(layers.Dense(**dense), layers.Dropout(0.2), loss="categorical_crossentropy") == {
        "network": {
            "class": "Sequential",
            "layers": [
                {"class": "Dense", "settings": dense},
                {"class": "Dropout", "settings": {"rate": 0.2}},
                {"class": "Dense", "settings": {"units": 10}},
            ],
        },
        "input": [None, 784],
        "optimizer": {"class": "Adam", "settings": {"learning_rate": pytest.approx(0.01)}},
        "loss": {"class": "CategoricalCrossentropy", "settings": {}},
        "metrics": ["accuracy"],
        "weighted_metrics": None,
        "loss_weights": None,
    }


def test_names_and_defaults_do_not_count():
    plain = describe(layers.Dense(5), metrics=[keras.metrics.AUC()])
    told = layers.Dense(5, use_bias=True, kernel_initializer=keras.initializers.GlorotUniform(), name="mine")
    assert describe(told, metrics=[keras.metrics.AUC()], loss=losses.MeanSquaredError(name="x")) == plain


def test_a_seed_that_keras_draws_does_not_count():
    first, again = (describe(layers.Reshape((28, 28, 1)), layers.RandomCrop(9, 9), layers.Flatten()) for _ in range(2))
    assert first == again


def test_the_name_of_a_metric_counts_since_a_column_bears_it():
    for plain in (keras.metrics.AUC, keras.metrics.CategoricalAccuracy):
        assert describe(metrics=[plain()]) == describe(metrics=[plain()]) != describe(metrics=[plain(name="mine")])


@pytest.mark.parametrize(
    "other",
    [
        {"inner": [layers.Dense(6)]},
        {"inner": [layers.Dense(5, activation="relu")]},
        {"inner": [layers.Dense(5, kernel_initializer="he_normal")]},
        {"inner": [layers.Dense(5, kernel_regularizer=keras.regularizers.L2(0.1))]},
        {"inner": [layers.Dense(5, dtype="mixed_bfloat16")]},
        {"inner": [layers.Dense(5), layers.Dropout(0.1)]},
        {"inner": [layers.Dense(5, trainable=False)]},
        {"inner": [layers.Dense(5)], "optimizer": optimizers.Adam(0.02)},
        {"inner": [layers.Dense(5)], "optimizer": optimizers.Adam()},
        {"inner": [layers.Dense(5)], "optimizer": optimizers.Adam(0.01, beta_1=0.5)},
        {"inner": [layers.Dense(5)], "optimizer": optimizers.Adam(optimizers.schedules.CosineDecay(0.01, 10))},
        {"inner": [layers.Dense(5)], "optimizer": optimizers.Adam(optimizers.schedules.CosineDecay(0.01, 11))},
        {"inner": [layers.Dense(5)], "optimizer": optimizers.Nadam(0.01)},
        {"inner": [layers.Dense(5)], "loss": "mae"},
        {"inner": [layers.Dense(5)], "loss": losses.MeanSquaredError(reduction="sum")},
        {"inner": [layers.Dense(5)], "metrics": ["accuracy", "mae"]},
        {"inner": [layers.Dense(5)], "metrics": [keras.metrics.AUC(num_thresholds=7)]},
    ],
)
def test_everything_else_counts(other):
    assert describe(*other.pop("inner"), **other) != describe(layers.Dense(5))


def test_a_loss_is_the_same_by_all_its_names():
    names = ["mse", "mean_squared_error", losses.mean_squared_error, losses.MeanSquaredError(), "MeanSquaredError"]
    assert all(describe(loss=name) == describe(loss="mse") for name in names)


def make_functional(names=("a", "b"), swap=False):
    keras.backend.clear_session()
    inputs = keras.Input((784,))
    a = layers.Dense(8, activation="relu", name=names[0])(inputs)
    b = layers.Dense(8, name=names[1])(inputs)
    outputs = layers.Dense(10)(layers.Subtract()([b, a] if swap else [a, b]))
    network = keras.Model(inputs, outputs)
    network.compile(loss="mse", optimizer="adam")
    return describe_model(network)


def test_what_feeds_what_counts_in_a_functional_network():
    assert make_functional() == make_functional(("x", "y"))
    assert make_functional() != make_functional(swap=True)


def make_loss(power):
    def loss(y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** power)

    return loss


def test_own_code_counts_by_its_source_and_by_what_it_uses():
    assert describe(loss=make_loss(2)) == describe(loss=make_loss(2)) != describe(loss=make_loss(3))

    class Scale(layers.Layer):
        def call(self, x):
            return 2 * x

    def make_scale(factor):
        class Scale(layers.Layer):
            def call(self, x):
                return factor * x

        return Scale()

    assert describe(make_scale(2)) == describe(make_scale(2)) != describe(make_scale(3))
    assert describe(Scale()) != describe(make_scale(2))
    two, three = describe(layers.Lambda(lambda x: 2 * x)), describe(layers.Lambda(lambda x: 3 * x))
    assert two != three  # not in one line with them: an older pytest moves what stands in an assert


FACTOR = 2.0
dropout = object()  # a name that layers use for an attribute of their own


def test_own_code_counts_wherever_it_is(monkeypatch):
    def make_initializer(value):
        class Constant(keras.initializers.Initializer):
            def __call__(self, shape, dtype=None):
                return keras.ops.full(shape, value)

        return layers.Dense(5, kernel_initializer=Constant())

    assert describe(make_initializer(1)) == describe(make_initializer(1)) != describe(make_initializer(2))

    def make_rate(value):
        return optimizers.SGD(lambda: value)

    assert describe(optimizer=make_rate(1)) == describe(optimizer=make_rate(1)) != describe(optimizer=make_rate(2))

    class Focal(losses.Loss):  # takes an argument that the inherited get_config does not tell
        def __init__(self, gamma):
            super().__init__()
            self.gamma = gamma

        def call(self, y_true, y_pred):
            return keras.ops.abs(y_true - y_pred) ** self.gamma

    assert describe(loss=Focal(1)) == describe(loss=Focal(1)) != describe(loss=Focal(2))

    def nested(y_true, y_pred):
        return (lambda: FACTOR * keras.ops.mean(y_true - y_pred))()

    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dropout = layers.Dropout(0.5)

        def call(self, x):
            return self.dropout(x)

    before = describe(Block(), loss=nested)
    assert describe(Block(), loss=nested) == before
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert describe(Block(), loss=nested) != before

    def make_smoothed(smoothing):
        inner = losses.CategoricalCrossentropy(label_smoothing=smoothing)

        def loss(y_true, y_pred):
            return inner(y_true, y_pred)

        return loss

    assert describe(loss=make_smoothed(0.1)) == describe(loss=make_smoothed(0.1)) != describe(loss=make_smoothed(0.2))


def make_subclass():
    class Mine(keras.Model):
        def __init__(self, units=8):
            inputs = keras.Input((784,))
            super().__init__(inputs, layers.Dense(10)(layers.Dense(units)(inputs)))

    network = Mine()
    network.compile(loss="mse")
    return network


def test_what_cannot_be_recognised_again_is_refused():
    source = {"__name__": "elsewhere"}
    exec("def unseen(y_true, y_pred): return (y_true - y_pred) ** 2", source)
    with pytest.raises(LabError, match="unseen cannot be recognised again: it has no source"):
        describe(loss=source["unseen"])
    with pytest.raises(LabError, match="Mine takes units and keeps no such attribute"):
        describe_model(make_subclass())
    with pytest.raises(LabError, match="loss uses power, a list_iterator"):
        describe(loss=make_loss(iter([])))


def test_a_second_compile_without_a_loss_keeps_the_first():
    network = keras.Sequential([keras.Input((784,)), layers.Dense(10)])
    network.compile(optimizers.Adam(0.01), loss="mse")
    network.compile(optimizers.Adam(0.01), metrics=["accuracy"])
    assert describe_model(network) == describe()


@pytest.mark.parametrize(
    "make",
    [
        lambda n: {"loss": losses.Huber(delta=n)},
        lambda n: {"loss": losses.CosineSimilarity(axis=n - 2)},
        lambda n: {"metrics": [keras.metrics.CosineSimilarity(axis=n - 2)]},
        lambda n: {"metrics": [keras.metrics.SparseTopKCategoricalAccuracy(from_sorted_ids=n > 1)]},
        lambda n: {"inner": [layers.Dense(784, kernel_initializer=keras.initializers.Identity(gain=n))]},
        lambda n: {"inner": [layers.Dense(5, activity_regularizer=keras.regularizers.L2(n))]},
        lambda n: {"inner": [layers.Pipeline([layers.Rescaling(n)])]},
    ],
)
def test_arguments_count_that_keras_itself_does_not_tell(make):
    first, again, other = (make(n) for n in (1, 1, 2))
    first, again, other = (describe(*told.pop("inner", []), **told) for told in (first, again, other))
    assert first == again != other


def make_class():
    class Base(losses.Loss):
        def __init__(self, first=1, **others):
            super().__init__()
            self.first, self.others = first, dict(others)

        def call(self, y_true, y_pred):
            return keras.ops.abs(y_true - y_pred) ** self.first

    class Inherited(Base):
        pass

    return Inherited


def test_what_an_object_of_ones_own_keeps_counts():
    kind = make_class()

    def later(value):
        made = kind()
        made.later = value
        return made

    assert describe(loss=kind(1)) == describe(loss=kind(first=1)) != describe(loss=kind(2))  # an inherited __init__
    assert describe(loss=kind(other=1)) == describe(loss=kind(other=1)) != describe(loss=kind(other=2))
    assert describe(loss=later(1)) == describe(loss=later(1)) != describe(loss=later(2))
    with pytest.raises(LabError, match="Inherited keeps later, a list_iterator"):
        describe(loss=later(iter([])))

    class Mine(keras.Sequential):
        rate = 1

    def subclass(rate):
        network = Mine([keras.Input((784,)), layers.Dense(10)])
        network.compile(loss="mse")
        network.rate = rate
        return describe_model(network)

    assert subclass(1) == subclass(1) != subclass(2)

    class Block(layers.Layer):
        def __init__(self, **settings):
            super().__init__()
            self.inner, self.seeds = [layers.Dense(784, **settings)], keras.random.SeedGenerator()

        def call(self, x):
            return self.inner[0](x)

    assert describe(Block()) == describe(Block()) != describe(Block(activation="relu"))


def test_code_behind_a_wrapper_a_method_or_a_module_counts(monkeypatch):
    def wrap(factor, wrapped=keras.losses.mean_squared_error):
        @functools.wraps(wrapped)
        def loss(y_true, y_pred):
            return factor * wrapped(y_true, y_pred)

        return loss

    assert describe(loss=wrap(1)) == describe(loss=wrap(1)) != describe(loss=wrap(2))

    traced = [tf.function(make_loss(power)) for power in (1, 1, 2)]
    assert describe(loss=traced[0]) == describe(loss=traced[1]) != describe(loss=traced[2])
    plain = [tf.autograph.experimental.do_not_convert(make_loss(power)) for power in (1, 1, 2)]
    assert describe(loss=plain[0]) == describe(loss=plain[1]) != describe(loss=plain[2])

    class Power:
        exponent = 2

        def take(self, x):
            return x**self.exponent

    def by_method(power):
        take = power.take

        def loss(y_true, y_pred):
            return take(y_true - y_pred)

        return loss

    other = Power()
    other.exponent = 3
    assert describe(loss=by_method(Power())) == describe(loss=by_method(Power())) != describe(loss=by_method(other))
    random = np.random.default_rng(0)
    with pytest.raises(LabError, match=r"loss uses power, a (Generator|builtin)"):
        describe(loss=make_loss(random.normal))
    with pytest.raises(LabError, match="loss uses power, a poly1d"):
        describe(loss=make_loss(np.poly1d([1, 2])))

    def by_module(y_true, y_pred):
        return program.UNITS * keras.ops.abs(y_true - y_pred)

    before = describe(loss=by_module)
    assert describe(loss=by_module) == before
    monkeypatch.setattr(program, "UNITS", 9)  # as if it came from elsewhere: the module's text is as it was
    assert describe(loss=by_module) != before
    ab, ba = (lambda a, b: keras.ops.mean(a - b)), (lambda b, a: keras.ops.mean(a - b))
    assert describe(loss=ab) != describe(loss=ba)


def test_what_is_kept_from_decay_counts():
    every, some = optimizers.AdamW(0.01), optimizers.AdamW(0.01)
    some.exclude_from_weight_decay(var_names=["bias"])
    assert describe(optimizer=every) == describe(optimizer=optimizers.AdamW(0.01)) != describe(optimizer=some)


def test_a_module_changed_since_it_was_imported_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "losses_of_mine.py"
    module.write_text("def loss(y_true, y_pred):\n    return abs(y_true - y_pred)\n")
    mine = importlib.import_module("losses_of_mine")
    before = describe(loss=mine.loss)
    mine = importlib.reload(mine)
    module.write_text("def loss(y_true, y_pred):\n    return abs(y_true - y_pred) ** 1.5\n")
    assert describe(loss=mine.loss) == before  # what it was is known
    monkeypatch.setattr("mnist_lab.source.texts", {})
    with pytest.raises(LabError, match=r"losses_of_mine\.py was changed since loss was imported: restart the kernel"):
        describe(loss=mine.loss)
    assert describe(loss=importlib.reload(mine).loss) != before


def test_a_module_counts_that_is_imported_inside_a_function(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def whole(y_true, y_pred):
        import powers_of_mine

        return powers_of_mine.raise_it(y_true - y_pred)

    def part(y_true, y_pred):
        from powers_of_mine import raise_it

        return raise_it(y_true - y_pred)

    told = []
    for power in (1, 2):
        (tmp_path / "powers_of_mine.py").write_text(f"def raise_it(x):\n    return x**{power}{' ' * power}\n")
        importlib.invalidate_caches()
        sys.modules.pop("powers_of_mine", None)
        told.append((describe(loss=whole), describe(loss=part)))
    assert told[0][0] != told[1][0]
    assert told[0][1] != told[1][1]


class Apply(layers.Layer):
    """As students write them: without a get_config, and Keras cannot tell of a function or an array."""

    def __init__(self, what, **others):
        super().__init__(**others)
        self._kept = what

    def call(self, x):
        return self._kept(x) if callable(self._kept) else x * self._kept


class Read(layers.Layer):
    def __init__(self):
        super().__init__()
        self.read = READ  # as from a file

    def call(self, x):
        return x * self.read


READ = [1.0]


def test_what_a_layer_without_get_config_keeps_counts(monkeypatch):
    makes = [
        lambda n: Apply(np.full(784, n)),
        lambda n: Apply(tf.fill([784], float(n))),
        lambda n: Apply(lambda x: n * x),
        lambda n: Apply(functools.partial(keras.ops.multiply, n)),
        lambda n: Apply(layers.Dense(n)),
        lambda n: Apply(len, activity_regularizer=keras.regularizers.L2(n)),
        lambda n: Apply(len, trainable=n > 2),
    ]
    for make_one in makes:
        first, again, other = (describe(layers.Dense(784), Still(make_one(n))) for n in (2, 2, 3))
        assert first == again != other
    before = describe(Read())
    monkeypatch.setitem(globals(), "READ", [2.0])
    assert describe(Read()) != before


class Still(layers.Layer):
    """Holds a layer and does nothing with it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def build(self, shape): ...  # which Keras wraps for each object

    def call(self, x):
        return x


class Kind(enum.Enum):
    ONE, TWO = 1, 2


@dataclasses.dataclass(frozen=True)
class Settings:
    power: float


class Base(abc.ABC):
    @functools.cached_property
    @abc.abstractmethod
    def power(self): ...


class Powered(Base):
    def __init__(self, power):
        self.own_power = power

    @functools.cached_property
    def power(self):
        return self.own_power


@functools.lru_cache
def cached(x):
    return x


def use(value):
    def loss(y_true, y_pred):
        return keras.ops.mean(y_true - y_pred), value

    return loss


def make_rounded(n):
    @keras.ops.custom_gradient
    def rounded(x):
        return n * x, lambda *_, upstream=None: upstream

    return rounded


class Squared(keras.regularizers.Regularizer):
    def __init__(self, by):
        self.strength = by

    def __call__(self, x):
        return self.strength * keras.ops.sum(x**2)


def make_normal(n):
    normal = layers.Normalization()
    normal.adapt(n * np.arange(8.0).reshape(4, 2))
    return normal


def make_replaced(n):
    network = keras.Sequential([keras.Input((784,)), layers.Dense(10)])
    network.compile(loss="mse")
    network.compute_loss = lambda x=None, y=None, y_pred=None, **_: n * keras.ops.mean((y - y_pred) ** 2)
    return describe_model(network)


def make_lookup(n):
    lookup = layers.IntegerLookup()
    lookup.adapt([n])
    return lookup


class Permissive(dict):
    __getattr__ = dict.get


def make_pair(n):
    return collections.namedtuple("Pair", "a b" if n > 2 else "b a")(1, 2)


@dataclasses.dataclass(slots=True)
class Slotted:
    power: float


def make_meta(n):
    class Meta(type):
        def power(cls):
            return n

    class Made(metaclass=Meta): ...

    return Made


def make_attributed(n):
    def loss(y_true, y_pred):
        return loss.power * (y_true - y_pred)

    loss.power = n
    return loss


def make_property(n):
    class Set:
        power = property(None, lambda self, value: print(n * value))

    return Set()


def make_penalty(n):
    network = keras.Sequential([keras.Input((784,)), layers.Dense(10)])
    network.layers[0].kernel.regularizer = keras.regularizers.L2(n)
    network.compile(loss="mse")
    return describe_model(network)


def make_shared(n):
    first = layers.Dense(784)
    second = first if n > 2 else layers.Dense(784)
    return describe(keras.Sequential([first, layers.ReLU()]), keras.Sequential([second, layers.ReLU()]))


class Noise(layers.Layer):
    def __init__(self, seeds):
        super().__init__()
        self.seeds = seeds

    def call(self, x):
        return x + keras.random.normal((784,), seed=self.seeds)


def make_noise(n):
    seeds = keras.random.SeedGenerator()
    return describe(Noise(seeds), Noise(seeds if n > 2 else keras.random.SeedGenerator()))


class Both(layers.Layer):
    def __init__(self, one, other):
        super().__init__()
        self.one, self.other = one, other

    def call(self, x):
        return self.other(self.one(x))


def make_both(n):
    first = layers.Dense(784)
    return describe(Both(first, first if n > 2 else layers.Dense(784)))


def make_dense(**settings):
    return describe(layers.Dense(5, **settings))


@pytest.mark.parametrize(
    "tell",
    [
        lambda n: describe(loss=use(Kind(n - 1))),
        lambda n: describe(loss=use(Settings(n))),
        lambda n: describe(loss=use(Powered(n))),
        lambda n: describe(loss=use([cached, chain, tf.float32 if n > 2 else tf.float16])),
        lambda n: describe(loss=use([lambda: n])),
        lambda n: describe(loss=use({"a": 1, "b": 2} if n > 2 else {"b": 2, "a": 1})),
        lambda n: describe(loss=use(make_normal(n))),
        lambda n: describe(loss=use(np.full(2000, n))),
        lambda n: describe(loss=losses.MeanSquaredError(dtype="float32" if n > 2 else "bfloat16")),
        lambda n: make_dense(activation=make_rounded(n)),
        lambda n: make_dense(kernel_regularizer=Squared(n)),
        lambda n: describe(layers.Lambda(lambda x, by: by * x, arguments={"by": np.full(784, n)})),
        lambda n: describe(layers.Lambda(functools.partial(keras.ops.multiply, n))),
        make_replaced,
        lambda n: describe(Still(make_lookup(n))),
        lambda n: describe(loss=use(Permissive(power=n))),
        lambda n: describe(loss=use(make_pair(n))),
        lambda n: describe(loss=use(Slotted(n))),
        lambda n: describe(loss=use(range(n))),
        lambda n: describe(loss=use(np.ones(3, "float32" if n > 2 else "float64"))),
        lambda n: describe(loss=use(type("Float", (float,), {"twice": lambda x: n * x})(1.0))),
        lambda n: describe(loss=use(make_meta(n))),
        lambda n: describe(loss=make_attributed(n)),
        lambda n: describe(loss=use(make_property(n))),
        make_penalty,
        make_shared,
        make_both,
        make_noise,
    ],
)
def test_whatever_code_uses_counts(tell):
    assert tell(2) == tell(2) != tell(3)


def test_what_is_only_remembered_does_not_count():
    one, other = Powered(2), Powered(2)
    assert one.power == 2  # kept from now on
    assert describe(loss=use(one)) == describe(loss=use(other))


def test_a_number_of_numpy_is_a_number():
    assert describe(loss=use(np.float64(2))) == describe(loss=use(2.0))


def test_a_method_of_a_class_is_none_that_was_replaced():
    assert "replaced" not in describe(Still(None))


def test_what_keras_takes_from_its_settings_counts():
    before = describe()
    keras.config.set_epsilon(1e-3)
    try:
        assert describe() != before
    finally:
        keras.config.set_epsilon(1e-7)


def test_a_function_is_the_same_where_lines_above_it_are_new(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "moved_of_mine.py"
    text = "def loss(y_true, y_pred):\n    # why\n    return [abs(x) for x in (y_true - y_pred,)][0]\n"
    module.write_text(text)
    mine = importlib.import_module("moved_of_mine")
    before = describe(loss=mine.loss)
    module.write_text(f"# new\n\n{text}")
    assert describe(loss=mine.loss) == before
    namespace = {"__name__": "moved_of_mine"}  # as autoreload does it: from the syntax tree, with the file's name
    exec(compile(ast.unparse(ast.parse(text)), module, "exec"), namespace)
    assert describe(loss=namespace["loss"]) == before


def test_a_functional_network_that_keras_cannot_save_is_refused_in_one_line():
    inputs = keras.Input((784,))
    network = keras.Model(inputs, layers.Dense(10)(Apply(lambda x: 2 * x)(inputs)))
    network.compile(loss="mse")
    with pytest.raises(LabError, match="one of its layers takes what Keras cannot save") as error:
        describe_model(network)
    assert "\n" not in str(error.value)


def test_what_only_looks_like_an_object_of_keras_is_described():
    class Alike:
        def __init__(self, value):
            self.value = value

        def get_config(self):
            return {}

    assert describe(loss=use(Alike(1))) == describe(loss=use(Alike(1))) != describe(loss=use(Alike(2)))


class Knowing(layers.Layer):
    """Its parts know it."""

    def __init__(self, by):
        super().__init__()
        self.by = by
        self.apply, self.multiply = (lambda x: x * self.by), self.multiply_by
        self.inner = layers.Dense(784, activation=self.multiply_by)

    def multiply_by(self, x):
        return x * self.by

    def call(self, x):
        return self.inner(self.apply(x))


class KnowingLoss(losses.Loss):
    def __init__(self, by):
        super().__init__()
        self.by, self.apply = by, lambda x: x * self.by

    def call(self, y_true, y_pred):
        return self.apply(y_true - y_pred)


class Rows(layers.Layer):
    def build(self, shape):
        self.rows = [self.add_weight((784,)), self.add_weight((784,))]

    def call(self, x):
        return x * self.rows[0] + self.rows[1]


def make_half(whole):
    if whole:
        factor = 2.0

    def loss(y_true, y_pred):
        return factor * (y_true - y_pred) if whole else y_true - y_pred

    return loss


def test_what_knows_itself_or_is_not_there_is_described():
    assert describe(Knowing(1)) == describe(Knowing(1)) != describe(Knowing(2))
    assert describe(loss=KnowingLoss(1)) == describe(loss=KnowingLoss(1)) != describe(loss=KnowingLoss(2))
    assert describe(loss=make_half(True)) != describe(loss=make_half(False))
    assert describe(Rows()) == describe(Rows())
    itself = []
    itself.append(itself)
    assert describe(loss=use(itself)) == describe(loss=use(itself))


def test_a_loss_may_look_at_its_own_network_and_a_teacher_counts_by_its_weights():
    def looking(teacher=None):
        network = keras.Sequential([keras.Input((784,)), layers.Dense(10)])
        looked_at = teacher or network.layers[0]
        network.compile(loss=lambda y_true, y_pred: keras.ops.sum(looked_at.kernel) + y_true - y_pred)
        return describe_model(network)

    one, other = layers.Dense(10), layers.Dense(10)
    one.build((None, 784))
    other.build((None, 784))
    assert looking() == looking()  # whatever its weights are
    assert looking(one) == looking(one) != looking(other)


def test_what_holds_itself_without_end_is_refused_in_one_line():
    itself = []
    itself.append(itself)
    loss = KnowingLoss(itself)
    with pytest.raises(LabError, match="the network uses something that holds itself"):
        describe(loss=loss)
