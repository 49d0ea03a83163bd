import base64

import numpy as np
import pandas as pd

from mnist_lab import plots
from mnist_lab.figures import Answer


def test_an_answer_is_folded_and_holds_all_that_is_shown():
    table, figure = pd.DataFrame({"a": [1]}), plots.plot_digits(np.zeros((1, 784)))
    answer = Answer(table, figure, "a < b", np.ones(2))
    html = answer._repr_html_()
    assert html.startswith("<details><summary>")
    assert table._repr_html_() in html
    png = base64.b64encode(figure._repr_png_()[0]).decode()
    assert html.count(f'<img alt="1 image of digits" src="data:image/png;base64,{png}">') == 1
    assert "<pre>a &lt; b</pre><pre>[1. 1.]</pre>" in html
    assert repr(answer).splitlines()[-2:] == ["a < b", "array([1., 1.])"]
