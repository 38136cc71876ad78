"""From a trace to a number that may be believed: estimate, verdict, files and figures."""
