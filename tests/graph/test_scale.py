"""The benchmark of the graph at a small size: every store answers as dictionaries in memory do."""

from bench.__main__ import Plan
from bench.graph import measure
from bench.report import Report
from config.settings import Settings
from models.database import Database


async def test_walks_over_a_graph_with_hubs_are_those_of_dictionaries_in_memory(
    database: Database, neo4j_settings: Settings
) -> None:
    report = Report("graph", "small")
    patient = neo4j_settings.model_copy(update={"graph_timeout_s": 60})
    await measure(Plan(1, 0.002, lambda line: None, growth=True), report, database, patient)
    assert [name.split(",")[0] for name in report.rounds] == ["dictionaries", "PostgreSQL", "Neo4j"] * 2
    costs = {name.split(",")[0]: rounds[0].keys() for name, rounds in report.rounds.items()}
    assert costs["PostgreSQL"] >= {"build s", "MB"}
    assert costs["Neo4j"] >= {"build s", "peak MB"}
