"""`python -m pytest_trt golden`: look at goldens, compare those of two versions, check their files, remove or accept some."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_trt.errors import GoldenError, GoldenMissing

if TYPE_CHECKING:
    from pytest_trt.golden.key import Key
    from pytest_trt.golden.record import Golden
    from pytest_trt.golden.store import Store

FOLDER = "golden"
_SHOWN = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--dir", default=FOLDER, metavar="DIR", help="folder, zip file or fsspec URL; default golden/ here"
    )
    chosen = argparse.ArgumentParser(add_help=False)
    for option in ("precision", "gpu", "product"):
        chosen.add_argument(f"--{option}", help=f"only goldens of this {option}")
    cached = argparse.ArgumentParser(add_help=False)
    cached.add_argument("--cache-dir", metavar="DIR", help="as --trt-cache-dir of pytest")

    listed = actions.add_parser("list", parents=[shared, chosen], help="which goldens there are; status 0")
    listed.add_argument("pattern", nargs="?", default="", help="only cases with this in their name")
    shown = actions.add_parser("show", parents=[shared, chosen], help="all that is kept of a case")
    shown.add_argument("case", metavar="NAME")
    diff = actions.add_parser(
        "diff",
        parents=[shared],
        help="compare two products case by case; status 1 where the newer one is worse",
    )
    diff.add_argument("old", metavar="A", help="product and version, for instance tensorrt-10.13")
    diff.add_argument("new", metavar="B")
    diff.add_argument(
        "-k", dest="pattern", default="", metavar="PATTERN", help="only cases with this in their name"
    )
    diff.add_argument("--all", action="store_true", help="identical cases, and all histograms, too")
    actions.add_parser("verify", parents=[shared], help="read every file whole; status 1 where one is wrong")
    prune = actions.add_parser(
        "prune",
        parents=[shared, cached],
        help="remove what no test asked for, and what interrupted records left",
    )
    prune.add_argument("--yes", action="store_true", help="remove; default: say what would be removed")
    accept = actions.add_parser(
        "accept",
        parents=[shared, chosen, cached],
        help="take what a failing check gave as the golden",
    )
    accept.add_argument("cases", nargs="+", metavar="NAME")


def run(given: argparse.Namespace) -> int:
    """Do one action and return the exit status; wrong use is a `TrtError`."""
    from pytest_trt.golden.store import open_store

    store = open_store(given.dir)
    actions = {
        "list": _list,
        "show": _show,
        "diff": _diff,
        "verify": _verify,
        "prune": _prune,
        "accept": _accept,
    }
    return actions[given.action](store, given)


def _list(store: Store, given: argparse.Namespace) -> int:
    from pytest_trt.report.terminal import table

    keys = [key for key in _chosen(store.keys(), given) if given.pattern in key.case]
    rows = [(key.case, key.precision, key.gpu, key.product) for key in keys]
    if rows:
        print("\n".join(table(("case", "precision", "gpu", "product"), rows)))
    counts = Counter(key.product for key in keys)
    told = ", ".join(f"{number} of {product}" for product, number in sorted(counts.items()))
    print(f"{len(keys)} goldens in {store.place}" + (f": {told}" if told else ""))
    return 0


def _show(store: Store, given: argparse.Namespace) -> int:
    keys = [key for key in _chosen(store.keys(), given) if key.case == given.case]
    if not keys:
        raise _no_case(store, given.case, store.keys())
    for key in keys:
        print("\n".join(_describe(store.load(key))))
    return 0


def _describe(golden: Golden) -> list[str]:
    lines = [golden.key.title, f"  kind: {golden.kind}"]
    lines += [
        f"  output {name!r}: {values.dtype} {tuple(values.shape)}" for name, values in golden.arrays.items()
    ]
    for title, facts in (("facts", golden.facts), ("provenance", golden.provenance)):
        lines.append(f"  {title}:")
        lines += [f"    {name}: {json.dumps(value, default=str)}" for name, value in sorted(facts.items())]
    return lines


def _diff(store: Store, given: argparse.Namespace) -> int:
    from pytest_trt.golden.between import compare_products
    from pytest_trt.golden.record import BENIGN, DRIFT, REGRESSION, UNUSABLE
    from pytest_trt.golden.words import HEAD, count_classes, draw_histograms, make_rows
    from pytest_trt.report.terminal import table

    found, gone, new = compare_products(store, given.old, given.new, given.pattern)
    print(f"{given.old} to {given.new} in {store.place}: {count_classes(found) or 'no case in common'}")
    rows = make_rows(found, every=given.all)
    if rows:
        print("\n".join(table(HEAD, rows)))
    for title, keys in ((f"only of {given.old}", gone), (f"only of {given.new}", new)):
        if keys:
            print(f"{title}: {_listed(keys)}")
    told = (REGRESSION, DRIFT, BENIGN) if given.all else (REGRESSION, DRIFT)
    for one in found:
        for name, histogram in one.histograms.items() if one.outcome in told else ():
            print(f"\n{one.key.case} ({one.key.precision}, {one.key.gpu}), output {name!r}: {one.outcome}")
            print("\n".join(draw_histograms(histogram)))
        for line in one.changes if given.all or one.outcome in told else ():
            print(f"{one.key.case} ({one.key.precision}, {one.key.gpu}): {line}")
    return int(any(one.outcome in (REGRESSION, DRIFT, UNUSABLE) for one in found))


def _verify(store: Store, given: argparse.Namespace) -> int:
    from pytest_trt.golden.strangers import sort_problems

    wrong, foreign = sort_problems(store)
    keys = store.keys()
    for name, words in sorted(wrong.items()):
        print(f"{name}: {words}")
    for name, number in foreign.items():
        print(f"passed over: {number} files in {name}/, in which no golden lies")
    print(f"{len(keys)} goldens in {store.place}, {len(wrong)} files are wrong")
    return int(bool(wrong))


def _prune(store: Store, given: argparse.Namespace) -> int:
    from pytest_trt.golden.cache import note_unused, read_unused

    kept = set(store.keys())
    unused = [key for key in read_unused(given.dir, given.cache_dir) if key in kept]
    left = sorted(name for name, words in store.problems().items() if "a record was interrupted" in words)
    for key in unused:
        print(f"unused: {key.title}")
    for name in left:
        print(f"left by an interrupted record: {name}")
    if not unused and not left:
        print("nothing to remove: no session that ran whole left a golden unused")
        return 0
    if not given.yes:
        print(f"{len(unused)} goldens and {len(left)} files would be removed: --yes")
        return 0
    for key in unused:
        store.remove(key)
    gone = store.clean()
    note_unused(given.dir, (), unused, given.cache_dir)
    print(f"removed {len(unused)} goldens and {len(gone)} files")
    return 0


def _accept(store: Store, given: argparse.Namespace) -> int:
    from pytest_trt.golden.cache import open_rejected

    rejected = open_rejected(given.dir, given.cache_dir)
    keys = rejected.keys()
    for case in given.cases:
        found = [key for key in _chosen(keys, given) if key.case == case]
        if not found:
            raise _no_case(rejected, case, keys, "no failing check of {} left outputs to accept")
        for key in found:
            store.save(rejected.load(key))
            rejected.remove(key)
            print(f"accepted: {key.title}")
    return 0


def _chosen(keys: Iterable[Key], given: argparse.Namespace) -> list[Key]:
    """The keys that the options admit."""
    return [
        key
        for key in keys
        if given.precision in (None, key.precision)
        and given.gpu in (None, key.gpu)
        and (given.product is None or key.product.startswith(given.product))
    ]


def _no_case(store: Store, case: str, keys: Iterable[Key], words: str = "no golden of {}") -> GoldenError:
    import difflib

    known = sorted({key.case for key in keys})
    near = difflib.get_close_matches(case, known, n=1)
    return GoldenMissing(
        f"{words.format(repr(case))} in {store.place!r}",
        why=f"cases: {', '.join(known[:_SHOWN]) or 'none'}",
        mend=f"did you mean {near[0]!r}?" if near else None,
    )


def _listed(keys: list[Key]) -> str:
    names = [f"{key.case} ({key.precision}, {key.gpu})" for key in keys]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
