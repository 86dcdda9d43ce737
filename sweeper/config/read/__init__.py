"""Read a sweep file: YAML text, overrides, profiles and W&B keys become one tree of values, each with its line."""
