"""Script templates (YAML) and page templates (Jinja2): data, loaded through `loader`."""
