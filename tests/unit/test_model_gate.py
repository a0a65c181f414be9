"""The model file gate: hostile pickles in every wrapping are refused, clean models pass. None is loaded."""

from __future__ import annotations

import bz2
import collections
import contextlib
import functools
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.errors import Refused
from trackside.trust.gate import require, scan
from trackside.trust.trusted import Global

CLEAN = Path(__file__).parent.parent / "golden" / "models"


def text(value: str) -> bytes:
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def call(module: str, name: str) -> bytes:
    """`module.name("id")`, by protocol 4."""
    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text("id") + b"\x85R."


class Reduced:
    """What pickles as a call."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.args


def hostile() -> dict[str, bytes]:
    """By name: each runs something when loaded, or would for a scanner that looks less closely."""
    made = {f"reduce, protocol {at}": pickle.dumps(Reduced(eval, "1+1"), protocol=at) for at in range(6)}
    made |= {
        "os.system": call("os", "system"),
        "posix.system": call("posix", "system"),
        "builtins.eval": call("builtins", "eval"),
        "builtins.getattr": call("builtins", "getattr"),
        "builtins.__import__": call("builtins", "__import__"),
        "a global of protocol 0": b"cos\nsystem\n(S'id'\ntR.",
        "inst": b"(S'id'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'id'\no.",
        "within a list, a dict, a tuple": pickle.dumps([{"a": (1, Reduced(exec, "1"))}]),
        "nested reduce": pickle.dumps(Reduced(functools.partial, Reduced(compile, "1", "x", "eval"))),
        "a partial of eval": pickle.dumps(functools.partial(eval, "1")),
        "a dotted name": b"\x80\x04" + text("numpy") + text("f2py.os.system") + b"\x93.",
        "an attribute put into a module's function": b"\x80\x04cnumpy\nprod\n" + b"N}" + text("a") + text("os")
        + b"s\x86b0cnumpy\nprod.a\nq\x000h\x00" + text("system") + b"\x93" + text("id") + b"\x85R.",
        "numpy's own runner": call("numpy.testing._private.utils", "runstring"),
        "a module of scikit-learn that fetches": call("sklearn.datasets", "fetch_openml"),
        "a function of scikit-learn": call("sklearn.utils", "shuffle"),
        "torch.load": call("torch", "load"),
        "pickle.loads": call("_pickle", "loads"),
        "cloudpickle": call("cloudpickle.cloudpickle", "_make_function"),
        "runpy": call("runpy", "_run_code"),
        "pip": call("pip", "main"),
        "a name from the memo": b"\x80\x04" + text("os") + b"\x940" + text("system") + b"\x940" + text("numpy")
        + text("ndarray") + b"00h\x00h\x01\x93" + text("id") + b"\x85R.",
        "memoize beside put": b"\x80\x04" + text("os") + b"q\x000" + text("system") + b"q\x010" + text("numpy")
        + b"\x940" + text("ndarray") + b"\x940h\x00h\x01\x93" + text("id") + b"\x85R.",
        "put over an old entry": b"\x80\x04" + text("numpy") + b"q\x000" + text("os") + b"q\x000h\x00" + text("system")
        + b"\x93" + text("id") + b"\x85R.",
        "duplicated names": b"\x80\x04" + text("os") + b"20" + text("system") + b"\x93" + text("id") + b"\x85R.",
        "popped decoys": b"\x80\x04" + text("os") + text("system") + text("numpy") + text("ndarray") + b"00\x93.",
        "a mark between": b"\x80\x04" + text("os") + b"(" + text("numpy") + b"1" + text("system") + b"\x93.",
        "an extension": b"\x80\x04\x82\x01.",
        "names that are bytes": b"\x80\x04C\x02osC\x06system\x93.",
        "names that are numbers": b"\x80\x04K\x2aK\x2b\x93.",
        "names that are byte arrays": b"\x80\x05" + text("os") + b"\x96" + struct.pack("<Q", 6) + b"system\x93.",
        "a name that a call makes": b"\x80\x04" + text("os") + b"c_codecs\nencode\n" + text("system") + text("ascii")
        + b"\x86R\x93.",
        "a memo entry that is not there, behind the harm": call("os", "system")[:-1] + b"h\x63.",
        "bytes that do not decode, behind the harm": call("os", "system")[:-1] + b"\xff\xff.",
        "no stop": call("os", "system")[:-1],
        "an empty stack before the harm, with a header": b"\x80\x040" + call("os", "system")[2:],
        "a second pickle": pickle.dumps({"a": 1}) + call("os", "system"),
        "a computed name alone": b"\x80\x04NN\x93.",
        "unicode that looks alike": call("оs", "system"),
        "compressed code": call("zlib", "decompress"),
        "a number that only C reads": b"I0x10\n0cos\nsystem\n(S'id'\ntR.",
        "a long number that only C reads": b"L0x10L\n0cos\nsystem\n(S'id'\ntR.",
        "a number with a space": b"I 0x1\n0cos\nsystem\n(S'id'\ntR.",
        "no number at all": b"I\n0cos\nsystem\n(S'id'\ntR.",
        "a number up to a NUL": b"I1\0a\n0cos\nsystem\n(S'id'\ntR.",
        "a place up to a NUL": b"Np1\0a\n0cos\nsystem\n(S'id'\ntR.",
        "a text in Latin-1": b"S'\xff'\n0cos\nsystem\n(S'id'\ntR.",
        "an object that is called": b"\x80\x04csklearn.pipeline\nPipeline\n)R)R.",
        "an object that is called, by obj": b"\x80\x04(csklearn.pipeline\nPipeline\n)Ro.",
        "a class that is changed": b"\x80\x04csklearn.pipeline\nPipeline\nN}" + text("a") + b"Ns\x86b.",
        "a scorer": b"\x80\x04csklearn.metrics._scorer\n_Scorer\n)\x81.",
        "a module with a space": b"cnumpy ndarray\nx\n.",
    }  # fmt: skip
    return made


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "zip": lambda data: zipped({"archive/data.pkl": data}),
    "zip, stored": lambda data: zipped({"data.pkl": data}, zipfile.ZIP_STORED),
    "zip, called a folder": lambda data: zipped({"data.pkl/": data}),
    "zip, twice the same name": lambda data: zipped([("data.pkl", b""), ("data.pkl", data), ("data.pkl", b"")]),
    "zip behind a pickle": lambda data: data + zipped({"data.pkl": pickle.dumps({})}),
    "pickle in front of a zip": lambda data: pickle.dumps(1) + zipped({"data.pkl": data}),
    "zip in a zip": lambda data: zipped({"a.zip": zipped({"b.zip": zipped({"x": data})})}),
    "tar": lambda data: tarred({"model.pkl": data}),
    "tar without its magic": lambda data: old_tar(tarred({"model.pkl": data})),
    "gzip behind an empty one": lambda data: gzip.compress(b"") + gzip.compress(data),
    "tar.gz": lambda data: gzip.compress(tarred({"model.pkl": data})),
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "zlib": zlib.compress,
    "npy": lambda data: (
        b"\x93NUMPY\x01\x00" + _header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") + data
    ),
    "npy, object by name": lambda data: (
        b"\x93NUMPY\x01\x00" + _header(b"{'descr': 'object', 'fortran_order': False, 'shape': (1,), }") + data
    ),
    "npy, escaped": lambda data: (
        b"\x93NUMPY\x01\x00" + _header(b"{'descr': '\\x7c\\x4f', 'fortran_order': False, 'shape': (1,), }") + data
    ),
    "npz": lambda data: zipped({"a.npy": WRAPPINGS["npy"](data)}),
    "gzip in a zip in a tar": lambda data: tarred({"x": zipped({"y": gzip.compress(data)})}),
}


def _header(data: bytes) -> bytes:
    return struct.pack("<H", len(data) + 1) + data + b"\n"


def zipped(files: dict[str, bytes] | list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    room = io.BytesIO()
    with zipfile.ZipFile(room, "w", method) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, data)
    return room.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    room = io.BytesIO()
    with tarfile.open(fileobj=room, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return room.getvalue()


def old_tar(data: bytes) -> bytes:
    """The header as version 7 of Unix wrote it: no magic, and a checksum without it."""
    head = bytearray(data[:512])
    head[257:265] = bytes(8)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data[512:]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_every_hostile_pickle_is_refused_in_every_wrapping(tmp_path: Path) -> None:
    cases, path = 0, tmp_path / "model.pkl"
    for name, data in hostile().items():
        for wrapping, wrap in WRAPPINGS.items():
            path.write_bytes(wrap(data))
            found = scan(path)
            assert not found.safe, (name, wrapping)
            cases += 1
    print(f"{cases} hostile files: {len(hostile())} pickles in {len(WRAPPINGS)} wrappings")
    assert cases >= 40 * len(WRAPPINGS)


def test_clean_models_pass(tmp_path: Path) -> None:
    files = sorted(CLEAN.iterdir())
    pickles = 0
    for file in files:
        found = scan(file)
        assert found.safe, (file.name, [str(one) for one in found.unknown], found.problems)
        pickles += found.pickles
        assert (found.pickles > 0) == (file.suffix in (".pkl", ".joblib", ".pt")), file.name
    print(f"{len(files)} clean model files, {pickles} pickles")
    assert len(files) >= 15


def state_dict() -> bytes:
    """A state dict as PyTorch lays it out: an OrderedDict of tensors, whose storages are persistent ids."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x04tQ"
    ordered = b"ccollections\nOrderedDict\n)R"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x04\x85K\x01\x85\x89" + ordered + b"tR"
    return b"\x80\x02" + ordered + b"(" + text("weight") + tensor + b"u."


def test_arrays_and_state_dicts_pass(tmp_path: Path) -> None:
    room = io.BytesIO()
    np.savez(room, plain=np.arange(5.0), objects=np.array([{"a": 1}, None], dtype=object))
    torch = zipped({"m/data.pkl": state_dict(), "m/data/0": bytes(16), "m/version": b"3\n"}, zipfile.ZIP_STORED)
    old = (
        pickle.dumps(0x1950A86A20F9469CFC6C, 2)
        + pickle.dumps(1001, 2)
        + pickle.dumps({"little": True}, 2)
        + state_dict()
    )
    cases = {
        "a.npz": room.getvalue(),
        "model.pt": torch,
        "old.pt": old + pickle.dumps(["0"], 2) + struct.pack("<q", 4) + bytes(16),
        "plain.pkl": pickle.dumps({"w": np.arange(3.0), "when": collections.OrderedDict(a=1)}),
        "model.safetensors": struct.pack("<Q", 2) + b"{}" + bytes(64),
        "words.json": b'{"learner": {"attributes": {}}}',
        "tree.txt": b"tree\nversion=v4\nnum_class=1\nclass=os\nsystem\n",
        "empty.bin": b"",
        "notes.md": b"cos\nis a function\n",
        "vocabulary.txt": b"cat\ndog\nfish\n",
        "customers.csv": b"customer,age\na,1\nb,2\n",
        "config.yaml": b"class: Model\nlayers: 3\n",
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        found = scan(tmp_path / name)
        assert found.safe, (name, [str(one) for one in found.unknown], found.problems)
    assert scan(tmp_path / "model.pt").pickles == 1
    assert scan(tmp_path / "old.pt").pickles == 5


def test_what_cannot_be_looked_into_is_refused(tmp_path: Path) -> None:
    deep = pickle.dumps(1)
    for _ in range(8):
        deep = gzip.compress(deep)
    encrypted = bytearray(zipped({"data.pkl": pickle.dumps(1)}, zipfile.ZIP_STORED))
    for at in (encrypted.index(b"PK\x03\x04") + 6, encrypted.index(b"PK\x01\x02") + 8):
        encrypted[at] |= 1
    damaged = bytearray(zipped({"data.pkl": pickle.dumps(list(range(99)))}))
    damaged[60] ^= 0xFF
    cases = {
        "deep": (deep, "within 4 others"),
        "lz4": (b"\x04\x22\x4d\x18" + bytes(40), "LZ4"),
        "zstd": (b"\x28\xb5\x2f\xfd" + bytes(40), "Zstandard"),
        "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(40), "7-Zip"),
        "encrypted": (bytes(encrypted), "cannot be unpacked"),
        "damaged": (bytes(damaged), "cannot be unpacked"),
        "cut": (gzip.compress(pickle.dumps(list(range(99))))[:-12], "cannot be unpacked"),
        "half": (pickle.dumps(list(range(99)))[:-5], "damaged pickle"),
        "imports, then fails": (b"cmodule\nname\n\xff", "damaged pickle"),
    }
    for name, (data, words) in cases.items():
        path = tmp_path / name
        path.write_bytes(data)
        found = scan(path)
        assert not found.safe, name
        assert any(words in one for one in found.problems), (name, found.problems)
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\nbird\n")  # the first two lines are an import to pickle
    assert scan(labels).safe


def test_a_bomb_is_left_within_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackside.trust.gate.LARGEST", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(8 << 20)))
    assert not scan(path).safe


def wrapper(item: str, shape: int, raw: bytes, *, padding: bytes = b"\x00", more: bytes = b"") -> bytes:
    """An array as joblib writes it: a description, then bytes in the middle of the pickle."""
    described = (
        b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(" + text("dtype") + b"cnumpy\ndtype\n" + text(item)
        + b"\x89\x88\x87R" + more + text("shape") + b"K" + bytes([shape]) + b"\x85"
        + text("numpy_array_alignment_bytes") + b"K\x10ub"
    )  # fmt: skip
    return b"\x80\x04" + described + padding + raw + b"."


def test_raw_bytes_of_joblib_hide_nothing(tmp_path: Path) -> None:
    harm = call("os", "system")[2:-1]
    record = (
        b"(K\x03"
        + text("|")
        + b"N"
        + text("a")
        + b"\x85}"
        + text("a")
        + b"cnumpy\ndtype\n"
        + text("O8")
        + b"\x89\x88\x87RK\x00\x86sK\x08K\x01K\x3ftb"
    )
    path = tmp_path / "model.joblib"
    path.write_bytes(wrapper("f8", 2, bytes(16)))
    assert scan(path).safe
    cases = {
        "behind the array": wrapper("f8", 2, bytes(16) + harm),
        "as an array of objects": wrapper("O8", 2, harm + b"."),
        "where plain pickle reads on": wrapper("u1", len(harm), harm, padding=b"0"),
        "in a record that holds objects": wrapper("V8", 2, harm, more=record),
        "of a type that is not written plainly": wrapper("not a type", 2, harm),
        "cut short": wrapper("f8", 200, bytes(16)),
    }
    for name, data in cases.items():
        path.write_bytes(data)
        assert not scan(path).safe, name
    made = b"\x80\x04cfunctools\npartial\ncjoblib.numpy_pickle\nNumpyArrayWrapper\n\x85R)R}b."
    path.write_bytes(made)
    assert not scan(path).safe


def test_no_object_turns_into_an_array_of_joblib(tmp_path: Path) -> None:
    """Its raw bytes would be skipped by joblib, while the walk reads them as a text that holds the harm."""
    array = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n"
    path = tmp_path / "model.joblib"
    for state in (b"N}" + text("__class__") + array + b"s\x86", b"cbuiltins\ntuple\n]\x85R"):
        inner = bytes(66 - 4) + b"cos\nsystem\n(S'id'\ntR."
        hidden = b"B" + struct.pack("<I", len(inner)) + inner
        path.write_bytes(b"\x80\x04" + array + b"0csklearn.pipeline\nPipeline\n)\x81" + state + b"b" + hidden + b".")
        assert not scan(path).safe


def test_a_project_trusts_names_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(call("flights.features", "Encoder"))
    with pytest.raises(Refused, match="could run code") as caught:
        require(path)
    assert caught.value.reason_code == "model_unsafe"
    assert "flights.features.Encoder" in caught.value.why
    assert require(path, {"flights.features.Encoder"}).allowed == {Global("flights.features", "Encoder")}
    with pytest.raises(Refused):
        require(path, {"flights.features"})


def array(data: bytes, descr: str, shape: str = "(1,)", *, version: bytes = b"\x01\x00", pad: int = 0) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode() + b" " * pad + b"\n"
    size = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return b"\x93NUMPY" + version + size + header + data


def test_nothing_hides_behind_arrays_or_in_their_headers(tmp_path: Path) -> None:
    harm, path = call("os", "system"), tmp_path / "a.npy"
    cases = {
        "behind an array": array(bytes(8), "'<f8'") + harm,
        "behind an empty array": array(b"", "'<f8'", "(0,)") + harm,
        "a second array, of objects": array(bytes(8), "'<f8'") + array(harm, "'|O'"),
        "behind an array of objects": array(pickle.dumps([1]), "'|O'") + array(harm, "'|O'"),
        "a header of megabytes": array(harm, "'|O'", version=b"\x02\x00", pad=2 << 20),
        "a record with objects": array(harm, "[('a', '<f8'), ('b', '|O')]"),
        "a record within a record": array(harm, "[('a', [('b', '|O')])]"),
        "a type by another name": array(harm, "'object'"),
        "zlib of a small window": zlib_of(harm, 9),
        "zlib of half a window": zlib_of(harm, 14),
    }
    for name, data in cases.items():
        path.write_bytes(data)
        assert not scan(path).safe, name
    clean = {
        "plain": array(bytes(16), "'<f8'", "(2,)"),
        "a record": array(bytes(24), "[('a', '<f8'), ('b', '<i4')]", "(2,)"),
        "two": array(bytes(8), "'<f8'") + array(bytes(4), "'<i4'"),
        "of objects": array(pickle.dumps([1]), "'|O'"),
        "zlib of a small window": zlib_of(pickle.dumps([1]), 9),
        "two bytes that look like zlib": b"(S'a'\nt.",
    }
    for name, data in clean.items():
        path.write_bytes(data)
        assert scan(path).safe, (name, scan(path).problems)


def zlib_of(data: bytes, window: int) -> bytes:
    machine = zlib.compressobj(wbits=window)
    return machine.compress(data) + machine.flush()


@settings(max_examples=600, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_give_an_answer(data: bytes, header: bool) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write((b"\x80\x04" if header else b"") + data)
        file.flush()
        found = scan(Path(file.name))
        loaded: list[tuple[str, str]] = []

        class Watching(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:
                loaded.append((module, name))
                raise pickle.UnpicklingError("watched")

        with contextlib.suppress(Exception):  # whatever it is, what counts is what was asked for before
            Watching(io.BytesIO((b"\x80\x04" if header else b"") + data)).load()
        known = {(one.module, one.name) for one in found.allowed | found.unknown}
        assert not loaded or not found.safe or set(loaded) <= known
