"""Names that a pickle may import: a list of good ones, since a list of bad ones would always lack one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

ALLOWED: Mapping[str, frozenset[str]] = {
    "builtins": frozenset({"set", "frozenset", "slice", "complex", "bytearray", "bytes", "list", "dict", "tuple", "int",
                           "float", "bool", "str", "object", "range"}),
    "__builtin__": frozenset({"bytes", "set", "frozenset", "slice", "complex", "bytearray", "list", "dict", "tuple",
                              "object"}),
    "collections": frozenset({"OrderedDict", "defaultdict", "deque", "Counter"}),
    "copyreg": frozenset({"_reconstructor"}),
    "copy_reg": frozenset({"_reconstructor"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "decimal": frozenset({"Decimal"}),
    "fractions": frozenset({"Fraction"}),
    "uuid": frozenset({"UUID"}),
    "_codecs": frozenset({"encode"}),
    "functools": frozenset({"partial"}),
    "numpy": frozenset({"ndarray", "dtype", "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
                        "uint64", "float16", "float32", "float64", "complex64", "complex128", "str_", "bytes_",
                        "datetime64", "timedelta64", "object_", "generic"}),
    "numpy.core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy._core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy.core.numeric": frozenset({"_frombuffer"}),
    "numpy._core.numeric": frozenset({"_frombuffer"}),
    "numpy.ma": frozenset({"MaskedArray"}),
    "numpy.ma.core": frozenset({"MaskedArray", "_mareconstruct"}),
    "numpy.random": frozenset({"Generator", "RandomState"}),
    "numpy.random._pickle": frozenset({"__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor"}),
    "numpy.random._mt19937": frozenset({"MT19937", "__bit_generator_ctor"}),
    "numpy.random._pcg64": frozenset({"PCG64"}),
    "numpy.random.bit_generator": frozenset({"SeedSequence", "__pyx_unpickle_SeedSequence"}),
    "joblib.numpy_pickle": frozenset({"NumpyArrayWrapper"}),
    "torch": frozenset({"FloatStorage", "DoubleStorage", "HalfStorage", "BFloat16Storage", "LongStorage", "IntStorage",
                        "ShortStorage", "CharStorage", "ByteStorage", "BoolStorage", "ComplexFloatStorage",
                        "ComplexDoubleStorage", "UntypedStorage", "Size", "device", "float16", "float32", "float64",
                        "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool", "Tensor"}),
    "torch._utils": frozenset({"_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state",
                               "_rebuild_tensor_v3"}),
    "torch.storage": frozenset({"TypedStorage", "UntypedStorage"}),
    "torch.nn.parameter": frozenset({"Parameter"}),
    "xgboost.core": frozenset({"Booster", "DataIter"}),
    "xgboost.sklearn": frozenset({"XGBClassifier", "XGBRegressor", "XGBRanker", "XGBModel", "XGBRFClassifier",
                                  "XGBRFRegressor"}),
    "lightgbm.basic": frozenset({"Booster"}),
    "lightgbm.sklearn": frozenset({"LGBMClassifier", "LGBMRegressor", "LGBMRanker", "LGBMModel"}),
    "scipy.sparse._csr": frozenset({"csr_matrix", "csr_array"}),
    "scipy.sparse._csc": frozenset({"csc_matrix", "csc_array"}),
    "scipy.sparse._coo": frozenset({"coo_matrix", "coo_array"}),
    "scipy.interpolate._interpolate": frozenset({"interp1d"}),
    "scipy.interpolate._bsplines": frozenset({"BSpline"}),
}  # fmt: skip
"""Names by module. None of them reads a file, runs a program or takes a name to import."""

_CLASSES = re.compile(r"sklearn(?:\.[A-Za-z_]\w*)+"), re.compile(r"_?[A-Z]\w*|__pyx_unpickle_\w+|newObj|_unpickle_\w+")
"""Classes of scikit-learn, which call nothing when they are made, and how Cython restores its own."""
_NEVER = re.compile(r"sklearn\.(?:datasets|externals|utils\._?testing|utils\.estimator_checks|conftest)\b.*")
_CALLERS = re.compile(r"_(?:Base|Curve|Multimetric|Predict|Proba|Threshold)?Scorer")
"""Scorers call a method by its name, on any object."""


@dataclass(frozen=True, order=True)
class Global:
    """`module.name` as a file names it; both empty where it cannot be told."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.module else "a name that is computed while loading"


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a file imports when it is loaded: `allowed` and `unknown` names, and `problems`: parts that cannot be read.

    `pickles` counts the programs that were found; 0 means that nothing in the file is one.
    """

    pickles: int = 0
    allowed: frozenset[Global] = frozenset()
    unknown: frozenset[Global] = frozenset()
    problems: tuple[str, ...] = ()

    @property
    def safe(self) -> bool:
        return not self.unknown and not self.problems


def allowed(one: Global, also: frozenset[str] = frozenset()) -> bool:
    """Whether a global may be imported: the list's, one of `also` (`module.name`), or a class of scikit-learn."""
    if not one.module:
        return False
    if f"{one.module}.{one.name}" in also or one.name in ALLOWED.get(one.module, frozenset()):
        return True
    module, name = _CLASSES
    refused = _NEVER.fullmatch(one.module) or _CALLERS.fullmatch(one.name)
    return bool(module.fullmatch(one.module) and name.fullmatch(one.name) and not refused)
