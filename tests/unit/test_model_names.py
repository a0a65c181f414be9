"""Which names a model may import: a library's own classes, and nothing else that its modules hold."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from trackside.trust.gate import scan
from trackside.trust.trusted import Global, allowed

ROOT = Path(__file__).parents[2]
NAMES = ROOT / "tests" / "golden" / "names"
CLEAN = ROOT / "tests" / "golden" / "models"
COMPILED = ("_loss", "importlib._bootstrap")
"""Where classes of scikit-learn say they come from that older releases of Cython compiled."""


def rows(file: Path) -> list[tuple[str, str, str]]:
    """Module, name and origin of what a library holds under a name like a class's."""
    found = [line.split(" ", 2) for line in file.read_text().splitlines()]
    return [(module, name, origin) for module, name, origin in found]


def foreign(file: Path) -> tuple[int, list[tuple[str, str, str]]]:
    """How many names are allowed, and those of them that the library does not define."""
    package = "torch" if file.name.startswith("torch") else "sklearn"
    passed = [row for row in rows(file) if allowed(Global(row[0], row[1]))]
    return len(passed), [row for row in passed if not f"{row[2]}.".startswith(f"{package}.") and row[2] not in COMPILED]


@pytest.mark.parametrize("name", ["scikit-learn-0.24.2", "scikit-learn-1.9.1", "torch-2.15.0"])
def test_what_a_library_imported_itself_is_not_allowed(name: str) -> None:
    passed, wrong = foreign(NAMES / f"{name}.txt")
    print(f"{name}: {passed} names allowed")
    assert wrong == []
    assert passed > 140


def test_an_import_of_a_library_is_refused_in_any_of_its_modules() -> None:
    cases = 0
    for file in sorted(NAMES.glob("scikit-learn-*.txt")):
        for _, name, origin in rows(file):
            if origin.split(".")[0] in ("multiprocessing", "threading", "pathlib", "subprocess", "joblib", "builtins"):
                assert not allowed(Global("sklearn.pipeline", name)), (name, origin)
                cases += 1
    print(f"{cases} foreign names")
    assert cases >= 8


@pytest.mark.parametrize(
    "name",
    [
        "sklearn.callback._transport.Client",
        "sklearn.callback._transport.Listener",
        "sklearn.callback._transport.ListenerHandle",
        "sklearn.callback._progressbar.Thread",
        "sklearn.utils._available_if.MethodType",
        "sklearn.utils.discovery.Path",
        "sklearn.utils.parallel.Parallel",
        "sklearn.utils.parallel._FuncWrapper",
        "sklearn.cluster.tests.test_k_means.Anything",
        "sklearn.neural_network._base.ACTIVATIONS",
        "sklearn.metrics.pairwise.PAIRWISE_KERNEL_FUNCTIONS",
        "torch.nn.modules.module.RemovableHandle",
        "torch.nn.modules._functions.Function",
        "torch.nn.modules.container.OrderedDict",
        "torch.nn.modules.evil.Linear",
        "torch.nn.modules.Linear",
        "torch.nn.modules.linear.Linear.__init__",
        "torch.serialization.load",
        "_loss.system",
        "torch.jit._serialization.load",
        "torch._utils._rebuild_wrapper_subclass",
    ],
)
def test_refused(name: str) -> None:
    if name.endswith("__init__"):
        assert not allowed(Global("torch.nn.modules.linear", "Linear.__init__"))
    else:
        module, _, last = name.rpartition(".")
        assert not allowed(Global(module, last))


def test_estimators_and_layers_of_their_own_are_allowed() -> None:
    wanted = {
        "sklearn.pipeline.Pipeline", "sklearn.svm._classes.SVC", "sklearn.decomposition._pca.PCA",
        "sklearn.decomposition._nmf.NMF", "sklearn.gaussian_process.kernels.RBF", "sklearn.cluster._dbscan.DBSCAN",
        "sklearn.cluster._optics.OPTICS", "sklearn.linear_model._bayes.ARDRegression", "sklearn.utils._bunch.Bunch",
        "sklearn.utils._metadata_requests.MetadataRequest", "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn._loss._loss.__pyx_unpickle_CyHalfMultinomialLoss", "sklearn.neighbors._kd_tree.newObj",
        "torch.nn.modules.linear.Linear", "torch.nn.modules.transformer.TransformerEncoderLayer",
    }  # fmt: skip
    known = {f"{module}.{name}" for file in NAMES.iterdir() for module, name, _ in rows(file)}
    assert wanted - known <= {"sklearn.neighbors._kd_tree.newObj"}  # one line for what more modules hold
    for name in sorted(wanted | {"_loss.CyHalfBinomialLoss", "_loss.__pyx_unpickle_CyHuberLoss"}):
        module, _, last = name.rpartition(".")
        assert allowed(Global(module, last)), name


@pytest.mark.parametrize(("library", "package"), [("scikit-learn", "sklearn"), ("torch", "torch")])
def test_the_installed_library_holds_no_foreign_name_that_is_allowed(
    library: str, package: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{library} is not installed: its names of one release are in tests/golden/names")
    script = tmp_path / "scripts" / "model_names.py"
    script.parent.mkdir()
    script.write_text((ROOT / "scripts" / "model_names.py").read_text())
    subprocess.run([sys.executable, str(script)], check=True, capture_output=True)
    files = list((tmp_path / "tests" / "golden" / "names").glob(f"{library}-*.txt"))
    assert len(files) == 1
    passed, wrong = foreign(files[0])
    assert wrong == []
    assert passed > 140


def test_clean_models_of_pytorch_name_layers_types_and_layouts() -> None:
    named = {str(one) for file in CLEAN.glob("*.pt") for one in scan(file).allowed}
    print(f"{len(named)} names in {len(list(CLEAN.glob('*.pt')))} files of PyTorch")
    assert named >= {
        "torch.nn.modules.container.Sequential",
        "torch.nn.modules.batchnorm.BatchNorm1d",
        "torch.float8_e4m3fn",
        "torch.serialization._get_layout",
        "torch._utils._rebuild_sparse_tensor",
        "torch._C._nn.gelu",
        "torch.nn.functional.relu",
    }
    spline = {str(one) for one in scan(CLEAN / "spline.pkl").allowed}
    assert "scipy._lib.array_api_compat.numpy._aliases.asarray" in spline


def text(value: str) -> bytes:
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


KNOWN_TO_PASS_OTHERS = {
    # a function of numpy gets numpy's `__builtins__` as an attribute, then is called for `eval`
    "modelscan 330": b"\x80\x04" + named("numpy", "size") + b"\x94" + named("numpy", "__builtins__") + b"\x94h\x00}}"
    + text("shape") + b"h\x01s\x86bh\x00h\x00" + text("eval") + b"\x86R" + text("1+1") + b"\x85R.",
    **{
        f"modelscan 338, {module}.{name}": b"\x80\x04" + named(module, name) + text("id") + b"\x85R."
        for module, name in (
            ("torch.utils.collect_env", "run"),
            ("multiprocessing.util", "spawnv_passfds"),
            ("mlflow.projects.backend.local", "_run_entry_point"),
            ("pandas.io.parsers.readers", "read_csv"),
            ("urllib.request", "urlretrieve"),
            ("numpy.f2py.crackfortran", "getlincoef"),
            ("distutils.file_util", "write_file"),
            ("torch.jit.unsupported_tensor_ops", "execWrapper"),
        )
    },
}  # fmt: skip
"""Ways around modelscan 0.8.8 as they were reported to it."""


@pytest.mark.parametrize("name", list(KNOWN_TO_PASS_OTHERS))
def test_what_passes_modelscan_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(KNOWN_TO_PASS_OTHERS[name])
    found = scan(path)
    assert found.unknown
    assert not found.safe
