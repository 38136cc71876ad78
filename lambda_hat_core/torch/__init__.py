"""PyTorch modules as differentiable JAX functions of their parameters (extra `torch`)."""

from lambda_hat_core.torch.convert import Apply, from_torch

__all__ = ["Apply", "from_torch"]
