"""Makes what assets ask for, with worker processes on this machine."""
