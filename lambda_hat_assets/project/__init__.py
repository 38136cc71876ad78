"""The input of the definitions: experiments, studies, and targets and runs as partitions."""
