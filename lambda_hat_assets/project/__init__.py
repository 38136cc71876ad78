"""What definitions are made from: experiments, studies, targets and runs as partitions."""
