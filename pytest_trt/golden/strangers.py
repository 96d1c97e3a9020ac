"""Which files of a store are wrong, and which folders beside its goldens are somebody else's."""

from __future__ import annotations

from collections import Counter

from pytest_trt.golden.store import Store


def sort_problems(store: Store) -> tuple[dict[str, str], dict[str, int]]:
    """Return what is wrong by file, and how many files lie in folders without a golden.

    A folder at the top of the store in which no golden lies and no file that could be part of one belongs to somebody else: the
    tables of node cases for instance.

    Returns
    -------
    dict of str to str
        As `Store.problems`, without those folders.
    dict of str to int
        Files by folder.
    """
    problems = store.problems()
    kept = store.keys()
    tops = {key.path.partition("/")[0] for key in kept}
    for name, words in problems.items():
        if not words.startswith("unknown file"):
            tops.add(name.partition("/")[0])
    foreign = Counter(
        name.partition("/")[0] for name in problems if "/" in name and name.partition("/")[0] not in tops
    )
    wrong = {name: words for name, words in problems.items() if name.partition("/")[0] not in foreign}
    return wrong, dict(sorted(foreign.items()))
