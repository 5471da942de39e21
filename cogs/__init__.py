"""Slash commands: parse, call one service, answer. No logic of their own."""
