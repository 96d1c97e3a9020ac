"""What the words of options mean: each parser returns the value of a setting, or says what the good ones are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pytest_trt.errors import SettingsError
from pytest_trt.settings import BATTERIES, DATA_KINDS, GOOD_CLAIMS, REQUIREMENTS, read_claim


class Source(NamedTuple):
    """Where the value of an option stands: words for a message, and where relative paths start."""

    where: str
    folder: Path


Parse = Callable[[list[str], Source], Any]


def nearest(value: str, good: Iterable[str]) -> str | None:
    """Return the good value that looks most like `value`, or None where none does."""
    import difflib  # only for messages

    found = difflib.get_close_matches(value.lower(), list(good), n=1)
    return found[0] if found else None


def refuse(value: str, good: Sequence[str], source: Source) -> SettingsError:
    """Return the error for a value that is none of the good ones."""
    guess = nearest(value, good)
    mend = f"did you mean {guess!r}?" if guess else None
    return SettingsError(
        f"{source.where}: {value!r} is unknown", why=f"good values: {', '.join(good)}", mend=mend
    )


def one_of(good: Sequence[str], fold: Callable[[str], str] = str.lower) -> Parse:
    """Return what reads one of these values."""

    def parse(words: list[str], source: Source) -> str:
        value = fold(words[-1].strip())
        if value not in good:
            raise refuse(words[-1], good, source)
        return value

    return parse


def split_commas(words: Iterable[str]) -> list[str]:
    """Return the parts of comma lists, stripped, in order, each once."""
    parts = (part.strip() for word in words for part in word.split(","))
    return list(dict.fromkeys(part for part in parts if part))


def some_of(good: Sequence[str]) -> Parse:
    """Return what reads a comma list of these values."""

    def parse(words: list[str], source: Source) -> tuple[str, ...]:
        parts = [part.lower() for part in split_commas(words)]
        if not parts:
            raise refuse(",".join(words), good, source)
        for part in parts:
            if part not in good:
                raise refuse(part, good, source)
        return tuple(dict.fromkeys(parts))

    return parse


def parse_data(words: list[str], source: Source) -> tuple[str, ...]:
    """Return the data kinds that battery names and kind names stand for, each once."""
    names = some_of((*BATTERIES, *DATA_KINDS))(words, source)
    return tuple(dict.fromkeys(kind for name in names for kind in BATTERIES.get(name, (name,))))


def parse_require(words: list[str], source: Source) -> frozenset[str]:
    """Return the requirements of a comma list."""
    return frozenset(some_of(REQUIREMENTS)(words, source))


def parse_gpu(words: list[str], source: Source) -> str:
    """Return the name of a GPU class, or `auto`."""
    name = words[-1].strip().lower()
    if name == "auto":
        return name
    from pytest_trt import hardware  # reads a table: only when a class is named

    try:
        return hardware.get(name).name
    except SettingsError as error:
        raise SettingsError(f"{source.where}: {error.what}", why=error.why, mend=error.mend) from None


def parse_device(words: list[str], source: Source) -> str:
    """Return `cpu` or `cuda:N`."""
    value = words[-1].strip().lower()
    if not re.fullmatch(r"cpu|cuda:\d{1,3}", value):
        mend = "did you mean 'cuda:0'?" if value in ("cuda", "gpu") else None
        raise SettingsError(
            f"{source.where}: {words[-1]!r} is no device", why="good values: cpu, cuda:N", mend=mend
        )
    return value


def parse_emulate(words: list[str], source: Source) -> str:
    """Return a product and version of TensorRT."""
    value = words[-1].strip().lower()
    if not re.fullmatch(r"tensorrt(_rtx)?-\d+(\.\d+)*", value):
        raise SettingsError(
            f"{source.where}: {words[-1]!r} is no version that the emulator plays",
            why="good values look like: tensorrt-8.6.1, tensorrt-10.13, tensorrt-11.4, tensorrt_rtx-1.7",
            mend="give the product, a hyphen and a version; a shortened version means the newest known of it",
        )
    return value


def parse_seed(words: list[str], source: Source) -> int | None:
    """Return an integer, None for `random`."""
    value = words[-1].strip().lower()
    if value == "random":
        return None
    try:
        return int(value)
    except ValueError:
        raise SettingsError(
            f"{source.where}: {words[-1]!r} is no seed", why="good values: an integer, or random"
        ) from None


def parse_folder(words: list[str], source: Source) -> str:
    """Return an absolute path; a relative one starts where the word stands."""
    if not words[-1].strip():
        raise SettingsError(
            f"{source.where}: the folder's name is empty", mend="give a path, or leave it out"
        )
    return str((source.folder / Path(words[-1]).expanduser()).absolute())


def parse_store(words: list[str], source: Source) -> str:
    """Return a URL as it is, or an absolute path."""
    word = words[-1].strip()
    return word if "://" in word or "::" in word else parse_folder([word], source)


def parse_product(words: list[str], source: Source) -> str:
    """Return a product and version as goldens are kept under."""
    value = words[-1].strip()
    if not re.fullmatch(
        r"(tensorrt|tensorrt_rtx)-\d+(\.\d+)*"
        r"|emulator\+tensorrt(_rtx)?-\d+(\.\d+)*(\+ort-\d+(\.\d+)*(\+cpu-[0-9a-f]+)?)?",
        value,
    ):
        raise SettingsError(
            f"{source.where}: {words[-1]!r} is no product and version",
            why="good values look like: tensorrt-10.13.3.9, tensorrt_rtx-1.6.1.120, emulator+tensorrt-10.13",
            mend="a shortened version means the newest that is kept of it; python -m pytest_trt golden list tells them",
        )
    return value


def parse_faults(words: list[str], source: Source) -> tuple[str, ...]:
    """Return names `module:callable`."""
    names = split_commas(words)
    for name in names or [""]:
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", name):
            raise SettingsError(
                f"{source.where}: {name!r} names no fault",
                why="good values look like: package.module:callable",
                mend="the ready ones: pytest_trt.emulator.faults:NAME",
            )
    return tuple(names)


def parse_text(words: list[str], source: Source) -> str:
    """Return a text that is not empty."""
    value = words[-1].strip()
    if not value:
        raise SettingsError(
            f"{source.where}: no case is given", mend="paste the line that the failure printed"
        )
    return value


def parse_claims(words: list[str], source: Source) -> tuple[str, ...]:
    """Return names of FAQ claims (`faq-7`), of public bugs (`B02`), or of a project's own `bug` markers."""
    found = []
    for word in split_commas(words) or [""]:
        name = read_claim(word)
        if not name:
            raise SettingsError(
                f"{source.where}: {word!r} is unknown",
                why=f"good values: {GOOD_CLAIMS}, or what a `bug` marker of yours says",
                mend="python -m pytest_trt claims lists them",
            )
        found.append(name)
    return tuple(dict.fromkeys(found))
