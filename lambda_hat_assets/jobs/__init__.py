"""Jobs and sensors: `llc` makes a whole experiment; other jobs make partitions of one asset."""
