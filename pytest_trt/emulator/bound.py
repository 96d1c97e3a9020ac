"""Base of everything that the emulator implements, and the class that binds it to one version's names.

An implementation is an ordinary class with the methods and properties of *every* version. `Binder` makes, for one
version, a class that shows only the names which that version has: an implemented one behind a check of its arguments,
the others behind `NotEmulated`. Names with a leading underscore are ours and always there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from pytest_trt.emulator.arguments import Signature, Types
from pytest_trt.emulator.surfaces import ClassSurface
from pytest_trt.errors import NotEmulated

if TYPE_CHECKING:
    from pytest_trt.emulator.host import Host
    from pytest_trt.emulator.reporting import Reporter

_KEPT_DUNDERS = frozenset(
    "__len__ __getitem__ __setitem__ __iter__ __bool__ __eq__ __ne__ __hash__ __repr__ __str__ __call__".split()
)


class Bound:
    """An object of the played TensorRT; `_host` is the module that it belongs to."""

    _host: Host
    _sealed = True
    _native: type = object

    def _setup(self, *args: Any) -> None:
        """Fill an object that the emulator makes itself."""


class Recorded(Bound):
    """An object that errors can be recorded of."""

    _reporter: Reporter

    @property
    def error_recorder(self) -> Any:
        """The attached recorder, or None."""
        return self._reporter.recorder

    @error_recorder.setter
    def error_recorder(self, value: Any) -> None:
        self._reporter.attach(value)


class Threaded(Recorded):
    """A builder, runtime or refitter: made with a logger, and may use threads."""

    _logger: Any
    _threads = 1

    @property
    def logger(self) -> Any:
        """The logger."""
        return self._logger

    @property
    def max_threads(self) -> int:
        """How many threads may be used; the emulator uses one."""
        return self._threads

    @max_threads.setter
    def max_threads(self, value: int) -> None:
        self._threads = value


class CallbackType(type):
    """Type of classes that users subclass: making one without the base's `__init__` is a `TypeError`."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an object, and check that it is ready."""
        made = super().__call__(*args, **kwargs)
        if not made._ready:
            base = next(kind for kind in cls.__mro__ if "_host" in vars(kind))
            raise TypeError(
                f"{base.__module__}.{base.__qualname__}.__init__() must be called when overriding __init__"
            )
        return made


class Callback(Bound):
    """A class that users subclass; its `__init__` must run, as with the bindings."""

    _sealed = False
    _ready = False

    def __init__(self) -> None:
        self._ready = True


def _not_emulated(where: str, played: str) -> NotEmulated:
    return NotEmulated(
        f"the emulator does not play {where}",
        why=f"{where} is a real name of {played}; no part of the emulator stands for it",
        mend="run this test with the real library, for instance --trt-runtime=tensorrt",
    )


def _missing_method(where: str, played: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise _not_emulated(where, played)

    refuse.__name__ = refuse.__qualname__ = where.rpartition(".")[2]
    return refuse


def _no_constructor(self: Any, *args: Any, **kwargs: Any) -> None:
    raise TypeError(f"{type(self).__module__}.{type(self).__qualname__}: No constructor defined!")


def _strict_setattr(self: Any, name: str, value: Any) -> None:
    if name[0] == "_" or hasattr(type(self), name):
        object.__setattr__(self, name, value)
        return
    raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class _Hidden:
    """Hides a name that a native base has and the bindings' class has not."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError(f"type object {owner.__name__!r} has no attribute {self._name!r}")


class Binder:
    """Makes the classes of one version.

    Parameters
    ----------
    host : Host
        The module being made.
    types : Types
        Judges arguments; its table may still be growing.
    module : str
        The module name that the classes bear.
    played : str
        Product and version, for messages.
    """

    def __init__(self, host: Host, types: Types, module: str, played: str) -> None:
        self._host = host
        self._types = types
        self._module = module
        self._played = played

    def stub_function(self, name: str) -> Callable[..., Any]:
        """Return a function for a real name that the emulator does not play."""
        return _missing_method(name, self._played)

    def check_function(self, name: str, signature: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` behind a check of its arguments."""
        return self._checked(name, (signature,), function, bound=False)

    def make(self, spec: ClassSurface, implementation: type[Bound] | None, bases: tuple[type, ...]) -> type:
        """Return the class of `spec`, playing `implementation` where it has the name."""
        namespace: dict[str, Any] = {
            "__module__": self._module,
            "__qualname__": spec.name,
            "_host": self._host,
        }
        members: dict[str, Any] = {}
        if implementation is not None:
            for ancestor in reversed(implementation.__mro__[:-1]):
                if ancestor is not implementation._native:
                    members.update(vars(ancestor))
        skipped = ("__module__", "__qualname__", "__dict__", "__weakref__", "__doc__", "_host")
        for name, value in members.items():
            private = name.startswith("_") and not name.startswith("__")
            if (private or name in _KEPT_DUNDERS) and name not in skipped:
                namespace[name] = value
        if implementation is not None:
            namespace["__doc__"] = implementation.__doc__
        for name, signatures in spec.methods.items():
            if name != "__del__":
                namespace[name] = self._method(spec, name, signatures, members.get(name))
        for name, (access, kind) in spec.properties.items():
            namespace[name] = self._property(spec, name, access, kind, members.get(name))
        if "__init__" not in spec.methods:
            namespace["__init__"] = _no_constructor
        if implementation is not None and members.get("_sealed"):
            namespace["__setattr__"] = _strict_setattr
        natives: tuple[type, ...] = ()
        if implementation is not None and implementation._native is not object:
            natives = (implementation._native,)
            for name in dir(natives[0]):
                if not name.startswith("_") and name not in namespace:
                    namespace[name] = _Hidden(name)
        called_back = implementation is not None and issubclass(implementation, Callback)
        maker = CallbackType if called_back else type
        return maker(spec.name.rpartition(".")[2], (*bases, *natives), namespace)

    def _method(self, spec: ClassSurface, name: str, signatures: tuple[str, ...], found: Any) -> Any:
        static = isinstance(found, staticmethod)
        function = found.__func__ if static else found
        if name in ("__enter__", "__exit__") and function is None:
            return _ENTER if name == "__enter__" else _EXIT
        if not callable(function):
            stub = _missing_method(f"{spec.name}.{name}", self._played)
            return staticmethod(stub) if name in spec.static else stub
        if name.startswith("__") and name != "__init__":
            return function
        checked = self._checked(name, signatures, function, bound=not static)
        return staticmethod(checked) if static else checked

    def _checked(
        self, name: str, signatures: tuple[str, ...], function: Callable[..., Any], bound: bool
    ) -> Callable[..., Any]:
        check = Signature(name, signatures, self._types).check

        if bound:

            @wraps(function)
            def method(self: Any, *args: Any, **kwargs: Any) -> Any:
                check(args, kwargs)
                return function(self, *args, **kwargs)

            return method

        @wraps(function)
        def plain(*args: Any, **kwargs: Any) -> Any:
            check(args, kwargs)
            return function(*args, **kwargs)

        return plain

    def _property(self, spec: ClassSurface, name: str, access: str, kind: str, found: Any) -> Any:
        where = f"{spec.name}.{name}"
        if not isinstance(found, property):
            if found is not None and not callable(found):
                return found
            stub = _missing_method(where, self._played)
            return property(stub if access != "wo" else None, stub if access != "ro" else None)
        getter = None if access == "wo" else found.fget
        setter = None
        if access != "ro":
            setter = (
                _missing_method(where, self._played)
                if found.fset is None
                else self._checked_setter(name, kind, found.fset)
            )
        return property(getter, setter, doc=found.__doc__)

    def _checked_setter(self, name: str, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        types = self._types  # asked at the first call: the table of classes is still growing here
        optional = kind in ("", "object") or (kind.startswith("I") and "." not in kind)

        def assign(self: Any, value: Any) -> None:
            if not (value is None and optional) and not types.accept(kind)(value):
                raise TypeError(
                    f"(): incompatible function arguments. {name} takes {kind}\n\nInvoked with: {value!r}"
                )
            function(self, value)

        return assign


def _enter(self: Any) -> Any:
    self._host.warn_deprecated("Context managers for TensorRT types are deprecated; they do nothing.")
    return self


def _exit(self: Any, exc_type: Any, exc_value: Any, traceback: Any) -> None:
    self._host.warn_deprecated("Context managers for TensorRT types are deprecated; they do nothing.")


_ENTER, _EXIT = _enter, _exit
