from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from songbag_training.parts.schedule import RisingCosine


@pytest.mark.parametrize("n_steps", [7, 40, 999])
def test_the_learning_rate_is_that_of_keras_with_a_warm_up(n_steps: int) -> None:
    highest, n_rising = 0.002, n_steps // 10
    ours = RisingCosine(highest, n_steps)
    theirs = keras.optimizers.schedules.CosineDecay(
        highest / 20, n_steps - n_rising, warmup_target=highest, warmup_steps=n_rising
    )
    # Two steps more than there are: the rate stays at its end.
    steps = tf.range(n_steps + 2, dtype=tf.int64)
    of_steps = tf.function(lambda rate: tf.map_fn(rate, steps, fn_output_signature=tf.float32))
    rates = np.stack([of_steps(schedule) for schedule in (ours, theirs)], axis=1)
    assert np.abs(rates[:, 0] - rates[:, 1]).max() <= 3e-7 * highest
    assert rates.max() == pytest.approx(highest)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
