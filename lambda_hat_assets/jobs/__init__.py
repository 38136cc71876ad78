"""Jobs and sensors: `llc` runs a whole experiment; other jobs make partitions of one asset."""
