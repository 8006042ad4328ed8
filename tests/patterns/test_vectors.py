"""One contract for all stores of vectors."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from config.settings import Settings
from models.database import Database, connect
from models.scope import AccountScope
from tests.patterns.conftest import at
from worker.patterns.vectors import base, errors
from worker.patterns.vectors.base import Content, Point, Space, Where
from worker.patterns.vectors.index import ANYTHING, Vectors
from worker.patterns.vectors.pgvector import PgvectorStore

if TYPE_CHECKING:
    from tests.patterns.standin import QdrantStandIn

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

ME, OTHER = AccountScope(UUID(int=1)), AccountScope(UUID(int=2))
SIZE = 6


@pytest.fixture
async def space(vectors: Vectors) -> AsyncIterator[Space]:
    """A space of this test alone."""
    made = Space(Content.TEXT, f"test:{uuid4()}", SIZE)
    await vectors.ensure(made)
    yield made
    await vectors.store.drop(made)


def vector(*numbers: float) -> list[float]:
    return [*map(float, numbers), *[0.0] * (SIZE - len(numbers))]


def point(number: int, values: list[float], account: AccountScope = ME, **more: str) -> Point:
    return Point(UUID(int=number), account.account_id, values, more.pop("kind", "workflow"), **more)


async def found(vectors: Vectors, space: Space, where: Where = ANYTHING, **more: int) -> list[int]:
    return [hit.id.int for hit in await vectors.search(ME, space, vector(1, 1), where, **more)]


async def test_the_nearest_come_first_with_their_cosine(vectors: Vectors, space: Space) -> None:
    await vectors.upsert(space, [point(1, vector(1)), point(2, vector(2, 2)), point(3, vector(-1, -1))])
    hits = await vectors.search(ME, space, vector(1, 1))
    assert [hit.id.int for hit in hits] == [2, 1, 3]
    assert [hit.score for hit in hits] == pytest.approx([1, math.sqrt(0.5), -1], abs=1e-4)
    assert (hits[0].kind, hits[0].state, hits[0].account_id) == ("workflow", "active", ME.account_id)
    assert await found(vectors, space, limit=1) == [2]


async def test_written_again_a_point_is_replaced(vectors: Vectors, space: Space) -> None:
    await vectors.upsert(space, [point(1, vector(-1)), point(1, vector(0, 1))])
    await vectors.upsert(space, [point(1, vector(1, 1), state="retired")])
    (hit,) = await vectors.search(ME, space, vector(1, 1))
    assert (hit.state, hit.score) == ("retired", pytest.approx(1, abs=1e-4))
    assert await vectors.count(ME, space) == 1


async def test_each_filter_holds_and_they_hold_together(vectors: Vectors, space: Space) -> None:
    values = vector(1, 1)
    await vectors.upsert(
        space,
        [
            point(1, values),
            point(2, values, kind="fix", state="candidate"),
            point(3, values, toolset_hash="h1", agent="a"),
            point(4, values, toolset_hash="h2", agent="b"),
        ],
    )
    expected = {
        Where(): {1, 2, 3, 4},
        Where(kinds=("fix",)): {2},
        Where(kinds=("fix", "workflow"), states=("active",)): {1, 3, 4},
        Where(states=("quarantined",)): set(),
        Where(toolset_hash="h1"): {1, 2, 3},
        Where(agent="b"): {1, 2, 4},
        Where(kinds=("workflow",), states=("active",), toolset_hash="h2", agent="b"): {1, 4},
    }
    for where, ids in expected.items():
        assert set(await found(vectors, space, where)) == ids, where
        assert await vectors.count(ME, space, where) == len(ids), where


async def test_no_question_reaches_another_account(vectors: Vectors, space: Space) -> None:
    await vectors.upsert(space, [point(1, vector(1, 1), OTHER), point(2, vector(-1, -1))])
    assert await found(vectors, space) == [2]
    assert (await vectors.count(ME, space), await vectors.count(OTHER, space)) == (1, 1)
    await vectors.delete(ME, space, [UUID(int=1), UUID(int=9)])
    assert await vectors.count(OTHER, space) == 1
    await vectors.delete(OTHER, space, [UUID(int=1)])
    assert await vectors.count(OTHER, space) == 0


async def test_an_account_with_few_among_many_finds_all_of_them(vectors: Vectors, space: Space) -> None:
    chance = random.Random(6)
    crowd = [point(n, [chance.gauss(1, 0.1) for _ in range(SIZE)], OTHER) for n in range(100, 500)]
    await vectors.upsert(space, [*crowd, point(1, vector(-1, -1)), point(2, vector(-1))])
    assert await found(vectors, space, limit=5) == [2, 1]


async def test_an_account_that_grows_and_shrinks_finds_its_nearest_all_along(database: Database) -> None:
    store, made = PgvectorStore(database, few=3), Space(Content.TEXT, f"test:{uuid4()}", SIZE)
    vectors = Vectors(store)
    await vectors.ensure(made)
    points = [point(n, vector(1, 1 - n / 10)) for n in range(6)]
    for start, end, known in ((0, 3, [0, 1, 2]), (3, 6, [0, 1, 2, 3, 4, 5])):
        await vectors.upsert(made, points[start:end])
        assert await found(vectors, made) == known
    await vectors.delete(ME, made, [UUID(int=n) for n in range(5)])
    assert await found(vectors, made) == [5]
    await store.drop(made)


async def test_making_a_collection_many_times_at_once_makes_one(vectors: Vectors, space: Space) -> None:
    other = Space(Content.CODE, space.embedder, SIZE)
    await asyncio.gather(*(vectors.ensure(other) for _ in range(4)))
    await vectors.upsert(other, [point(1, vector(1))])
    await vectors.ensure(other)
    assert await vectors.exists(other)
    assert (await vectors.count(ME, other), await vectors.count(ME, space)) == (1, 0)
    assert await vectors.store.drafts(other) == []
    await vectors.store.drop(other)


async def test_a_generation_built_beside_takes_the_place_of_the_old_in_one_step(vectors: Vectors, space: Space) -> None:
    await vectors.upsert(space, [point(1, vector(1))])
    await vectors.store.draft(space, "g2")
    await vectors.upsert(space, [point(2, vector(1)), point(3, vector(1))], "g2")
    assert await found(vectors, space) == [1]
    await vectors.upsert(space, [point(4, vector(-1))])  # meanwhile: to both
    await vectors.delete(ME, space, [UUID(int=3)])
    assert await vectors.store.drafts(space) == ["g2"]
    await vectors.store.publish(space, "g2")
    assert await found(vectors, space) == [2, 4]
    assert await vectors.store.drafts(space) == []
    await vectors.ensure(space)
    await vectors.store.draft(space, "g3")
    await vectors.store.publish(space, "g3")
    assert await found(vectors, space) == []


async def test_a_half_built_generation_is_recognised_and_never_searched(vectors: Vectors, space: Space) -> None:
    await vectors.store.draft(space, "g2")
    await vectors.store.draft(space, "g2")
    await vectors.upsert(space, [point(2, vector(1))], "g2")
    assert (await found(vectors, space), await vectors.store.drafts(space)) == ([], ["g2"])
    await vectors.store.discard(space, "g2")
    assert await vectors.store.drafts(space) == []
    with pytest.raises(errors.VectorIndexMissing):
        await vectors.upsert(space, [point(2, vector(1))], "g2")


async def test_before_anything_is_indexed_the_error_says_what_to_do(vectors: Vectors) -> None:
    never = Space(Content.TEXT, "never", SIZE)
    assert not await vectors.exists(never)
    for asked in (
        vectors.search(ME, never, vector(1)),
        vectors.count(ME, never),
        vectors.upsert(never, [point(1, vector(1))]),
    ):
        with pytest.raises(errors.VectorIndexMissing, match="umbel patterns reindex"):
            await asked
    await vectors.delete(ME, never, [UUID(int=1)])
    assert await vectors.store.drafts(never) == []


@pytest.mark.parametrize("numbers", [[1.0] * 5, [1.0] * 7, [], [0.0] * 6, [math.nan] * 6, [math.inf] * 6])
async def test_a_vector_that_does_not_fit_is_refused_and_nothing_written(
    database: Database, numbers: list[float]
) -> None:
    vectors, space = Vectors(PgvectorStore(database)), Space(Content.TEXT, "refusing", SIZE)
    with pytest.raises(errors.VectorRefused):
        await vectors.search(ME, space, numbers)
    with pytest.raises(errors.VectorRefused):
        await vectors.upsert(space, [point(1, vector(1)), point(2, numbers)])


@pytest.mark.parametrize(
    "given",
    [{"account_id": str(OTHER.account_id)}, {"kinds": "fix"}, {"agent": 7}, {"states": [1]}, {"must": []}],
)
def test_a_filter_from_outside_can_name_no_account_and_nothing_unknown(given: dict[str, object]) -> None:
    with pytest.raises(errors.VectorFilterRefused):
        Where.of(given)
    assert Where.of({"kinds": ["fix"], "agent": "a"}) == Where(kinds=["fix"], agent="a")


def test_each_embedder_content_and_dimension_has_its_own_collection() -> None:
    each = [("text", "p:m", 8), ("code", "p:m", 8), ("text", "p.m", 8), ("text", "p:m", 9), ("text", "x" * 300, 4000)]
    names = {Space(Content(content), embedder, size).name for content, embedder, size in each}
    assert len(names) == len(each) and all(len(name) <= 46 for name in names)
    usual = {Content.TEXT: 1536, Content.CODE: 768, Content.MULTIMODAL: 512, Content.PASSAGES: 1536}
    assert usual == base.DIMENSIONS


@pytest.mark.parametrize("dimension", [1536, 3072])
async def test_vectors_as_long_as_large_models_give_them_are_searched(vectors: Vectors, dimension: int) -> None:
    space = Space(Content.TEXT, f"large {uuid4()}", dimension)
    await vectors.ensure(space)
    await vectors.upsert(space, [point(1, [1.0] * dimension), point(2, [1.0, -1.0] * (dimension // 2))])
    assert [hit.id.int for hit in await vectors.search(ME, space, [1.0] * dimension)] == [1, 2]
    await vectors.store.drop(space)


async def test_pgvector_refuses_more_numbers_than_it_can_index(database: Database) -> None:
    with pytest.raises(errors.VectorRefused, match="4000 numbers at most"):
        await PgvectorStore(database).ensure(Space(Content.TEXT, "huge", 4001))


# Stores that are down, or that refuse


@pytest.fixture(scope="module")
def unreachable() -> Iterator[Database]:
    nobody = Settings(environment="development", database_url="postgresql://u:p@127.0.0.1:1/x")
    opened = connect(nobody, pool_size=1)
    yield opened
    opened.close()


async def test_a_store_that_is_down_is_said_to_be_and_worth_another_try(
    unreachable: Database, database: Database, standin: "QdrantStandIn"
) -> None:
    from tests.patterns.standin import QdrantStandIn

    space = Space(Content.TEXT, "down", SIZE)
    qdrant, gone = at(standin, database), QdrantStandIn()
    async with gone:
        lost = at(gone, database)
    standin.failing = 503
    for vectors in (Vectors(PgvectorStore(unreachable)), qdrant, lost):
        with pytest.raises(errors.VectorStoreUnavailable) as caught:
            await vectors.search(ME, space, vector(1))
        assert caught.value.retryable and caught.value.code == "vector_store_unavailable"
        await vectors.close()


async def test_a_wrong_key_of_qdrant_is_named_without_being_shown(database: Database, standin: "QdrantStandIn") -> None:
    vectors = at(standin, database, key="not-the-key")
    with pytest.raises(errors.VectorStoreRefused, match="UMBEL_QDRANT_KEY") as caught:
        await vectors.ensure(Space(Content.TEXT, "refused", SIZE))
    assert not caught.value.retryable and "not-the-key" not in str(caught.value)
    await vectors.close()


async def test_without_pgvector_the_error_tells_the_cure(settings: Settings) -> None:
    elsewhere = settings.database_url.get_secret_value().rsplit("/", 1)[0] + "/postgres"  # where we may create nothing
    bare = connect(Settings(environment="development", database_url=elsewhere), pool_size=1)
    with pytest.raises(errors.VectorStoreUnavailable, match="CREATE EXTENSION vector") as caught:
        await PgvectorStore(bare).ensure(Space(Content.TEXT, "bare", SIZE))
    assert not caught.value.retryable
    bare.close()
