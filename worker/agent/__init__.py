"""The durable agent loop: pydantic-ai's agent over Umbel's journal. Nothing outside this package and
`worker.llm` knows pydantic-ai.
"""
