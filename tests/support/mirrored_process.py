"""A real process in which the CPU counts as two devices that share every batch.

``python -m tests.support.mirrored_process STORE RUN OPTIONS``, OPTIONS being a
`TrainConfig` as JSON; prints how many devices
the model was on.
"""

from __future__ import annotations

import json
import sys

import tensorflow as tf

from songbag_training import TrainConfig, train
from songbag_training.fit import fit as fitting


def main(store: str, run: str, options: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    fitting.find_strategy = lambda batch_size, n_members: strategy
    train(store, "label", run, config=TrainConfig.from_dict(json.loads(options)))
    print("devices", strategy.num_replicas_in_sync)


if __name__ == "__main__":
    main(*sys.argv[1:])
