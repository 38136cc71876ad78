"""Matrix-free linear algebra on the Hessian at w*."""
