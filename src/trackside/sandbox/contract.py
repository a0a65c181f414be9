"""GitHub's own OpenAPI description: validates every exchange, and gives response skeletons from its examples."""

from __future__ import annotations

import copy
import gzip
import json
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

Doc = dict[str, Any]

_BASE = "urn:github"


class Contract:
    """The description of github.com's REST API, by path template and method."""

    @cached_property
    def description(self) -> Doc:
        packed = (files("trackside.sandbox") / "data" / "api.github.com.json.gz").read_bytes()
        loaded: Doc = json.loads(gzip.decompress(packed))
        return loaded

    @cached_property
    def _registry(self) -> Any:
        from referencing import Registry
        from referencing.jsonschema import DRAFT4

        return Registry().with_resource(_BASE, DRAFT4.create_resource(self.description))

    def operation(self, template: str, method: str) -> Doc:
        """The operation object. Raises KeyError for an operation that GitHub does not have."""
        found: Doc = self.description["paths"][template][method.lower()]
        return found

    def example(self, template: str, method: str, status: int, *, name: str = "") -> Any:
        """A copy of the description's example answer (the first, or the one called `name`)."""
        content = self._deref(self.operation(template, method)["responses"][str(status)])["content"]["application/json"]
        examples = content["examples"]
        chosen = examples[name] if name else next(iter(examples.values()))
        return copy.deepcopy(self._deref(chosen)["value"])

    def request_errors(self, template: str, method: str, query: dict[str, str], body: Any) -> list[str]:
        """What is wrong with a request: unknown or mistyped query parameters, a body off its schema."""
        operation = self.operation(template, method)
        wrong: list[str] = []
        pointers = {}
        for index, parameter in enumerate(operation.get("parameters", [])):
            resolved = self._deref(parameter)
            if resolved["in"] == "query":
                pointer = parameter.get("$ref", f"#/{_pointer('paths', template, method.lower(), 'parameters', index)}")
                pointers[resolved["name"]] = (pointer + "/schema", resolved["schema"])
        for name, value in query.items():
            if name not in pointers:
                wrong.append(f"query parameter {name!r} is not known")
                continue
            pointer, schema = pointers[name]
            wrong += self._errors(pointer, _typed(value, self._deref(schema)), f"query.{name}")
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content and body is not None:
            place = _pointer("paths", template, method.lower(), "requestBody", "content", "application/json", "schema")
            wrong += self._errors("#/" + place, body, "body")
        return wrong

    def response_errors(self, template: str, method: str, status: int, body: Any) -> list[str]:
        """What is wrong with an answer: a status that the operation does not list, a body off its schema."""
        responses = self.operation(template, method)["responses"]
        if str(status) not in responses:
            return [] if status in (401, 403, 404, 422, 429) or status >= 500 else [f"status {status} is not listed"]
        response = responses[str(status)]
        pointer = response.get("$ref") or "#/" + _pointer("paths", template, method.lower(), "responses", status)
        content = self._deref(response).get("content", {})
        if not content or body is None:
            return [] if not content else [f"status {status} lacks a body"]
        if "application/json" not in content:
            return []
        return self._errors(pointer + "/content/application~1json/schema", body, "body")

    def _errors(self, pointer: str, value: Any, where: str) -> list[str]:
        return [
            f"{where}{''.join(f'[{part!r}]' for part in error.absolute_path)}: {error.message[:300]}"
            for error in _validator(self, pointer).iter_errors(value)
        ]

    def _deref(self, node: Doc) -> Doc:
        while "$ref" in node:
            target: Any = self.description
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node


@lru_cache(maxsize=2048)
def _validator(contract: Contract, pointer: str) -> Any:
    from openapi_schema_validator import OAS30Validator

    return OAS30Validator({"$ref": _BASE + pointer}, registry=contract._registry)


def _pointer(*parts: Any) -> str:
    return "/".join(
        str(part).replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D") for part in parts
    )


def _typed(value: str, schema: Doc) -> Any:
    """A query value as the JSON type that its schema names."""
    if schema.get("type") == "integer" and value.lstrip("-").isdigit():
        return int(value)
    if schema.get("type") == "boolean" and value in ("true", "false"):
        return value == "true"
    return value
