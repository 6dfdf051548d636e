"""How often 95 % intervals cover the truth, by simulation: songbag's beside those of the percentile bootstrap.

    python -m benchmarks.intervals [REPEATS]

Made-up models, of which the truth is known, are judged by songs that are drawn again and again. A row is what several
simulations have in common: the lowest, the mean and the highest coverage of those in which one interval in ten or more
is shown; one that is left out is not counted. It takes some minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from songbag_training.evaluation.intervals import Intervals, paired_intervals, song_intervals
from songbag_training.evaluation.metrics import counted_metrics, song_metrics
from songbag_training.songs.task import Task

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REPEATS = 300
RESAMPLES = 400
N_SONGS = (5, 20, 100)
N_CLASSES = (2, 3, 10)
RECALLS = ("0.5", "0.7", "0.9", "0.95", "0.5 to 0.95", "0.5, others 0.95", "0.95, others 0.5")
SIZES = ("equal", "up to 10 times", "one class small")
_LARGE = 100_000

Draw = Callable[[np.random.Generator], Intervals]
"""Draws songs, and returns intervals of what a model does on them."""

Coverage = dict[str, tuple[float, float]]
"""Of each metric: the share of intervals that hold the truth, and the share that is shown at all."""


def main() -> None:
    """Print the tables."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS
    print("| songs a class | of | metric | shown | coverage: lowest, mean, highest | bootstrap within classes |")
    print("|---:|---|---|---:|---|---|")
    for n_songs in N_SONGS:
        for what, simulate in simulations(n_songs).items():
            rng = np.random.default_rng(n_songs)
            show(n_songs, what, list(simulate(rng, repeats)))


def simulations(n_songs: int) -> dict[str, Callable[[np.random.Generator, int], Iterator[tuple[Coverage, Coverage]]]]:
    """Return what is simulated, by name: each yields the coverage of songbag's intervals and of the bootstrap."""
    return {
        **{
            f"one class each, sizes {sizes}": lambda rng, n, sizes=sizes: of_one_class(n_songs, sizes, rng, n)
            for sizes in SIZES
        },
        "one class each, in groups of 5": lambda rng, n: in_groups(n_songs, rng, n),
        "several classes each": lambda rng, n: of_several(n_songs, rng, n),
        "difference of two models": lambda rng, n: of_pairs(n_songs, rng, n),
    }


def show(n_songs: int, what: str, found: Sequence[tuple[Coverage, Coverage]]) -> None:
    """Print a row for each metric."""
    for name in found[0][0]:
        own = [one[0][name] for one in found if one[0][name][1] >= 0.1]
        rates = ", ".join(f"{value:.3f}" for value in summary([rate for rate, _ in own])) if own else "-"
        other = [one[1][name][0] for one in found if name in one[1]]
        others = ", ".join(f"{value:.3f}" for value in summary(other)) if other else "-"
        shown = np.mean([one[0][name][1] for one in found])
        print(f"| {n_songs} | {what} | {name} | {shown:.0%} | {rates} | {others} |", flush=True)


def summary(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lowest, the mean and the highest value."""
    return min(values), float(np.mean(values)), max(values)


def covered(draw: Draw, truth: dict[str, float], rng: np.random.Generator, repeats: int) -> Coverage:
    """Return how often intervals hold the truth."""
    hits, shown = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    for _ in range(repeats):
        for name, ends in draw(rng).ends.items():
            if ends is not None:
                shown[name] += 1
                hits[name] += ends[0] <= truth[name] + 1e-9 and truth[name] - 1e-9 <= ends[1]
    return {name: (hits[name] / max(shown[name], 1), shown[name] / repeats) for name in truth}


def class_sizes(n_songs: int, n_classes: int, sizes: str) -> Ints:
    """Return the number of songs of each class; the smallest has `n_songs`."""
    if sizes == "equal":
        return np.full(n_classes, n_songs)
    if sizes == "one class small":
        return np.array([n_songs] + [10 * n_songs] * (n_classes - 1))
    return (n_songs * np.geomspace(1, 10, n_classes)).astype(np.int64)


def recalls_of(recalls: str, n_classes: int) -> Floats:
    """Return the recall of each class."""
    if recalls == "0.5 to 0.95":
        return np.linspace(0.5, 0.95, n_classes)
    first, *rest = (float(part.removeprefix("others ")) for part in recalls.split(", "))
    return np.array([first] + (rest or [first]) * (n_classes - 1))


def confusion(recalls: Floats, rng: np.random.Generator) -> Floats:
    """Return the probability of each prediction, by class: errors go to the other classes at random."""
    n = len(recalls)
    rates = np.diag(recalls)
    for number, recall in enumerate(recalls):
        rates[number, np.arange(n) != number] = (1 - recall) * rng.dirichlet(np.ones(n - 1))
    return rates


def of_one_class(
    n_songs: int, sizes: str, rng: np.random.Generator, repeats: int
) -> Iterator[tuple[Coverage, Coverage]]:
    """Simulate songs of one class each, drawn within their classes."""
    for n_classes, recalls in product(N_CLASSES, RECALLS):
        n = class_sizes(n_songs, n_classes, sizes)
        rates = confusion(recalls_of(recalls, n_classes), rng)
        task, truth = named(n_classes), metrics_of(rates * n[:, None])
        own = covered(lambda rng, task=task, n=n, rates=rates: judged(task, n, rates, rng), truth, rng, repeats)
        yield own, bootstrap(n, rates, truth, rng, repeats)


def named(n_classes: int, several: bool = False) -> Task:
    """Return a task with this many classes."""
    return Task(tuple(map(str, range(n_classes))), several)


def judged(task: Task, n: Ints, rates: Floats, rng: np.random.Generator) -> Intervals:
    """Draw songs of each class and return the intervals of a model with these rates."""
    true = np.repeat(np.arange(len(n)), n)
    return song_intervals(task, true, np.eye(len(n))[predicted(true, rates, rng)])


def predicted(true: Ints, rates: Floats, rng: np.random.Generator) -> Ints:
    """Draw a prediction for each song."""
    said: Ints = (rng.random((len(true), 1)) > rates.cumsum(axis=1)[true]).sum(axis=1)
    return np.minimum(said, len(rates) - 1)


def metrics_of(counts: Floats) -> dict[str, float]:
    """Return the metrics of confusion matrices, shape (..., n_classes, n_classes)."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    parts = [right, counts.sum(axis=-1) - right, counts.sum(axis=-2) - right, right[..., :1]]
    task, n = named(counts.shape[-1]), counts[..., :, :].sum(axis=(-2, -1))
    found = counted_metrics(task, np.concatenate(parts, axis=-1), 1)
    return {name: value / n if name == "accuracy" else value for name, value in found.items()}


def bootstrap(n: Ints, rates: Floats, truth: dict[str, float], rng: np.random.Generator, repeats: int) -> Coverage:
    """Return the coverage of the percentile bootstrap within classes."""
    hits = dict.fromkeys(truth, 0)
    for _ in range(repeats):
        shares = [rng.multinomial(n[number], rates[number]) / n[number] for number in range(len(n))]
        again = [rng.multinomial(n[number], shares[number], size=RESAMPLES) for number in range(len(n))]
        for name, values in metrics_of(np.stack(again, axis=1)).items():
            low, high = np.quantile(values, [0.025, 0.975])
            hits[name] += low - 1e-9 <= truth[name] <= high + 1e-9
    return {name: (own / repeats, 1.0) for name, own in hits.items()}


def in_groups(n_songs: int, rng: np.random.Generator, repeats: int) -> Iterator[tuple[Coverage, Coverage]]:
    """Simulate groups of 5 songs, `n_songs` groups a class: the model is right more often in some than in others."""
    for n_classes, recall, mixed in product(N_CLASSES, (0.5, 0.7, 0.9, 0.95), (False, True)):
        rates, task = confusion(np.full(n_classes, recall), rng), named(n_classes)
        own_class = np.repeat(np.arange(n_classes), n_songs)

        def draw(
            rng: np.random.Generator,
            rates: Floats = rates,
            task: Task = task,
            own_class: Ints = own_class,
            mixed: bool = mixed,
        ) -> Intervals:
            groups, recall, n_classes = np.repeat(np.arange(len(own_class)), 5), rates[0, 0], len(rates)
            # Songs of a mixed group are of any class. A beta distribution with a correlation of 0.3 within groups.
            true = rng.permutation(np.repeat(own_class, 5)) if mixed else own_class[groups]
            of_groups = rng.beta(recall * 7 / 3, (1 - recall) * 7 / 3, len(own_class))[groups]
            wrong = rates * (1 - np.eye(n_classes)) / (1 - recall)
            said = np.where(rng.random(len(true)) < of_groups, true, predicted(true, wrong, rng))
            return song_intervals(task, true, np.eye(n_classes)[said], groups)

        yield covered(draw, metrics_of(rates), rng, repeats), {}


def of_several(n_songs: int, rng: np.random.Generator, repeats: int) -> Iterator[tuple[Coverage, Coverage]]:
    """Simulate songs of several classes each, of which `n_songs` in the mean are of the rarest class."""
    for n_classes, recall, together in product((3, 10), (0.5, 0.7, 0.9, 0.95), (0.0, 0.5)):
        task = named(n_classes, several=True)
        having = np.geomspace(0.1, 0.4, n_classes)
        true, shares = drawn_several(_LARGE, having, recall, together, rng)
        everything = song_metrics(task, true, shares)
        names = ("accuracy", "subset_accuracy", "micro_f1", "macro_f1", "average_precision")

        def draw(
            rng: np.random.Generator,
            task: Task = task,
            having: Floats = having,
            recall: float = recall,
            together: float = together,
        ) -> Intervals:
            return song_intervals(task, *drawn_several(10 * n_songs, having, recall, together, rng))

        yield covered(draw, {name: everything[name] for name in names}, rng, repeats), {}


def drawn_several(
    n: int, having: Floats, recall: float, together: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], Floats]:
    """Draw songs of several classes and a model's probabilities.

    Parameters
    ----------
    n : int
        Number of songs.
    having : float64, shape (n_classes,)
        Share of the songs that are of each class.
    recall : float
        Of each class; the model says of one song in ten that is not of a class that it is.
    together : float
        Correlation of the classes of a song, and of the errors about it.
    """
    from scipy.special import expit
    from scipy.stats import norm

    def noise() -> Floats:
        own, shared = rng.normal(size=(n, len(having))), rng.normal(size=(n, 1))
        mixed: Floats = np.sqrt(1 - together) * own + np.sqrt(together) * shared
        return mixed

    true = noise() < norm.ppf(having)
    return true.astype(np.float32), expit(noise() + np.where(true, norm.ppf(recall), norm.ppf(0.1)))


def of_pairs(n_songs: int, rng: np.random.Generator, repeats: int) -> Iterator[tuple[Coverage, Coverage]]:
    """Simulate two models on the same songs: equally good or not, and wrong about the same songs or others."""
    for n_classes, (first, second), alike in product(
        N_CLASSES, [(0.5, 0.5), (0.9, 0.9), (0.95, 0.9), (0.9, 0.7)], (0.0, 0.8)
    ):
        task, n = named(n_classes), class_sizes(n_songs, n_classes, "up to 10 times")
        rates = [confusion(np.full(n_classes, recall), rng) for recall in (first, second)]
        truths = [metrics_of(one * n[:, None]) for one in rates]
        truth = {name: truths[0][name] - truths[1][name] for name in truths[0]}

        def draw(
            rng: np.random.Generator,
            rates: Sequence[Floats] = rates,
            task: Task = task,
            n: Ints = n,
            alike: float = alike,
        ) -> Intervals:
            true = np.repeat(np.arange(len(n)), n)
            one, other = rng.random((2, len(true)))
            # Of some songs both models meet the same chance.
            chances = one, np.where(rng.random(len(true)) < alike, one, other)
            shares = [np.eye(len(n))[_at(chance, true, own)] for chance, own in zip(chances, rates, strict=True)]
            return paired_intervals(task, true, shares[0], shares[1])

        yield covered(draw, truth, rng, repeats), {}


def _at(chance: Floats, true: Ints, rates: Floats) -> Ints:
    """Return the prediction of each song at a number from 0 to 1; right answers come first."""
    order = np.argsort(np.arange(len(rates))[None, :] != np.arange(len(rates))[:, None], axis=1, kind="stable")
    ends = np.take_along_axis(rates, order, axis=1).cumsum(axis=1)
    places = np.minimum((chance[:, None] > ends[true]).sum(axis=1), len(rates) - 1)
    said: Ints = order[true, places]
    return said


if __name__ == "__main__":
    main()
