"""Raw → valid: the checked file as the values that stages read."""

from __future__ import annotations

import msgspec

from trackside.config import raw
from trackside.config.model import (
    Card,
    Config,
    DeployTarget,
    DriftPolicy,
    ImagePolicy,
    MetricPolicy,
    Model,
    Position,
    Predictions,
    ReportPolicy,
    RetrainPolicy,
    StagePolicy,
    TrainPolicy,
)
from trackside.documents.run import Money


def labels(value: str | list[str]) -> tuple[str, ...]:
    """One text or several."""
    return (value,) if isinstance(value, str) else tuple(value)


def to_config(config: raw.RawConfig, file: str, positions: dict[str, Position]) -> Config:
    train = config.train
    price = train.gpu_hour_price
    return Config(
        models=tuple(_to_model(name, model) for name, model in config.models.items()),
        train=TrainPolicy(
            on=train.on,
            label=train.label,
            runs_on=labels(train.runs_on),
            timeout_minutes=train.timeout_minutes,
            requirements=train.requirements,
            gpu_hour_price=Money(amount=price.amount, currency=price.currency) if price else None,
            gpu_hours_per_pull=train.gpu_hours_per_pull,
            pass_env=tuple(train.pass_env),
        ),
        report=ReportPolicy(
            publisher=config.report.publisher, template=config.report.template, confidence=config.report.confidence
        ),
        commands={
            one.name: getattr(config.commands, one.name).permission for one in msgspec.structs.fields(config.commands)
        },
        data_branch=config.data_branch,
        positions=positions,
        file=file,
    )


def _to_model(name: str, model: raw.RawModel) -> Model:
    predictions = model.predictions
    return Model(
        name=name,
        path=model.path,
        stages=tuple(model.stages),
        metrics=tuple(
            MetricPolicy(
                name=metric,
                file=rule.file,
                direction=rule.direction,
                minimum=rule.min,
                maximum=rule.max,
                tolerance=rule.tolerance,
            )
            for metric, rule in model.metrics.items()
        ),
        predictions=Predictions(
            file=predictions.file,
            label=predictions.label,
            score=predictions.score,
            id=predictions.id,
            slices=tuple(predictions.slices),
        )
        if predictions
        else None,
        seeds=tuple(model.seeds),
        trusted_imports=tuple(model.trusted_imports),
        card=_card(model.card),
        drift=_drift(model.drift) if model.drift else None,
        image=_image(model.image) if model.image else None,
        gates=gates(model.promotion),
    )


def gates(promotion: list[str | raw.RawPromotion]) -> tuple[StagePolicy, ...]:
    """The stages with what they ask for; one that does not say what it comes after comes after the one before it."""
    made: list[StagePolicy] = []
    for one in promotion:
        rule = raw.RawPromotion(stage=one) if isinstance(one, str) else one
        before = tuple(gate.stage for gate in made[-1:])
        after = before if rule.after is None else labels(rule.after)
        made.append(
            StagePolicy(
                stage=rule.stage,
                after=after,
                approvals=rule.approvals,
                checks=tuple(rule.checks),
                attestation=rule.attestation,
                image=rule.image,
                branch=rule.branch,
            )
        )
    return tuple(made)


def _card(card: raw.RawCard) -> Card:
    return Card(
        description=card.description,
        license=card.license,
        intended_use=card.intended_use,
        limitations=card.limitations,
        how_to_load=card.how_to_load,
        tags=tuple(card.tags),
        task=card.task,
        architecture=card.architecture,
    )


def persistence(after: int | str) -> tuple[int, int]:
    """`after` as checks that must find drift, and of how many; of checks in a row the second is 0."""
    if isinstance(after, int):
        return after, 0
    least, _, of = after.partition(" of ")
    return int(least), int(of)


def _drift(drift: raw.RawDrift) -> DriftPolicy:
    retrain = drift.retrain
    after, within = persistence(retrain.after) if retrain else (0, 0)
    return DriftPolicy(
        reference=drift.reference,
        current=drift.current,
        query=drift.query,
        features=tuple(drift.features),
        ignore=tuple(drift.ignore),
        prediction=drift.prediction,
        label=drift.label,
        labels=drift.labels,
        labels_query=drift.labels_query,
        key=drift.key,
        time=drift.time,
        label_time=drift.label_time,
        slices=tuple(drift.slices),
        segments=tuple(drift.segments),
        decision=drift.decision,
        multivariate=drift.multivariate,
        importance=drift.importance,
        min_rows=drift.min_rows,
        alpha=drift.alpha,
        thresholds=dict(drift.thresholds),
        notify=drift.notify,
        history=drift.history,
        retrain=RetrainPolicy(
            after=after,
            within=within,
            cooldown_days=retrain.cooldown_days,
            update=tuple(retrain.update),
            params=dict(retrain.params),
            reviewers=tuple(retrain.reviewers),
            auto_merge=retrain.auto_merge,
        )
        if retrain
        else None,
    )


def _image(image: raw.RawImage) -> ImagePolicy:
    deploy = image.deploy
    return ImagePolicy(
        service=image.service,
        requirements=image.requirements,
        golden=image.golden,
        registry=image.registry,
        base_image=image.base_image,
        include=tuple(image.include),
        latency_tolerance=image.latency_tolerance,
        deploy=DeployTarget(file=deploy.file, key=deploy.key, repository=deploy.repository, branch=deploy.branch)
        if deploy
        else None,
    )
