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
                        "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
                        "Tensor", "complex32", "complex64", "complex128", "float8_e4m3fn", "float8_e4m3fnuz",
                        "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"}),
    "torch._utils": frozenset({"_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state",
                               "_rebuild_tensor_v3", "_rebuild_sparse_tensor"}),
    "torch.serialization": frozenset({"_get_layout"}),
    "torch.nn.functional": frozenset({"relu"}),
    "torch._C._nn": frozenset({"gelu"}),
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
    "scipy._lib.array_api_compat.numpy._aliases": frozenset({"asarray"}),
}  # fmt: skip
"""Names by module. None of them reads a file, runs a program or takes a name to import."""

_LOSSES = re.compile(
    r"(?:__pyx_unpickle_)?Cy(?:AbsoluteError|ExponentialLoss|Half(?:Binomial|Gamma|Multinomial|Poisson|Tweedie)Loss"
    r"|HalfSquaredError|HalfTweedieLossIdentity|HuberLoss|PinballLoss)"
)
"""Losses of scikit-learn, which releases 1.4 and 1.5 write down as of a module `_loss`."""
_LAYERS: Mapping[str, str] = {
    "activation": "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish "
    "MultiheadAttention PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmax2d Softmin Softplus Softshrink "
    "Softsign Tanh Tanhshrink Threshold",
    "adaptive": "AdaptiveLogSoftmaxWithLoss",
    "batchnorm": "BatchNorm1d BatchNorm2d BatchNorm3d LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d SyncBatchNorm",
    "channelshuffle": "ChannelShuffle",
    "container": "Container ModuleDict ModuleList ParameterDict ParameterList Sequential",
    "conv": "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LazyConv1d LazyConv2d LazyConv3d "
    "LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d",
    "distance": "CosineSimilarity PairwiseDistance",
    "dropout": "AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout",
    "flatten": "Flatten Unflatten",
    "fold": "Fold Unfold",
    "instancenorm": "InstanceNorm1d InstanceNorm2d InstanceNorm3d LazyInstanceNorm1d LazyInstanceNorm2d "
    "LazyInstanceNorm3d",
    "linear": "Bilinear Identity LazyLinear Linear NonDynamicallyQuantizableLinear",
    "loss": "BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss HingeEmbeddingLoss "
    "HuberLoss KLDivLoss L1Loss LinearCrossEntropyLoss MSELoss MarginRankingLoss MultiLabelMarginLoss "
    "MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss NLLLoss2d PoissonNLLLoss SmoothL1Loss SoftMarginLoss "
    "TripletMarginLoss TripletMarginWithDistanceLoss",
    "module": "Module",
    "normalization": "CrossMapLRN2d GroupNorm LayerNorm LocalResponseNorm RMSNorm",
    "padding": "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d ReflectionPad1d "
    "ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d "
    "ZeroPad3d",
    "pixelshuffle": "PixelShuffle PixelUnshuffle",
    "pooling": "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d "
    "AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d FractionalMaxPool2d FractionalMaxPool3d LPPool1d LPPool2d "
    "LPPool3d MaxPool1d MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d",
    "rnn": "GRU GRUCell LSTM LSTMCell RNN RNNBase RNNCell RNNCellBase",
    "sparse": "Embedding EmbeddingBag",
    "transformer": "Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer",
    "upsampling": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
}  # fmt: skip
"""The classes of layers that `torch.nn.modules` defines, by module."""

_CLASSES = (
    re.compile(r"sklearn(?:\.[A-Za-z_]\w*)+"),
    re.compile(r"_?[A-Z][A-Za-z0-9]*|__pyx_unpickle_\w+|newObj|_unpickle_\w+"),
)
"""Classes of scikit-learn, which call nothing when they are made, and how Cython restores its own. A name with a `_` in
it is a constant: what changes one changes it for the whole process.
"""
_NEVER = re.compile(
    r"sklearn\.(?:callback|datasets|externals|setup|_build_utils|_cyutility|_min_dependencies|conftest|(?:\w+\.)*tests"
    r"|utils\.(?:_?testing|estimator_checks|_test_common|_repr_html|_estimator_html_repr|_joblib|_mocking"
    r"|_show_versions|discovery|fixes|parallel))\b.*"
)
"""Modules of scikit-learn that no model needs."""
_FOREIGN = frozenset({
    "ABC", "ABCMeta", "ACTIVATIONS", "ARCHIVE", "Any", "ArffContainerType", "ArffSparseDataType", "BSpline",
    "BytesIO", "COEFS", "COVERAGES", "Callable", "CalledProcessError", "Client", "ColMajor", "ComplexWarning",
    "Configuration", "Connection", "Counter", "DERIVATIVES", "DOUBLE", "DTYPE", "Dict", "EPS", "EPSILON", "FACES",
    "Generator", "GzipFile", "HTTPError", "INT32TYPE", "INT64TYPE", "ITYPE", "Integral", "Iterable", "LAMBDAS",
    "LinAlgError", "LinearOperator", "List", "Listener", "Literal", "LooseVersion", "METHODS", "Mapping",
    "MaskedArray", "Memory", "MethodType", "MutableMapping", "NEG", "NamedTemporaryFile", "NamedTuple", "NoTrans",
    "NodeData", "NodeHeapData", "Number", "OpenmlFeaturesType", "OpenmlQualitiesType", "Optional", "OrderedDict",
    "POS", "Parallel", "Parameter", "Path", "PathLike", "Protocol", "Queue", "Real", "Request", "RowMajor",
    "SAMPLES", "SCORERS", "SENTINEL", "STDOUT", "Sequence", "SkipTest", "SparseEfficiencyWarning", "StringIO",
    "TARGETS", "Template", "TemporaryDirectory", "TestCase", "Thread", "ThreadpoolController", "TimeoutExpired",
    "Trans", "Tuple", "UNCHANGED", "UNUSED", "URLError", "Union", "UserDict", "UserList",
    "VisibleDeprecationWarning", "WARN", "WindowsError", "_EPSILON", "_LINKS", "_LOSSES", "_MaskedArray",
    "_SCORERS", "_STYLE", "__pyx_unpickle_Enum", "__pyx_unpickle___Pyx_EnumMeta",
})  # fmt: skip
"""What modules of scikit-learn hold under a name like a class's without having defined it, or as a constant: from
releases 0.24 to 1.9, by `scripts/model_names.py`.
"""
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
    """Whether a global may be imported: the list's, one of `also` (`module.name`), or a class that scikit-learn or
    `torch.nn.modules` defines.
    """
    if not one.module:
        return False
    if f"{one.module}.{one.name}" in also or one.name in ALLOWED.get(one.module, frozenset()):
        return True
    module, name = _CLASSES
    package, _, layer = one.module.rpartition(".")
    if one.module == "_loss":
        return bool(_LOSSES.fullmatch(one.name))
    if package == "torch.nn.modules":
        return one.name in _LAYERS.get(layer, "").split()
    refused = _NEVER.fullmatch(one.module) or _CALLERS.fullmatch(one.name) or one.name in _FOREIGN
    return bool(module.fullmatch(one.module) and name.fullmatch(one.name) and not refused)
