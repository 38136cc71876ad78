"""From what an asset asks for to a payload that makes it, on this machine."""
