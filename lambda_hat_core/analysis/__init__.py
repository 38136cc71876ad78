"""From a trace to an estimate with its verdict, files and figures."""
