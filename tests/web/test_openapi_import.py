"""OpenAPI documents become HTTP tools, operation by operation; what can't be taken is told and stops no other."""

import json
from typing import Any

import pytest

from tests.web.conftest import Client
from tests.web.test_tools import KEYS, app  # noqa: F401  # the fixture
from web.openapi import Document, Made, NotTaken, Options, Unusable, taken
from web.openapi.document import NODES_MAX, TEXT_MAX
from worker.tools.base import ArgumentsRefused
from worker.tools.http_tool import http_tool, request_of

PETS = """
openapi: 3.0.3
info: {title: Pets, version: '1'}
servers:
  - url: https://{region}.pets.example/v2/
    variables: {region: {default: eu}}
security: [{token: []}]
components:
  securitySchemes:
    token: {type: http, scheme: bearer}
    key: {type: apiKey, in: header, name: X-Pet-Key}
    crumb: {type: apiKey, in: cookie, name: crumb}
  parameters:
    limit: {name: limit, in: query, description: How many., schema: {type: integer, minimum: 0, exclusiveMinimum: true}}
  schemas:
    Pet:
      type: object
      required: [name, id]
      properties:
        id: {type: integer, readOnly: true}
        name: {type: string, example: Rex}
        born: {type: string, nullable: true}
        parent: {$ref: '#/components/schemas/Pet'}
        country: {type: string, enum: [no, se], default: no}
paths:
  /pets:
    parameters: [{$ref: '#/components/parameters/limit'}]
    get:
      operationId: list-pets
      summary: Lists pets.
      security: []
      parameters:
        - {name: 'filter[kind]', in: query, schema: {type: array, items: {type: string}}, explode: false}
        - {name: where, in: query, style: deepObject, schema: {type: object}}
        - {name: session, in: cookie, schema: {type: string}}
        - {name: X-Trace, in: header, schema: {type: string}}
        - {name: Accept, in: header, required: true, schema: {type: string}}
    post:
      operationId: addPet
      requestBody:
        required: true
        content:
          application/xml: {schema: {}}
          application/json: {schema: {$ref: '#/components/schemas/Pet'}}
  /pets/{id}/{body}:
    put:
      operationId: __put..pet__
      security: [{key: []}]
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
        - {name: id, in: query, schema: {type: string}}
        - {name: body, in: path, required: true, schema: {type: string}}
      requestBody: {content: {application/merge-patch+json: {schema: {type: object}}}}
  /upload:
    post:
      operationId: upload
      requestBody: {required: true, content: {multipart/form-data: {}}}
  /calculator:
    get: {operationId: calculator}
  /crumb:
    get: {operationId: crumbed, security: [{crumb: []}, {key: [], token: []}]}
  /nowhere:
    get: {operationId: nowhere, parameters: [{$ref: 'https://elsewhere.example/p.yaml'}]}
  /lost/{what}:
    delete: {operationId: lost}
  /again:
    get: {operationId: addPet}
"""


def all_of(document: str | dict[str, Any], **options: Any) -> tuple[dict[str, Made], dict[str, str]]:
    found = list(taken(Document.read(document), Options(**options)))
    made = {each.name: each for each in found if isinstance(each, Made)}
    return made, {each.operation: each.reason for each in found if isinstance(each, NotTaken)}


@pytest.fixture(scope="module")
def pets() -> tuple[dict[str, Made], dict[str, str]]:
    return all_of(PETS)


def test_each_operation_becomes_a_tool_or_a_reason(pets: Any) -> None:
    made, refused = pets
    assert list(made) == ["list-pets", "addPet", "put_pet"]
    assert {key: reason.partition(",")[0][:44] for key, reason in refused.items()} == {
        "POST /upload": "its body is neither JSON nor text",
        "GET /calculator": "the name calculator is taken by Umbel",
        "GET /crumb": "it needs a secret in a way that is not known",
        "GET /nowhere": "only references inside the document are foll",
        "DELETE /lost/{what}": "{what} stands in the path and is described n",
        "GET /again": "another operation of the document has this n",
    }


def test_parameters_and_body_become_one_schema_with_places(pets: Any) -> None:
    listing = pets[0]["list-pets"].definition
    assert (listing.url, listing.description, listing.auth) == (
        "https://eu.pets.example/v2/pets",
        "Lists pets.",
        None,
    )
    limit = {"type": "integer", "minimum": 0, "exclusiveMinimum": 0, "description": "How many."}
    assert listing.parameters["properties"]["limit"] == limit
    assert listing.properties == ["limit", "filter_kind", "where", "X-Trace"]
    args = {"limit": 3, "filter_kind": ["a", "b"], "where": {"x": 1}, "X-Trace": "t"}
    request = request_of(listing, args)
    query = "limit=3&filter%5Bkind%5D=a%2Cb&where%5Bx%5D=1"
    assert (str(request.url), request.headers) == (f"https://eu.pets.example/v2/pets?{query}", {"X-Trace": "t"})


def test_a_schema_keeps_what_a_caller_may_send_and_is_open_where_it_leads_into_itself(pets: Any) -> None:
    adding = pets[0]["addPet"].definition
    assert (adding.effect_now, adding.auth, adding.parameters["required"]) == ("unsafe", "bearer", ["body"])
    pet = adding.parameters["$defs"]["Pet"]
    assert pet == {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "born": {"type": ["string", "null"]},
            "parent": {},
            "country": {"type": "string", "enum": ["no", "se"], "default": "no"},
        },
    }

    async def never() -> None:
        raise AssertionError

    tool = http_tool("addPet", adding, never)
    tool.validate({"body": {"name": "Rex", "parent": {"name": "Rexa", "born": None}}})
    with pytest.raises(ArgumentsRefused, match=r"body\.born: "):
        tool.validate({"body": {"name": "Rex", "born": 7}})


def test_arguments_of_one_name_and_names_models_cannot_use_are_told_apart(pets: Any) -> None:
    putting = pets[0]["put_pet"].definition
    assert putting.url == "https://eu.pets.example/v2/pets/{id}/{body}"
    assert (putting.auth, putting.headers) == ("header:X-Pet-Key", {"Content-Type": "application/merge-patch+json"})
    request = request_of(putting, {"id": "1", "id_query": "2", "body": "3", "body_sent": {"a": 1}})
    assert (str(request.url), request.body) == ("https://eu.pets.example/v2/pets/1/3?id=2", b'{"a": 1}')


def test_options_change_what_is_taken() -> None:
    made, refused = all_of(
        PETS,
        base_url="https://other.example",
        prefix="shop_",
        auth="query:key",
        approval=True,
        only=frozenset({"addPet", "calculator", "gone"}),
    )
    assert list(made) == ["shop_addPet", "shop_calculator"]
    assert refused == {
        "GET /again": "another operation of the document has this name",
        "gone": "there is no operation of this id",
    }
    adding = made["shop_addPet"].definition
    assert (adding.url, adding.auth, adding.approval) == ("https://other.example/pets", "query:key", True)
    assert made["shop_calculator"].definition.approval is False


def test_version_3_1_has_json_schemas_and_a_relative_server_needs_a_base_url() -> None:
    schema = {"type": ["string", "null"], "exclusiveMinimum": 3, "pattern": "(?=a)a"}
    operation = {"parameters": [{"name": "q", "in": "query", "schema": schema}]}
    document = {"openapi": "3.1.0", "servers": [{"url": "/api"}], "paths": {"/a b/c": {"get": operation}}}
    assert "give `base_url`" in all_of(document)[1]["GET /a b/c"]
    (made,) = all_of(document | {"paths": {"/a/c": {"get": operation}}}, base_url="https://x.example/api/")[0].values()
    assert (made.name, made.definition.url) == ("get_a_c", "https://x.example/api/a/c")
    assert made.definition.parameters["properties"]["q"] == {"type": ["string", "null"], "exclusiveMinimum": 3}


DEEP = "openapi: 3.0.0\npaths: " + "{a: " * 200 + "1" + "}" * 200
BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{now}: &{now} [{','.join(['*' + before] * 9)}]\n" for before, now in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("{", "not JSON"),
        ("a: [", "not YAML"),
        ("just words", "an object is expected"),
        ("swagger: '2.0'", "Swagger 2.0"),
        ("openapi: 3.2.0\npaths: {}", "must be 3.0.x or 3.1.x"),
        ("openapi: 3.0.0", "no `paths`"),
        ("openapi: 3.0.0\npaths: {}", "no operations"),
        (DEEP, "nested"),
        ("a: &a [*a]\nopenapi: 3.0.0", "nested"),
        (BOMB, f"more than {NODES_MAX} values"),
        ("a: !!python/object/apply:os.system ['true']", "not YAML"),
        ("a: !!binary aGVsbG8=", "bytes is not JSON"),
        ("#" * (TEXT_MAX + 1), "longer than"),
        ({"openapi": "3.0.0", "paths": {f"/{n}": {"get": {}} for n in range(101)}}, "101 operations are more than 100"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_document_that_cannot_be_used_says_why(document: Any, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        all_of(document)


def test_an_operation_whose_schemas_are_without_measure_is_not_taken() -> None:
    wide = {"type": "object", "properties": {str(n): {"type": "string"} for n in range(3000)}}
    body = {"content": {"application/json": {"schema": wide}}}
    document = {
        "openapi": "3.0.0",
        "servers": [{"url": "https://x.example"}],
        "paths": {"/a": {"post": {"requestBody": body}}},
    }
    assert "more than 2000 parts" in all_of(document)[1]["POST /a"]


def test_an_operation_whose_schemas_explode_once_put_in_place_is_not_taken() -> None:
    schemas = {f"s{n}": {"allOf": [{"$ref": f"#/components/schemas/s{n + 1}"}] * 10} for n in range(20)}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/s0"}}}}
    document = {
        "openapi": "3.0.0",
        "servers": [{"url": "https://x.example"}],
        "components": {"schemas": schemas | {"s20": {"type": "string"}}},
        "paths": {"/a": {"post": {"requestBody": body}}},
    }
    assert "more than 10000 parts" in all_of(document)[1]["POST /a"]


def test_our_own_document_can_be_imported(settings: Any) -> None:
    from web import create_app

    document = json.loads(json.dumps(create_app(settings).api_doc))  # type: ignore[attr-defined]
    made, refused = all_of(document, base_url="https://umbel.example", auth="bearer")
    assert {each.definition.url for each in made.values()} >= {"https://umbel.example/v1/tasks/{task_id}/cancel"}
    assert len(made) > 20, refused


@pytest.mark.stack
def test_an_import_writes_all_that_can_be_taken_and_reports_the_rest(client: Client) -> None:
    dry = client.post("/v1/tools/import", json={"document": PETS, "dry_run": True}).json
    assert ([each["version"] for each in dry["imported"]], len(dry["refused"])) == ([None] * 3, 6)
    assert client.get("/v1/tools").json["tools"] == []
    done = client.post("/v1/tools/import", json={"document": PETS, "secret": "a-word-for-pets"})
    assert done.status_code == 200, done.json
    assert "a-word-for-pets" not in done.text
    told = {each["name"]: (each["version"], each["effect"], each["secret"]) for each in done.json["imported"]}
    assert told == {
        "list-pets": (1, "pure", "unset"),
        "addPet": (1, "unsafe", "set"),
        "put_pet": (1, "idempotent", "set"),
    }
    assert [each["name"] for each in client.get("/v1/tools").json["tools"]] == ["addPet", "list-pets", "put_pet"]
    again = client.post("/v1/tools/import", json={"document": PETS}).json
    assert {each["version"] for each in again["imported"]} == {1}, "the same again changes nothing"
    task = {"workflow": "agent", "input": {"prompt": "x", "tools": ["addPet", "list-pets"]}}
    assert client.post("/v1/tasks", json=task).status_code == 202


@pytest.mark.stack
def test_an_import_replaces_other_tools_only_when_told_to(client: Client) -> None:
    own = {"description": "Mine.", "url": "https://mine.example/"}
    client.put("/v1/tools/addPet", json=own)
    done = client.post("/v1/tools/import", json={"document": PETS}).json
    assert "set `replace`" in next(each for each in done["refused"] if each["operation"] == "POST /pets")["reason"]
    assert client.get("/v1/tools/addPet").json["definition"] == own
    client.post("/v1/tools/import", json={"document": PETS, "replace": True})
    assert client.get("/v1/tools/addPet").json["version"] == 2


@pytest.mark.stack
def test_nothing_is_half_written(client: Client) -> None:
    client.post("/v1/tools/import", json={"document": PETS, "secret": "a-word-for-pets", "only": ["addPet"]})
    elsewhere = {"document": PETS, "base_url": "https://evil.example", "replace": True}
    refused = client.post("/v1/tools/import", json=elsewhere)
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "secret")
    assert [each["name"] for each in client.get("/v1/tools").json["tools"]] == ["addPet"]
    none = client.post("/v1/tools/import", json={"document": PETS, "only": ["upload"]})
    assert (none.status_code, none.json["errors"][0]["field"]) == (422, "document: POST /upload")
    assert client.post("/v1/tools/import", json={"document": "a: ["}).json["errors"][0]["field"] == "document"
