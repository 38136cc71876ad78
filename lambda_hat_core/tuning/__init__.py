"""Tuning samplers: objectives, certified references, studies as ask and tell, what comes out."""
