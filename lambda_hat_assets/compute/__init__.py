"""Makes the artifacts that assets request, with worker processes on this machine."""
