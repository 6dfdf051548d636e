"""A real process that trains until it is killed or done.

``python -m tests.support.training_process begin STORE RUN OPTIONS`` begins a run, OPTIONS being a `TrainConfig` as
JSON; checkpoints come every twentieth of a second.
``python -m tests.support.training_process cross-validate STORE FOLDER OPTIONS`` begins or goes on with three folds.
"""

from __future__ import annotations

import json
import sys

from songbag_training import TrainConfig, train
from songbag_training.fit.cross_validation import cross_validate

CHECKPOINT_S = 0.05


def main(command: str, *arguments: str) -> None:
    if command == "begin":
        store, run, options = arguments
        train(store, "label", run, config=TrainConfig.from_dict(json.loads(options)), checkpoint_s=CHECKPOINT_S)
    else:
        store, folder, options = arguments
        cross_validate(store, "label", folder, folds=3, config=TrainConfig.from_dict(json.loads(options)))


if __name__ == "__main__":
    main(*sys.argv[1:])
