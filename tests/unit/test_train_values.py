"""The parts of training that need no DVC: GPUs, comparison, provenance, bounds."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from attestation import parsed
from trackside.config.model import Predictions
from trackside.documents.codec import MAX_BYTES, dump
from trackside.documents.run import (
    Artifact,
    Dependency,
    Environment,
    Metric,
    Restore,
    Run,
    Source,
    StageRun,
    Trigger,
)
from trackside.errors import ConfigError, DataError
from trackside.train.compare import compare
from trackside.train.hardware import Gpus, Sampler, hardware
from trackside.train.job import remote_env, trigger_from
from trackside.train.provenance import PREDICATE, statement
from trackside.train.record import fitting, run_id


class NvmlFailed(Exception):
    """As NVML raises."""


@dataclass
class Nvml:
    """Two GPUs whose load, memory, power and counters are set by the test; `broken` names functions that fail."""

    broken: set[str] = field(default_factory=set)
    load: float = 50
    used: int = 1000
    watts: float = 100.0
    joules: float = 5000.0

    def __getattr__(self, name: str) -> object:
        answers = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda h: b"NVIDIA H100",
            "nvmlDeviceGetUUID": lambda h: f"GPU-{h}{h}{h}",
            "nvmlDeviceGetMemoryInfo": lambda h: SimpleNamespace(total=80 * 2**30, used=self.used),
            "nvmlDeviceGetCudaComputeCapability": lambda h: (9, 0),
            "nvmlDeviceGetUtilizationRates": lambda h: SimpleNamespace(gpu=self.load),
            "nvmlDeviceGetTotalEnergyConsumption": lambda h: int(self.joules * 1000),
            "nvmlDeviceGetPowerUsage": lambda h: int(self.watts * 1000),
            "nvmlSystemGetDriverVersion": lambda: "570.1",
            "nvmlSystemGetCudaDriverVersion": lambda: 12080,
        }

        def call(*args: object) -> object:
            if name in self.broken:
                raise NvmlFailed(name)
            return answers[name](*args)

        return call


class Clock:
    """Stands still unless moved."""

    seconds = 0.0

    def now(self) -> object: ...

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_gpus_are_described_and_sampled() -> None:
    nvml, clock = Nvml(), Clock()
    gpus = Gpus(nvml)
    machine = hardware(gpus, runner="r1", cudnn="9.1")
    assert [(g.index, g.name, g.compute_capability) for g in machine.gpus] == [
        (0, "NVIDIA H100", "9.0"),
        (1, "NVIDIA H100", "9.0"),
    ]
    assert (machine.driver, machine.cuda, machine.cudnn, machine.runner) == ("570.1", "12.8", "9.1", "r1")
    sampler = Sampler(gpus, clock)
    for load, used in ((20, 5), (80, 9), (50, 7)):
        nvml.load, nvml.used = load, used
        nvml.joules += 10
        clock.sleep(1)
        sampler.sample()
    seen = sampler.seen
    assert seen.utilisation == pytest.approx(0.5)
    assert (seen.now, seen.peak_gpu_memory, seen.energy) == (0.5, 18, 60.0)


def test_energy_from_power_where_nothing_counts_it() -> None:
    nvml, clock = Nvml(broken={"nvmlDeviceGetTotalEnergyConsumption"}), Clock()
    sampler = Sampler(Gpus(nvml), clock)
    for _ in range(4):
        clock.sleep(2)
        sampler.sample()
    assert sampler.seen.energy == pytest.approx(2 * 100 * 8)


def test_visible_devices() -> None:
    assert [index for index, _ in Gpus(Nvml(), "1").handles] == [1]
    assert [index for index, _ in Gpus(Nvml(), "GPU-000").handles] == [0]
    assert Gpus(Nvml(), "-1").handles == []
    assert Gpus(None).describe() == ([], "", "")


def test_no_failure_of_nvml_breaks_anything() -> None:
    """Each function fails alone, then all at once."""
    names = [
        "nvmlInit", "nvmlShutdown", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName",
        "nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetCudaComputeCapability",
        "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage",
        "nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion",
    ]  # fmt: skip
    cases = [{name} for name in names] + [set(names)]
    for broken in cases:
        gpus = Gpus(Nvml(broken=broken))
        hardware(gpus)
        sampler = Sampler(gpus, Clock())
        sampler.sample()
        gpus.close()
    print(f"{len(cases)} failures of NVML")
    assert len(cases) == 14


def csv(rows: list[tuple[object, ...]], header: str = "id,label,score,group") -> bytes:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]).encode() + b"\n"


ROWS = [
    (f"r{i}", i % 2, round(0.3 + 0.3 * (i % 2) + 0.01 * (i % 9), 3), "ab"[i % 2 == 0 and i % 3 == 0])
    for i in range(200)
]
WANTED = Predictions(file="p.csv", id="id", slices=("group",))


def test_rows_are_paired_by_id_in_any_order() -> None:
    plain = compare(csv(ROWS), csv(ROWS), WANTED, metrics=["roc_auc"], level=0.9, baseline_run="b")
    assert (plain.rows, plain.metrics[0].delta, plain.metrics[0].level) == (200, 0.0, 0.9)
    mixed = compare(csv(ROWS), csv(ROWS[::-1]), WANTED, metrics=["roc_auc"], level=0.9, baseline_run="b")
    assert mixed.metrics == plain.metrics
    fewer = compare(csv(ROWS), csv(ROWS[:150]), WANTED, metrics=["roc_auc"], level=0.9, baseline_run="b")
    assert fewer.rows == 150
    assert "150 rows in both; 200 here, 150 in the baseline" in fewer.note


def test_parquet_and_regression() -> None:
    table = pa.table({"label": [float(i) for i in range(100)], "score": [i + 0.5 for i in range(100)]})
    better = pa.table({"label": [float(i) for i in range(100)], "score": [i + 0.25 for i in range(100)]})
    files = []
    for one in (better, table):
        stream = io.BytesIO()
        parquet.write_table(one, stream)
        files.append(stream.getvalue())
    made = compare(*files, Predictions(file="p.parquet"), metrics=["mae", "rmse"], level=0.95, baseline_run="b")
    assert {m.metric: m.delta for m in made.metrics} == pytest.approx({"mae": -0.25, "rmse": -0.25})


def test_what_cannot_be_compared_says_why() -> None:
    other_labels = [(i, 1 - y, s, g) for i, y, s, g in ROWS]
    no_id = Predictions(file="p.csv")
    cases = [
        (csv(ROWS), csv(other_labels), WANTED, "labels differ"),
        (csv(ROWS), csv(ROWS[:50]), no_id, "not the same examples"),
        (csv(ROWS), csv([("x", 1, 0.5, "a")]), WANTED, "no row of the baseline"),
        (csv([*ROWS, ROWS[0]]), csv(ROWS), WANTED, "uniquely"),
        (csv(ROWS, "id,label,other,group"), csv(ROWS), WANTED, "lack column score"),
        (b"\x00\xff", csv(ROWS), WANTED, "lack column|cannot be read"),
        (b"", csv(ROWS), WANTED, "cannot be read"),
        (csv([]), csv(ROWS), WANTED, "no rows"),
        (b"PAR1junkPAR1", csv(ROWS), Predictions(file="p.parquet"), "cannot be read"),
    ]
    for now, then, wanted, words in cases:
        with pytest.raises(DataError, match=words):
            compare(now, then, wanted, metrics=["roc_auc"], level=0.95, baseline_run="b")
    assert len(cases) == 9


def a_run(**fields: object) -> Run:
    given_fields: dict[str, object] = {
        "id": "0123456789ab",
        "model": "delay",
        "status": "succeeded",
        "reason_code": "trained",
        "input_digest": "sha256:" + "1" * 64,
        "source": Source(repository="acme/flights", commit="c" * 40, branch="main"),
        "trigger": Trigger(event="workflow_dispatch", workflow_run_id=7, attempt=2, url="https://x.example/runs/7"),
        "started_at": "2026-11-21T06:00:00Z",
        "finished_at": "2026-11-21T06:10:00Z",
        "environment": Environment(python="3.12.1", os="Debian"),
        "params": {"lr": 0.1},
        "stages": [StageRun(name="train", command="python train.py", outcome="executed")],
        "artifacts": [
            Artifact(path="model.bin", role="model", digest="sha256:" + "a" * 64, size=3, dvc_digest="md5:" + "b" * 32)
        ],
        "dependencies": [
            Dependency(path="data/raw", kind="data", digest="md5:" + "d" * 32 + ".dir"),
            Dependency(path="train.py", kind="code", digest="sha256:" + "e" * 64),
            Dependency(path="requirements.txt", kind="lock", digest="sha256:" + "f" * 64),
            Dependency(path="s3://bucket/x", kind="external", digest="sha256:" + "0" * 64),
        ],
    }
    return Run(**{**given_fields, **fields})


def test_export_is_a_statement_with_slsa_provenance() -> None:
    made = statement(a_run())
    read, provenance = parsed(made)
    assert read.predicate_type == PREDICATE
    definition, details = provenance.build_definition, provenance.run_details
    assert definition.build_type.startswith("https://")
    assert details.builder.id.startswith("https://")
    assert details.metadata.invocation_id == "https://x.example/runs/7/attempts/2"
    assert details.metadata.started_on.ToJsonString() == "2026-11-21T06:00:00Z"
    assert details.metadata.finished_on.ToJsonString() == "2026-11-21T06:10:00Z"
    digests = {d.name: dict(d.digest) for d in definition.resolved_dependencies}
    assert digests["source"] == {"gitCommit": "c" * 40}
    assert digests["data/raw"] == {"dvcDirMd5": "d" * 32}
    assert digests["train.py"] == {"sha256": "e" * 64}
    assert digests["s3://bucket/x"] == {}
    assert made["subject"] == [{"name": "model.bin", "digest": {"sha256": "a" * 64, "md5": "b" * 32}}]
    (record,) = details.byproducts  # the run document that a release ships
    assert (record.name, dict(record.digest)) == ("run.json", {"sha256": hashlib.sha256(dump(a_run())).hexdigest()})
    assert definition.internal_parameters["run"] == "0123456789ab"
    assert digests["requirements.txt"] == {"sha256": "f" * 64}
    kinds = {d.name: d.annotations["kind"] for d in definition.resolved_dependencies if "kind" in d.annotations}
    assert kinds["requirements.txt"] == "lock"
    dirty = statement(a_run(source=Source(repository="acme/flights", commit="c" * 40, dirty=True)))
    assert parsed(dirty)[1].build_definition.resolved_dependencies[0].annotations["dirty"] is True
    with pytest.raises(DataError):
        statement(a_run(status="failed"))
    with pytest.raises(DataError):
        statement(a_run(artifacts=[]))


def test_a_large_run_is_cut_to_what_is_read() -> None:
    small = a_run()
    assert fitting(small) is small
    texts = {f"plots/{i}.json": '"\\' * 20_000 for i in range(30)}
    large = a_run(
        restore=Restore(dvc_lock="x" * 1000, files=texts),
        metrics=[Metric(name=f"m{i}" + "x" * 200, value=0.1, file="m.json") for i in range(6000)],
        log_tail="y" * 16_000,
    )
    cut = fitting(large)
    assert len(dump(cut)) <= MAX_BYTES
    assert cut.restore.files == {}
    assert "trackside: restore shortened" in cut.log_tail
    assert "trackside: metrics shortened" in cut.log_tail


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_run_ids_are_stable_and_short(model: str, digest: str, job: str) -> None:
    model, digest, job = (part.encode("utf-8", "replace").decode() for part in (model, digest, job))
    made = run_id(model, digest, job)
    assert made == run_id(model, digest, job)
    assert len(made) == 12
    assert set(made) <= set("0123456789abcdef")
    assert made != run_id(model, digest, job + "1")


def test_who_started_it() -> None:
    env = {
        "GITHUB_EVENT_NAME": "workflow_dispatch",
        "GITHUB_RUN_ID": "12",
        "GITHUB_RUN_ATTEMPT": "3",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "acme/flights",
        "GITHUB_ACTOR": "ada",
    }
    made = trigger_from(env)
    assert (made.workflow_run_id, made.attempt, made.actor) == (12, 3, "ada")
    assert made.url == "https://github.com/acme/flights/actions/runs/12"
    assert trigger_from({}) == Trigger(event="local")


def test_credentials_are_lines() -> None:
    assert remote_env("# note\nAWS_ACCESS_KEY_ID = abc\n\nAWS_SECRET_ACCESS_KEY=a=b\n") == {
        "AWS_ACCESS_KEY_ID": "abc",
        "AWS_SECRET_ACCESS_KEY": "a=b",
    }
    for wrong in ("no-equals", "=x", "LD_PRELOAD=/x", "PYTHONPATH=/x", "DVC_ROOT=/x", "two words=x"):
        with pytest.raises(ConfigError) as caught:
            remote_env(wrong + "-precious")
        assert "precious" not in caught.value.render()
