"""Copies a version into the model registry of MLflow; needs the extra ``mlflow``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.errors import RegistryError
from registry.quality import manifest_quality
from registry.store import Registry
from topiccore import artifact

ID_TAG = "topiccore.id"
_LONGEST_PARAMETER = 500


def copy_to_mlflow(
    registry: Registry, identity: str, uri: str, name: str, experiment: str
) -> dict[str, Any]:
    """Logs a version's files, settings and figures in a run, and registers it under ``name``.

    Returns ``name``, ``version``, ``run`` and whether it was ``registered`` now; a version that is
    there already is left alone.  Raises ``RegistryError`` when MLflow is missing or refuses.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise RegistryError(
            f"MLflow needs the package {error.name}: pip install 'topiccore[mlflow]'"
        ) from error
    loaded = artifact.load(registry.version_path(identity))
    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        known = _known(client, name, identity)
        if known is not None:
            return {
                "name": name,
                "version": str(known.version),
                "run": known.run_id,
                "registered": False,
            }
        run = client.create_run(_experiment(client, experiment), run_name=identity[:12])
        status = "FAILED"
        try:
            _log(client, run.info.run_id, registry, loaded)
            made = client.create_model_version(
                name,
                f"{run.info.artifact_uri.rstrip('/')}/artifact",
                run_id=run.info.run_id,
                tags=_tags(registry, loaded),
            )
            status = "FINISHED"
        finally:
            client.set_terminated(run.info.run_id, status)
    except (MlflowException, OSError) as error:
        raise RegistryError(f"MLflow at {uri}: {error}") from error
    return {
        "name": name,
        "version": str(made.version),
        "run": run.info.run_id,
        "registered": True,
    }


def _known(client: Any, name: str, identity: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name)
        return None
    quoted = name.replace("'", "''")
    found = client.search_model_versions(f"name='{quoted}'")
    return next((one for one in found if one.tags.get(ID_TAG) == identity), None)


def _experiment(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def _log(client: Any, run: str, registry: Registry, loaded: artifact.Artifact) -> None:
    client.log_artifacts(run, str(registry.version_path(loaded.id)), "artifact")
    for key, value in manifest_quality(loaded.training).items():
        if isinstance(value, (int, float)) and math.isfinite(value):
            client.log_metric(run, key, float(value))
    settings = {"settings": loaded.training.get("settings", {}), "data": dict(loaded.data)}
    for key, value in _flat(settings):
        client.log_param(run, key, str(value)[:_LONGEST_PARAMETER])


def _tags(registry: Registry, loaded: artifact.Artifact) -> dict[str, str]:
    record = registry.record(loaded.id)
    return {
        ID_TAG: loaded.id,
        "topiccore.encoding": loaded.encoding,
        "topiccore.labels": str(len(loaded.taxonomy)),
        "topiccore.pushed": str(record["when"]),
        "topiccore.pushed_by": str(record.get("who")),
        "topiccore.registry": str(Path(registry.root).absolute()),
    }


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, inner in value.items():
        # MLflow takes letters, digits and _ - . / and blanks in names.
        name = prefix + "".join(x if x.isalnum() or x in "_-./ " else "_" for x in str(key))
        found += _flat(inner, f"{name}.") if isinstance(inner, Mapping) else [(name, inner)]
    return found
