"""The OpenAI-compatible API over an engine."""
