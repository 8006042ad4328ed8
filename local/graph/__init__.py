"""A Neo4j for tests and benchmarks: its community edition on this machine's JDK."""
