"""The service: how likely is each of these flights to arrive late? Built into an image by Trackside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import bentoml
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

sys.path.insert(0, str(Path(__file__).parent / "src"))
from flights.store import load

MODEL = Path(__file__).parent / "models" / "delay.skops"
Code = Annotated[str, Field(pattern="^[A-Z0-9]{2,3}$")]


class Flight(BaseModel):
    """What is known before departure; `weekday` counts from Monday = 0, `distance` is in miles."""

    model_config = ConfigDict(extra="forbid")

    hour: Annotated[int, Field(ge=0, le=23)]
    weekday: Annotated[int, Field(ge=0, le=6)]
    arrival_hour: Annotated[int, Field(ge=0, le=24)]
    distance: Annotated[float, Field(gt=0, le=20_000)]
    carrier: Code
    origin: Code
    dest: Code


@bentoml.service(name="delay")
class DelayService:
    """Loads the model once; a worker that cannot load it never gets ready."""

    def __init__(self) -> None:
        self.model = load(MODEL)

    @bentoml.api
    def predict(self, flights: Annotated[list[Flight], Field(min_length=1, max_length=1000)]) -> list[float]:
        """Probability of arriving more than 15 minutes late, for each flight."""
        table = pd.DataFrame([flight.model_dump() for flight in flights])
        return [float(score) for score in self.model.predict_proba(table[list(self.model.feature_names_in_)])[:, 1]]
