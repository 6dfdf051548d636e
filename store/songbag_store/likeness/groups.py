"""Groups of songs that are linked with each other."""

from __future__ import annotations

import numpy as np

from songbag_store.types import Ints


def same(codes: Ints) -> Ints:
    """Return links between songs of one code, shape (links, 2): each with the first of them; negative is no code."""
    (known,) = np.nonzero(codes >= 0)
    _, first, numbers = np.unique(codes[known], return_index=True, return_inverse=True)
    firsts = known[first[numbers]]
    links: Ints = np.stack([firsts, known], axis=1)[firsts != known]
    return links


def groups_of(links: Ints, n_songs: int) -> Ints:
    """Return the number of each song's group: songs that are linked, also if only by a chain of others."""
    heads, tails = links.T
    from scipy.sparse import coo_array  # scipy takes longer to load than most commands run
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links), np.bool_), (heads, tails)), shape=(n_songs, n_songs))
    _, groups = connected_components(graph, directed=False)
    return groups.astype(np.int64)


class Joined:
    """Groups of songs that are joined one by one.

    Parameters
    ----------
    groups : int64, shape (n,)
        The group of each song to begin with.
    """

    def __init__(self, groups: Ints) -> None:
        self._groups = groups
        self._above = list(range(int(groups.max(initial=-1)) + 1))

    def groups(self) -> Ints:
        """Return the group of each song now."""
        now = np.array([self._top(group) for group in range(len(self._above))], np.int64)
        groups: Ints = now[self._groups]
        return groups

    def are_joined(self, first: int, second: int) -> bool:
        """Return whether two songs are of one group."""
        return self._top(int(self._groups[first])) == self._top(int(self._groups[second]))

    def join(self, first: int, second: int) -> None:
        """Join the groups of two songs."""
        self._above[self._top(int(self._groups[first]))] = self._top(int(self._groups[second]))

    def _top(self, group: int) -> int:
        while self._above[group] != group:
            self._above[group] = self._above[self._above[group]]
            group = self._above[group]
        return group
