"""The engine: claims runs, carries them out step by step, records everything. Asyncio throughout."""
