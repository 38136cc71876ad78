"""What definitions are made of: experiments, studies, targets and runs as partitions."""
