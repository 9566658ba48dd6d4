"""What the command line needs beside typer: settings, the STORY argument, displays of events, questions on a terminal."""
