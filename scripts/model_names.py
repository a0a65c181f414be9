"""List the names of scikit-learn and PyTorch that look like their classes: `tests/golden/names`, which tests read.

uv run --with scikit-learn==1.9.1 --with torch scripts/model_names.py

A line is a module, a name and where the object comes from: the library itself, or whoever it was imported from. What
is held by more modules than one has one line.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parent.parent / "tests" / "golden" / "names"
LIBRARIES = {"scikit-learn": "sklearn", "torch": "torch.nn.modules"}
_COMPILED = ("cython_function_or_method", "builtin_function_or_method")
_ASIDE = re.compile(r"\.(tests|conftest|externals)\b")
_LIKE_A_CLASS = re.compile(r"_{0,2}[A-Z]\w*|__pyx_unpickle_\w+|newObj|_unpickle_\w+")


def modules(package: str) -> list[ModuleType]:
    """A package with all below it that can be imported here, without tests and what others wrote."""
    whole = importlib.import_module(package)
    for one in pkgutil.walk_packages(whole.__path__, f"{package}.", onerror=lambda _: None):
        if not _ASIDE.search(one.name):
            try:
                importlib.import_module(one.name)
            except Exception as error:  # a part that needs what is not installed
                print(f"{one.name}: {type(error).__name__}: {error}"[:120], file=sys.stderr)
    return [found for name, found in sorted(sys.modules.items()) if f"{name}.".startswith(f"{package}.")]


def origin(value: object, module: str) -> str:
    """The module that defines a class or a function of Cython, `of` a class where the object is no such thing."""
    if not (isinstance(value, type) or type(value).__name__ in _COMPILED):
        return f"of {type(value).__module__}.{type(value).__qualname__}"
    where = str(getattr(value, "__module__", None))
    return module if module.endswith(f".{where}") else where  # some of Cython know the last part alone


def names(package: str) -> list[tuple[str, str, str]]:
    """Module, name and origin of all that a package's modules hold under a name like that of a class."""
    found: dict[tuple[str, str], str] = {}
    for module in modules(package):
        for name in dir(module):
            if _LIKE_A_CLASS.fullmatch(name) and not _ASIDE.search(module.__name__):
                where = origin(getattr(module, name), module.__name__)
                if where == module.__name__ or (name, where) not in found:
                    found[name, where] = module.__name__
    return sorted((module, name, where) for (name, where), module in found.items())


def main() -> None:
    warnings.simplefilter("ignore")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for library, package in LIBRARIES.items():
        try:
            release = version(library)
        except PackageNotFoundError:
            continue
        lines = [" ".join(row) for row in names(package)]
        (FOLDER / f"{library}-{release.partition('+')[0]}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
