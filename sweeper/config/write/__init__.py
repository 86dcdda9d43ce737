"""Write files from a sweep: its JSON Schema, and sweep files made from a command or a recorded trial."""
