"""Chooses the store of the graph, and loads the client of that one only."""

from config.settings import Settings
from models.database import Database
from worker.patterns.graph.base import GraphStore
from worker.patterns.graph.sql import SqlGraph


def open_graph(settings: Settings, database: Database) -> GraphStore:
    """Return Neo4j where UMBEL_NEO4J_URL names one, else the record itself. Connects when first used."""
    if not settings.neo4j_url:
        return SqlGraph(database)
    from worker.patterns.graph.neo4j import Neo4jGraph

    return Neo4jGraph(settings)
