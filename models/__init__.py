"""Music and networks. Knows no Discord, no database, no asyncio."""
