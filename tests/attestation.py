"""Exports judged by the in-toto project's own library and the SLSA provenance schema."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1.statement import Statement


def parsed(made: dict[str, Any]) -> tuple[Any, Any]:
    """The statement and its provenance as protocol buffers; fails for whatever the standards do not know."""
    plain = json.loads(json.dumps(made))
    read = Statement.copy_from_pb(ParseDict(plain, Statement([], "", {}).pb.__class__()))
    read.validate()
    return read.pb, ParseDict(plain["predicate"], provenance_pb2.Provenance())
